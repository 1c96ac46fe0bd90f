package governance

import (
	"reflect"
	"testing"

	"github.com/ledgerline/ledgerline/internal/money"
)

func TestDetection(t *testing.T) {
	texts := folder(t, "testdata/base")
	of := func(text string) Detection {
		t.Helper()
		if texts["findings.yaml"] = []byte(text); text == "" {
			delete(texts, "findings.yaml")
		}
		return mustBuild(t, texts).Detection()
	}
	if got := of(""); !reflect.DeepEqual(got, DefaultDetection()) || got.Floor.String() != "10.000000000000" {
		t.Errorf("without the file %+v", got)
	}
	if got := of("{}"); !reflect.DeepEqual(got, DefaultDetection()) {
		t.Errorf("of an empty file %+v", got)
	}
	want := Detection{Dimensions: []string{"user", "team"}, Floor: money.Pico(2_500_000_000_000), DriftPercent: 35}
	if got := of(`{dimensions: [user, team], floor_usd: "2.5", drift_percent: 35}`); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := of(`{dimensions: []}`); len(got.Dimensions) != 0 {
		t.Errorf("nothing is watched, but %v", got.Dimensions)
	}
}
