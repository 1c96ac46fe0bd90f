package simulate

import (
	"fmt"
	"strings"
	"time"
)

// A dictation is what a request or a rule says about the answer. Fields whose
// bit is not in set are unsaid.
type dictation struct {
	set         saying
	usage       Usage
	faults      []Fault
	first       time.Duration
	chunk       time.Duration
	chunks      int
	answerBytes int
	write       int
	tier        string
	model       string
}

type saying uint16

const (
	saysUsage saying = 1 << iota
	saysOmitUsage
	saysFault
	saysFirst
	saysChunk
	saysChunks
	saysAnswerBytes
	saysWrite
	saysTier
	saysModel
)

func (d *dictation) says(s saying) bool { return d.set&s != 0 }

// put reads one saying by its name: that of the header after "Simulate-", in
// lower case.
func (d *dictation) put(name, value string) error {
	var err error
	switch name {
	case "usage":
		d.set |= saysUsage
		d.usage, err = ParseUsage(value)
		return err
	case "omit-usage":
		if value != "0" {
			d.set |= saysOmitUsage
		}
	case "fault":
		d.set |= saysFault
		d.faults, err = ParseFault(value)
		return err
	case "latency":
		return d.putLatency(value)
	case "chunks":
		d.set |= saysChunks
		d.chunks, err = count(value, 1, 1_000_000)
	case "answer-bytes":
		d.set |= saysAnswerBytes
		d.answerBytes, err = count(value, 0, 64<<20)
	case "write":
		d.set |= saysWrite
		d.write, err = count(value, 1, 1<<30)
	case "tier":
		d.set |= saysTier
		d.tier, err = plainText(value)
	case "model":
		d.set |= saysModel
		d.model, err = plainText(value)
	default:
		err = fmt.Errorf("there is no such dictation")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (d *dictation) putLatency(value string) error {
	for item := range strings.SplitSeq(value, ",") {
		name, t, _ := strings.Cut(strings.TrimSpace(item), "=")
		v, err := duration(t)
		if err != nil {
			return fmt.Errorf("latency: %w", err)
		}
		switch name {
		case "first":
			d.set |= saysFirst
			d.first = v
		case "chunk":
			d.set |= saysChunk
			d.chunk = v
		default:
			return fmt.Errorf("latency: unknown %q", name)
		}
	}
	return nil
}

// fill takes from o what d leaves unsaid.
func (d *dictation) fill(o *dictation) {
	take := o.set &^ d.set
	if take == 0 {
		return
	}
	d.set |= take
	if take&saysUsage != 0 {
		d.usage = o.usage
	}
	if take&saysFault != 0 {
		d.faults = o.faults
	}
	if take&saysFirst != 0 {
		d.first = o.first
	}
	if take&saysChunk != 0 {
		d.chunk = o.chunk
	}
	if take&saysChunks != 0 {
		d.chunks = o.chunks
	}
	if take&saysAnswerBytes != 0 {
		d.answerBytes = o.answerBytes
	}
	if take&saysWrite != 0 {
		d.write = o.write
	}
	if take&saysTier != 0 {
		d.tier = o.tier
	}
	if take&saysModel != 0 {
		d.model = o.model
	}
}

// plainText refuses what could not stand in a JSON string as it is.
func plainText(s string) (string, error) {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return "", fmt.Errorf("%q has characters other than plain ASCII text", s)
		}
	}
	return s, nil
}
