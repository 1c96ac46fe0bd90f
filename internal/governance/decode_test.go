package governance

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestDidYouMean(t *testing.T) {
	known := []string{"channel", "charge", "id", "use_cases", "base_url", "sha256"}
	for name, want := range map[string]string{
		"chanel": "channel", "channels": "channel", "cahnnel": "channel", "Channel": "channel", // left out, put in, swapped, case
		"use-case": "use_cases", "usecases": "use_cases", "baseurl": "base_url", "url": "", "sha": "", "xy": "", "di": "id", // separators; too far
		"name": "", "": "", strings.Repeat("channel", 100): "",
	} {
		got := didYouMean(name, known)
		if want != "" {
			want = "; did you mean " + want + "?"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// Files that are wrong throughout are not searched for likenesses throughout.
func TestNearEnds(t *testing.T) {
	var rules strings.Builder
	for i := range 3 * maxProblems {
		fmt.Fprintf(&rules, "  - {id: r%d, use_cases: [kyc], endpoints: [euu]}\n", i)
	}
	texts := folder(t, "testdata/base")
	texts[routingYAML] = []byte("default: {id: default, endpoints: [us]}\nrules:\n" + rules.String())
	_, err := build(texts)
	problems, _ := errors.AsType[Problems](err)
	near := strings.Count(problems.Error(), "did you mean eu?")
	if len(problems) < 3*maxProblems || near < maxProblems/4 || near > maxProblems {
		t.Errorf("%d problems, %d of them with a likeness", len(problems), near)
	}
}
