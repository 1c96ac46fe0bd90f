package simulate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// listed are the models of GET …/models when no scenario names any.
var listed = map[bool][]string{
	false: {"gpt-5", "gpt-5-mini", "text-embedding-3-small"},
	true:  {"claude-haiku-4-5", "claude-sonnet-4-5"},
}

// appendPassthrough appends the answer to what is none of the counted formats:
// the list of models, one model, or an echo of what was sent to …/files.
func (c *call) appendPassthrough(dst []byte, models map[string]string) []byte {
	if i := bytes.LastIndex(c.path, []byte("/models")); i >= 0 && !bytes.Contains(c.path[i:], []byte("/files")) {
		if one := bytes.TrimPrefix(c.path[i+len("/models"):], []byte("/")); len(one) > 0 {
			return appendJSON(dst, c.modelObject(printable(one)))
		}
		return appendJSON(dst, c.modelList(models))
	}
	sum := sha256.Sum256(c.body)
	return appendJSON(dst, map[string]any{
		"id": "file-" + string(c.id[:]), "object": "file", "method": string(c.method), "path": printable(c.path),
		"query": printable(c.query), "bytes": len(c.body), "sha256": hex.EncodeToString(sum[:]),
	})
}

func (c *call) modelList(models map[string]string) any {
	var names []string
	for asked, served := range models {
		if strings.HasPrefix(asked, "claude") == c.anthropic {
			names = append(names, asked, served)
		}
	}
	if len(names) == 0 {
		names = slices.Clone(listed[c.anthropic])
	}
	slices.Sort(names)
	data := []any{}
	for _, name := range slices.Compact(names) {
		data = append(data, c.modelObject(name))
	}
	if c.anthropic {
		first, last := data[0].(map[string]any)["id"], data[len(data)-1].(map[string]any)["id"]
		return map[string]any{"data": data, "has_more": false, "first_id": first, "last_id": last}
	}
	return map[string]any{"object": "list", "data": data}
}

func (c *call) modelObject(name string) any {
	since := time.Date(2025, 8, 7, 0, 0, 0, 0, time.UTC)
	if c.anthropic {
		return map[string]any{"type": "model", "id": name, "display_name": name, "created_at": since, "lifecycle": "active"}
	}
	return map[string]any{"id": name, "object": "model", "created": since.Unix(), "owned_by": "simulated"}
}

func appendJSON(dst []byte, v any) []byte {
	b, _ := json.Marshal(v) // values made here always encode
	return append(dst, b...)
}
