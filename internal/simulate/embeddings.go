package simulate

import (
	"encoding/base64"
	"math"
	"strconv"
)

// The embeddings of OpenAI, https://platform.openai.com/docs/api-reference/embeddings
//
// Vectors have the dimensions asked for (default 8) and the same value in each.

func (c *call) appendEmbeddings(dst []byte) []byte {
	n := c.dimensions
	if n == 0 {
		n = 8
	}
	value := float32(1 / math.Sqrt(float64(n)))
	dst = append(dst, `{"object":"list","data":[`...)
	for i := range c.inputs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(append(dst, `{"object":"embedding","index":`...), int64(i), 10)
		dst = append(dst, `,"embedding":`...)
		if c.base64 {
			dst = appendBase64Vector(dst, value, n)
		} else {
			dst = appendVector(dst, value, n)
		}
		dst = append(dst, '}')
	}
	dst = append(append(dst, `],"model":"`...), c.model...)
	dst = append(dst, '"')
	if !c.says(saysOmitUsage) {
		dst = strconv.AppendInt(append(dst, `,"usage":{"prompt_tokens":`...), c.usage.Input, 10)
		dst = strconv.AppendInt(append(dst, `,"total_tokens":`...), c.usage.Input, 10)
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

func appendVector(dst []byte, value float32, n int) []byte {
	for i := range n {
		dst = append(dst, "[,"[min(i, 1)])
		dst = strconv.AppendFloat(dst, float64(value), 'g', -1, 32)
	}
	return append(dst, ']')
}

// appendBase64Vector appends little-endian float32, as the SDKs ask for.
func appendBase64Vector(dst []byte, value float32, n int) []byte {
	bits := math.Float32bits(value)
	raw := make([]byte, 0, 4*n)
	for range n {
		raw = append(raw, byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24))
	}
	return append(base64.StdEncoding.AppendEncode(append(dst, '"'), raw), '"')
}
