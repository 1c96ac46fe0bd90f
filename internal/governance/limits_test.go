package governance

import (
	"reflect"
	"testing"
)

func TestRateLimits(t *testing.T) {
	texts := folder(t, "testdata/base")
	if s := mustBuild(t, texts); len(s.Limits()) != 0 {
		t.Errorf("limits from nowhere: %+v", s.Limits())
	}
	texts["limits.yaml"] = []byte(`limits:
  - {id: batch, for: {workload: [batch], team: [risk], key: [riskdesk]}, each: [team, key], requests_per_minute: 60, tokens_per_minute: 9000, concurrent: 4}
  - {id: all, for: {}, concurrent: 500}
`)
	want := []*Limit{
		{ID: "batch", For: map[string][]string{"workload": {"batch"}, "team": {"risk"}, "key": {"riskdesk"}}, Each: []string{"team", "key"},
			RequestsPerMinute: 60, TokensPerMinute: 9000, Concurrent: 4},
		{ID: "all", For: map[string][]string{}, Concurrent: 500},
	}
	if got := mustBuild(t, texts).Limits(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %+v", got[0], got[1])
	}
}
