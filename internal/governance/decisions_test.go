package governance

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each folder of testdata/decisions replaces files of testdata/lint/clean and
// says in want what is decided, and what no endpoint is found for.
func TestDecisionTable(t *testing.T) {
	dirs, err := filepath.Glob("testdata/decisions/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no testdata/decisions", err)
	}
	for _, from := range dirs {
		t.Run(filepath.Base(from), func(t *testing.T) {
			texts := folder(t, "testdata/lint/clean")
			maps.Copy(texts, folder(t, from))
			lines, failed := mustBuild(t, texts).DecisionTable(day(t, "2026-11-24T00:00:00Z"))
			compare(t, filepath.Join(from, "want"), strings.Join(lines, "\n")+"\n\n"+strings.Join(failed, "\n")+"\n")
		})
	}
}

// compare finds in a file what was made, or writes it there with -update.
func compare(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got:\n%s\nwant:\n%s", name, got, want)
	}
}

// What is decided with endpoints down is what the proxy does: it goes through
// Route's endpoints in order and leaves out those that it cannot reach.
func TestDecideIsRoute(t *testing.T) {
	s := mustBuild(t, folder(t, exampleDir))
	at := day(t, "2026-11-24T00:00:00Z")
	compared := 0
	for _, u := range s.UseCases() {
		for _, call := range u.Calls() {
			route, err := s.Route(u, call.Format, call.Model)
			if err != nil {
				t.Fatal(err)
			}
			rejected := map[string]string{}
			for _, r := range route.Rejected {
				rejected[r.Endpoint] = r.Why
			}
			var down []string
			for i := range len(route.Endpoints) + 1 {
				d := s.Decide(u, call, at, down...)
				if d.Rule != route.Rule || (d.Endpoint == nil) != (i == len(route.Endpoints)) || d.Endpoint != nil && d.Endpoint != route.Endpoints[i] {
					t.Fatalf("%s %v with %v down: %+v, but the route is %v", u.ID, call, down, d, route)
				}
				for _, c := range d.Candidates {
					if c.Cannot != rejected[c.ID] {
						t.Errorf("%s %v: %s %q, route %q", u.ID, call, c.ID, c.Cannot, rejected[c.ID])
					}
				}
				compared++
				if i < len(route.Endpoints) {
					down = append(down, route.Endpoints[i].ID)
				}
			}
		}
	}
	if compared < 300 {
		t.Errorf("%d states compared", compared)
	}
}

func TestUnqualified(t *testing.T) {
	s := mustBuild(t, folder(t, "testdata/lint/clean"))
	for _, tt := range []struct{ classification, provider, at, want string }{
		{"confidential", "acme", "2027-12-30T23:59:59Z", ""},
		{"confidential", "acme", "2027-12-31T00:00:00Z", "the data processing agreement with acme no longer holds since 2027-12-31"},
		{"restricted", "acme", "2026-11-24T00:00:00Z", "provider acme is not permitted restricted data"},
		{"restricted", "own", "2099-01-01T00:00:00Z", ""},
		{"public", "own", "2026-11-24T00:00:00Z", "provider own is not permitted public data"},
	} {
		p, _ := s.Provider(tt.provider)
		if got := s.unqualified(&UseCase{Classification: tt.classification}, p, day(t, tt.at)); got != tt.want {
			t.Errorf("%v: %q", tt, got)
		}
	}
	open := &Provider{ID: "p", PermittedData: []string{"public", "internal"}}
	got := fmt.Sprint(s.unqualified(&UseCase{Classification: "public"}, open, day(t, "2026-11-24T00:00:00Z")), "|",
		s.unqualified(&UseCase{Classification: "internal"}, open, day(t, "2026-11-24T00:00:00Z")))
	if want := "|provider p has no data processing agreement on file"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
