package simulate

import (
	"strings"
	"testing"
)

func TestUsageForm(t *testing.T) {
	const form = "in=1000,out=50,cache_read=600,cache_write_5m=100,cache_write_1h=50,cache_write=1,reasoning=7,audio=20,image=30,audio_out=5"
	u, err := ParseUsage(form)
	if err != nil || u.String() != form {
		t.Errorf("%v, %v", u, err)
	}
	for bad, why := range map[string]string{
		"in=5,cache_read=3,audio=3": "less than its parts",
		"out=5,reasoning=6":         "less than one of its parts",
		"in=-1":                     "want a count",
		"in=9999999999999999":       "want a count",
		"in":                        "not name=count",
		"input=3":                   "unknown name",
	} {
		if _, err := ParseUsage(bad); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", bad, err, why)
		}
	}
}

// The classes are disjoint, and none is lost: in every format they sum to what
// the format reports in total.
func TestTokensSumToTotal(t *testing.T) {
	u := Usage{Input: 1000, Output: 50, CacheRead: 600, CacheWrite5m: 100, CacheWrite1h: 50, CacheWrite: 1, Reasoning: 7, InputAudio: 20, InputImage: 30, OutputAudio: 5}
	for f := Chat; f < formats; f++ {
		want := u.Input + u.Output
		if f == Embeddings {
			want = u.Input
		}
		if got := u.Tokens(f).Total(); got != want {
			t.Errorf("%v: classes sum to %d, want %d", f, got, want)
		}
	}
}
