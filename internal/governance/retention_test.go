package governance

import (
	"reflect"
	"testing"
)

func TestRetentionClasses(t *testing.T) {
	texts := folder(t, "testdata/base")
	s := mustBuild(t, texts)
	got, ok := s.RetentionClass("regulated")
	want := &RetentionClass{ID: "regulated", Owner: "compliance", Basis: []string{"law", "decision"}, MinDays: 2557, MaxDays: 3653, HotDays: 400}
	if !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, ok)
	}
	if _, ok := s.RetentionClass("long"); ok {
		t.Error("found a class that is not there")
	}
	if got := s.RetentionClasses(); len(got) != 3 || got[0].ID != "short" || got[1].ID != "standard" {
		t.Errorf("got %v", got)
	}
	// Snapshots from before there was a retention.yaml have three classes without terms.
	delete(texts, retentionYAML)
	if got, ok := mustBuild(t, texts).RetentionClass("regulated"); !ok || !reflect.DeepEqual(got, &RetentionClass{ID: "regulated"}) {
		t.Errorf("without the file: %+v, %v", got, ok)
	}
}
