package simulate

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Fault is what goes wrong with a call. Its compact form, the value of the
// header Simulate-Fault, is a comma-separated list:
//
//	status=429         answer with this status (400 to 599) and the provider's error body
//	retry_after=1      with the header retry-after, in seconds; alone it means status=429
//	timeout            never answer: until the client leaves, or 10 minutes
//	reset              reset the connection before any byte of the answer
//	garbage            answer with bytes that are not HTTP, then close
//	slow_headers=200ms pause between the status line and the other headers
//	cut_after=3        close the connection after this many events of a stream, or bytes of a body
//	error_after=3      end a stream with the provider's error event after this many events
//	bad_json           a body cut in the middle of its JSON (of the right length); in a stream, one event of that kind
//	endpoint=primary   only when the call is at this endpoint
//	times=2            only the first 2 requests that carry the same Simulate-Call
//
// Alternatives are separated by semicolons: the first whose endpoint and times
// hold is the fault (status=429,endpoint=a;timeout,endpoint=b).
type Fault struct {
	Status      int
	RetryAfter  string // seconds; empty: no such header
	Timeout     bool
	Reset       bool
	Garbage     bool
	SlowHeaders time.Duration
	Cut         bool // CutAfter holds
	CutAfter    int
	Err         bool // ErrAfter holds
	ErrAfter    int
	BadJSON     bool
	Endpoint    string
	Times       int
}

// ParseFault reads the compact form.
func ParseFault(s string) ([]Fault, error) {
	var list []Fault
	for alternative := range strings.SplitSeq(s, ";") {
		var f Fault
		for item := range strings.SplitSeq(alternative, ",") {
			if err := f.set(strings.TrimSpace(item)); err != nil {
				return nil, err
			}
		}
		if f.RetryAfter != "" && f.Status == 0 {
			f.Status = 429
		}
		if len(f.names(nil)) == 0 {
			return nil, fmt.Errorf("fault: %q says when, but not what", alternative)
		}
		list = append(list, f)
	}
	return list, nil
}

func (f *Fault) set(item string) error {
	name, value, _ := strings.Cut(item, "=")
	var err error
	switch name {
	case "timeout":
		f.Timeout = true
	case "reset":
		f.Reset = true
	case "garbage":
		f.Garbage = true
	case "bad_json":
		f.BadJSON = true
	case "status":
		f.Status, err = count(value, 400, 599)
	case "retry_after":
		f.RetryAfter = value
		_, err = count(value, 0, 86400)
	case "cut_after":
		f.Cut = true
		f.CutAfter, err = count(value, 0, 1<<30)
	case "error_after":
		f.Err = true
		f.ErrAfter, err = count(value, 0, 1<<30)
	case "slow_headers":
		f.SlowHeaders, err = duration(value)
	case "endpoint":
		f.Endpoint = value
	case "times":
		f.Times, err = count(value, 1, 1<<30)
	default:
		return fmt.Errorf("fault: unknown %q", item)
	}
	if err != nil {
		return fmt.Errorf("fault: %s: %w", name, err)
	}
	return nil
}

// names appends the names the fault is counted under.
func (f *Fault) names(dst []string) []string {
	if f.Status != 0 {
		dst = append(dst, "status_"+strconv.Itoa(f.Status))
	}
	for _, x := range [...]struct {
		is   bool
		name string
	}{
		{f.Timeout, "timeout"}, {f.Reset, "reset"}, {f.Garbage, "garbage"}, {f.SlowHeaders > 0, "slow_headers"},
		{f.Cut, "cut_after"}, {f.Err, "error_after"}, {f.BadJSON, "bad_json"},
	} {
		if x.is {
			dst = append(dst, x.name)
		}
	}
	return dst
}

func count(s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%q is not a number from %d to %d", s, low, high)
	}
	return n, nil
}

func duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 10*time.Minute {
		return 0, fmt.Errorf("%q is not a time from 0 to 10m", s)
	}
	return d, nil
}
