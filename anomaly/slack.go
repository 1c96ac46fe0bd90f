package anomaly

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
)

// Limits of Slack's Block Kit (docs.slack.dev/reference/block-kit): 50 blocks,
// 150 characters in a header, 3000 in a section, 10 fields of 2000. The whole
// has an undocumented limit of about 13,200, beyond which Slack answers
// msg_blocks_too_long. What a message takes of them, in UTF-16 code units of
// the escaped text, which is never less than what Slack counts; together below
// 12,000.
const (
	slackHeader   = 150
	slackSection  = 3000 // of what happened, and of the reasons
	slackFields   = 10
	slackName     = 100 // of a field
	slackValue    = 250
	slackReason   = 300 // of one line
	slackNext     = 1000
	slackLink     = 500
	slackFallback = 3000
)

type slackText struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Verbatim bool   `json:"verbatim,omitempty"` // Slack makes no links or mentions of what looks like them
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitempty"`
	Fields   []slackText `json:"fields,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
}

// slackMessage is an alert as Slack's incoming webhooks take it, within their
// limits whatever the alert holds. What does not fit is cut with a "…"; of the
// reasons the last are left out, and it says how many.
func slackMessage(a *Alert, repeat bool) []byte {
	section := func(text string) slackBlock {
		return slackBlock{Type: "section", Text: &slackText{"mrkdwn", text, true}}
	}
	blocks := []slackBlock{
		{Type: "header", Text: &slackText{Type: "plain_text", Text: slackClip(a.Title, slackHeader)}},
		section(slackClip(a.Text, slackSection)),
	}
	var fields []slackText
	for _, f := range a.Facts[:min(len(a.Facts), slackFields)] {
		fields = append(fields, slackText{"mrkdwn", "*" + slackClip(f.Name, slackName) + "*\n" + slackClip(f.Value, slackValue), true})
	}
	if len(fields) > 0 {
		blocks = append(blocks, slackBlock{Type: "section", Fields: fields})
	}
	if len(a.Why) > 0 {
		blocks = append(blocks, section(slackReasons(a.Why)))
	}
	if a.Next != "" {
		blocks = append(blocks, section("*What happens next*\n"+slackClip(a.Next, slackNext)))
	}
	switch link := slackClip(a.Link, slackLink); {
	case a.Link == "":
	case strings.HasPrefix(a.Link, "https://") || strings.HasPrefix(a.Link, "http://"):
		blocks = append(blocks, section("<"+strings.ReplaceAll(link, "|", "%7C")+"|More in Ledgerline>"))
	default:
		blocks = append(blocks, section("More: `"+link+"`"))
	}
	mark := "Alert " + a.ID + ", raised " + a.RaisedAt.UTC().Format(time.RFC3339) + ". The same id is the same alert."
	if repeat {
		mark += " This may be a repeat: nothing confirmed the message before."
	}
	blocks = append(blocks, slackBlock{Type: "context", Elements: []slackText{{"mrkdwn", mark, true}}})
	text, err := json.Marshal(struct {
		Text   string       `json:"text"` // for notifications and screen readers
		Blocks []slackBlock `json:"blocks"`
	}{slackClip(a.Title+". "+a.Text, slackFallback), blocks})
	if err != nil {
		panic(err) // of these types nothing fails
	}
	return text
}

// slackReasons is a list of reasons, as many as fit into a section.
func slackReasons(why []string) string {
	text := "*Why*"
	for i, reason := range why {
		line := "\n• " + slackClip(reason, slackReason)
		if slackLen(text)+slackLen(line) > slackSection-30 { // room for the line below
			return text + "\n… and " + strconv.Itoa(len(why)-i) + " more"
		}
		text += line
	}
	return text
}

// slackClip escapes a text as Slack asks for (&, < and >), puts spaces for what
// is not printable, and cuts it to at most limit code units.
func slackClip(text string, limit int) string {
	var b strings.Builder
	length, fits := 0, 0 // fits: bytes that leave room for a "…"
	for _, r := range text {
		piece := string(r)
		switch {
		case r == '&':
			piece = "&amp;"
		case r == '<':
			piece = "&lt;"
		case r == '>':
			piece = "&gt;"
		case r != '\n' && !unicode.IsPrint(r):
			piece = " "
		}
		length += slackLen(piece)
		if length > limit {
			if limit < 1 {
				return ""
			}
			return b.String()[:fits] + "…"
		}
		b.WriteString(piece)
		if length < limit {
			fits = b.Len()
		}
	}
	if text == "" || strings.TrimSpace(b.String()) == "" { // Slack refuses a text of nothing
		return "-"[:min(1, max(limit, 0))]
	}
	return b.String()
}

// slackLen is a text's length as JavaScript counts it.
func slackLen(text string) int {
	n := 0
	for _, r := range text {
		n += utf16.RuneLen(r)
	}
	return n
}
