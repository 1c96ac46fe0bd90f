package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// demoWebhook stands where Slack would: it takes the messages of an incoming webhook and keeps them.
type demoWebhook struct {
	server   http.Server
	messages chan slackPost
}

// slackPost is what is posted to an incoming webhook, as far as the demo shows it.
type slackPost struct {
	Text   string
	Blocks []struct {
		Type             string
		Text             struct{ Text string }
		Fields, Elements []struct{ Text string }
	}
}

// startDemoWebhook listens, and names itself to the channel finops of the example. Whatever that variable held before is not used:
// a demo must not post to anybody.
func startDemoWebhook() (*demoWebhook, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for alerts: %w", err)
	}
	h := &demoWebhook{messages: make(chan slackPost, 100)}
	h.server = http.Server{Handler: h, ReadTimeout: 5 * time.Second}
	if err := os.Setenv("LEDGERLINE_SLACK_FINOPS", "http://"+listener.Addr().String()+"/services/demo"); err != nil {
		return nil, err
	}
	go h.server.Serve(listener)
	return h, nil
}

func (h *demoWebhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m slackPost
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&m); err != nil || m.Text == "" {
		http.Error(w, "invalid_payload", http.StatusBadRequest)
		return
	}
	select {
	case h.messages <- m:
	default: // nobody looks any more
	}
	io.WriteString(w, "ok")
}

// wait is the first message that holds a text.
func (h *demoWebhook) wait(ctx context.Context, text string) (slackPost, error) {
	for {
		select {
		case m := <-h.messages:
			if strings.Contains(m.Text, text) {
				return m, nil
			}
		case <-ctx.Done():
			return slackPost{}, fmt.Errorf("wait for the alert %q: %w", text, context.Cause(ctx))
		}
	}
}

var slackMarks = strings.NewReplacer("*", "", "&lt;", "<", "&gt;", ">", "&amp;", "&")

// print writes the message as Slack would show it, in plain text.
func (m *slackPost) print(out io.Writer) {
	for _, b := range m.Blocks {
		for line := range strings.Lines(b.Text.Text) {
			fmt.Fprintf(out, "  │ %s\n", strings.TrimRight(slackMarks.Replace(line), "\n"))
		}
		for _, f := range slices.Concat(b.Fields, b.Elements) {
			fmt.Fprintf(out, "  │   %s\n", slackMarks.Replace(strings.Replace(f.Text, "\n", ": ", 1)))
		}
	}
}
