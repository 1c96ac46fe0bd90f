package governance

import "testing"

func TestExample(t *testing.T) {
	s, err := Load("../../deploy/example/governance")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(s.Warnings, s.Hex(), s.Commit, len(s.Archive))
}
