package anomaly

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// result is how a sending ended.
type result struct {
	err     error  // nil: the channel has it
	outcome string // a few words without secrets
	final   bool   // the same message will never be taken
	unsure  bool   // it may have arrived all the same
	after   time.Duration
}

// tooMany is the outcome that holds up a whole channel.
const tooMany = "http 429"

// post sends an alert to its channel. Nothing that it returns holds any of the channel's address.
func (o *Outbox) post(ctx context.Context, a *Alert, repeat bool) result {
	c, ok := o.Channel(a.Channel)
	if !ok {
		return result{err: fmt.Errorf("channel %q is not in alerts.yaml", a.Channel), outcome: "no channel"}
	}
	var body []byte
	switch c.Kind {
	case "log":
		o.Logger.Warn("alert", "alert_id", a.ID, "subject", a.Subject, "owner", a.Owner, "title", a.Title, "text", a.Text, "why", a.Why, "next", a.Next)
		return result{outcome: "logged"}
	case "slack":
		body = slackMessage(a, repeat)
	default:
		var err error
		if body, err = json.Marshal(struct {
			*Alert
			Repeat bool `json:"repeat"` // the sending before may have arrived
		}{a, repeat}); err != nil {
			return result{err: err, outcome: "no message", final: true}
		}
	}
	address, err := c.Address()
	if err != nil {
		return result{err: err, outcome: "no address"}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), bytes.NewReader(body))
	if err != nil {
		return result{err: fmt.Errorf("post to channel %s: not an address that can be called", c.ID), outcome: "no address"}
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("User-Agent", "ledgerline")
	request.Header.Set("Idempotency-Key", a.ID)
	response, err := o.client.Do(request)
	if err != nil {
		return failed(c.ID, err)
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	if err != nil {
		return failed(c.ID, err)
	}
	return o.answered(c.ID, c.Kind, response, said)
}

// failed is a sending without an answer. The library's errors quote the address, so only their kind is told.
func failed(channel string, err error) result {
	var dial *net.OpError
	var timeout interface{ Timeout() bool }
	r := result{outcome: "no answer", unsure: true}
	switch {
	case errors.Is(err, context.Canceled):
		r.outcome = "stopped"
	case errors.As(err, &timeout) && timeout.Timeout():
		r.outcome = "timeout"
	case errors.As(err, &dial) && dial.Op == "dial": // nothing was sent
		r.outcome, r.unsure = "no connection", false
	}
	var from *url.Error
	if errors.As(err, &from) && strings.Contains(from.Err.Error(), "certificate") {
		r.outcome, r.unsure = "certificate refused", false
	}
	r.err = fmt.Errorf("post to channel %s: %s", channel, r.outcome)
	return r
}

// code is a word such as Slack's invalid_payload; any other text of an answer is not told on.
var code = regexp.MustCompile(`^[a-z][a-z0-9_]{1,63}$`)

// refusedForGood are answers that say that the message itself is at fault. What is wrong with an address or its owner can be put right,
// so the others are tried again.
var refusedForGood = []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}

func (o *Outbox) answered(channel, kind string, response *http.Response, said []byte) result {
	status, word := response.StatusCode, strings.TrimSpace(string(said))
	if status/100 == 2 && (kind != "slack" || word == "ok") { // Slack says ok; anything else that says 200 is not Slack
		return result{outcome: fmt.Sprintf("http %d", status)}
	}
	r := result{outcome: fmt.Sprintf("http %d", status)}
	r.err = fmt.Errorf("post to channel %s: %s", channel, r.outcome)
	if code.MatchString(word) {
		r.err = fmt.Errorf("%w %s", r.err, word)
		if status != http.StatusTooManyRequests {
			r.outcome += " " + word
		}
	}
	r.final = slices.Contains(refusedForGood, status)
	r.unsure = status/100 == 2 || status/100 == 5 && status != http.StatusServiceUnavailable // which says that nothing was done
	if text := response.Header.Get("Retry-After"); text != "" {
		if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 {
			r.after = time.Duration(min(seconds, int(longestRetryAfter/time.Second))) * time.Second
		} else if at, err := http.ParseTime(text); err == nil {
			r.after = at.Sub(o.Now())
		}
	}
	return r
}
