package anomaly

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Alert is a message to people: what happened, how much, why, and what happens
// next. It holds names, ids, values of dimensions and money, never anything of
// a prompt or an answer. As JSON it is what a generic webhook gets.
type Alert struct {
	ID       string    `json:"id"`   // see [AlertID]; the same id is the same alert
	Kind     string    `json:"kind"` // budget | finding
	Subject  string    `json:"subject"`
	Channel  string    `json:"channel"` // of alerts.yaml
	Owner    string    `json:"owner"`   // who answers for it; empty: not known
	RaisedAt time.Time `json:"raised_at"`

	Title string   `json:"title"` // one line
	Text  string   `json:"text"`  // what happened, one or two sentences
	Facts []Fact   `json:"facts"`
	Why   []string `json:"why"`  // lines, the most important first
	Next  string   `json:"next"` // what happens next
	Link  string   `json:"link"` // where more is told: an address, or a command; may be empty
}

// Fact is a figure with its name.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// AlertID follows from what an alert is about: 32 hex digits of the SHA-256 of
// kind, zero byte, subject.
func AlertID(kind, subject string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + subject))
	return hex.EncodeToString(sum[:16])
}
