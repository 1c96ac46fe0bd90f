package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
)

func declared(namespace, name string) event.Source {
	return event.Source{Namespace: namespace, Name: name, Evidence: "declared"}
}

func TestParseSources(t *testing.T) {
	with := func(s event.Source, change func(*event.Source)) event.Source {
		change(&s)
		return s
	}
	long := strings.Repeat("n", event.MaxText)
	for _, c := range []struct {
		list string
		want []event.Source
	}{
		{``, nil},
		{`   `, nil},
		{`"s3://a|b"`, []event.Source{declared("s3://a", "b")}},
		{`  "s3://a|b" ,` + "\t" + `"pg|c"  `, []event.Source{declared("s3://a", "b"), declared("pg", "c")}},
		{`"a|b", "a|b";v="2"`, []event.Source{declared("a", "b"), with(declared("a", "b"), func(s *event.Source) { s.Version = "2" })}},
		{`"a|b|c"`, []event.Source{declared("a", "b|c")}},
		{`"a|say \"x\" \\ y";v="\\"`, []event.Source{with(declared("a", `say "x" \ y`), func(s *event.Source) { s.Version = `\` })}},
		{`"a|b";v="2026-11-23T06:00:00Z"; role=retrieval;n=12;chunks=999999999999999`, []event.Source{
			{Namespace: "a", Name: "b", Version: "2026-11-23T06:00:00Z", Role: "retrieval", Rows: 12, Chunks: 999_999_999_999_999, Evidence: "declared"}}},
		{`"a|b";role=*/x:y;n=1;n=3`, []event.Source{with(declared("a", "b"), func(s *event.Source) { s.Role, s.Rows = "*/x:y", 3 })}},
		{`%"pg|p%c3%bablico.%22x%22%25";v=%"%e2%82%ac"`, []event.Source{with(declared("pg", `público."x"%`), func(s *event.Source) { s.Version = "€" })}},
		{`"` + long + `|` + long + `"`, []event.Source{declared(long, long)}},
		{strings.Repeat(`"a|b",`, event.MaxSources-1) + `"a|b"`, func() (all []event.Source) {
			for range event.MaxSources {
				all = append(all, declared("a", "b"))
			}
			return all
		}()},
	} {
		got, err := parseSources(nil, []byte(c.list))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%.80s: %+v, %v; want %+v", c.list, got, err, c.want)
		}
	}
}

// A list that is not exactly what RFC 9651 and our names allow is refused at
// the byte where that shows, and nothing of it is taken.
func TestMalformedSources(t *testing.T) {
	for _, c := range []struct {
		list string
		at   int
		what string
	}{
		{`s3://a#b@1`, 1, "want a string"},
		{`a`, 1, "want a string"},
		{`("a|b")`, 1, "want a string"},
		{`%a`, 2, "want a string"},
		{`"a|b`, 5, "without end"},
		{`"`, 2, "without end"},
		{`"a|b",`, 7, "after a comma"},
		{`"a|b", `, 8, "after a comma"},
		{`,"a|b"`, 1, "want a string"},
		{`"a|b",,"a|b"`, 7, "want a string"},
		{`"a|b" "a|b"`, 7, "want a comma"},
		{`"a|b" ;v="1"`, 7, "want a comma"},
		{"\t" + `"a|b"`, 1, "want a string"},
		{`"ab"`, 1, "namespace|name"},
		{`"|b"`, 1, "namespace|name"},
		{`"a|"`, 1, "namespace|name"},
		{`"a|b", ""`, 8, "namespace|name"},
		{`"a|` + strings.Repeat("n", 513) + `"`, 1, "namespace|name"},
		{`"` + strings.Repeat("n", 513) + `|a"`, 1, "namespace|name"},
		{`"a|` + strings.Repeat("n", 1100) + `"`, 1105, "longer than"},
		{`"a|b` + "\x1f" + `"`, 5, "cannot have"},
		{`"a|b` + "\x7f" + `"`, 5, "cannot have"},
		{`"a|bé"`, 5, "cannot have"},
		{`"a|\b"`, 5, "an escape"},
		{`"a|\`, 5, "an escape"},
		{`%"a|%C3%BA"`, 5, "hex"},
		{`%"a|%c"`, 5, "hex"},
		{`%"a|%c3"`, 9, "not UTF-8"},
		{`%"a|%0a"`, 9, "control"},
		{`%"a|%c2%85"`, 12, "control"},
		{`"a|b";v`, 8, "without value"},
		{`"a|b";v;n=1`, 8, "without value"},
		{`"a|b";`, 7, "one of the parameters"},
		{`"a|b";V="1"`, 7, "one of the parameters"},
		{`"a|b";=1`, 7, "one of the parameters"},
		{`"a|b";version="1"`, 7, "one of the parameters"},
		{`"a|b";v=1`, 9, "want a string"},
		{`"a|b";v=""`, 11, "empty version"},
		{`"a|b";v="` + strings.Repeat("v", 513) + `"`, 524, "longer than"},
		{`"a|b";role="context"`, 12, "want a token"},
		{`"a|b";role=`, 12, "want a token"},
		{`"a|b";role=` + strings.Repeat("r", 65), 77, "a role longer"},
		{`"a|b";n=0`, 10, "an integer"},
		{`"a|b";n=-1`, 9, "an integer"},
		{`"a|b";n="1"`, 9, "an integer"},
		{`"a|b";n=1.5`, 10, "want a comma"},
		{`"a|b";n=1000000000000000`, 24, "want a comma"},
		{strings.Repeat(`"a|b",`, event.MaxSources) + `"a|b"`, event.MaxSources*6 + 1, "more than 64"},
		{strings.Repeat(" ", maxSourcesBytes+1), maxSourcesBytes + 1, "longer than"},
	} {
		_, err := parseSources(nil, []byte(c.list))
		if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("byte %d: ", c.at)) || !strings.Contains(err.Error(), c.what) {
			t.Errorf("%.80q: %v; want byte %d: … %s …", c.list, err, c.at, c.what)
		}
	}
}

// What is accepted is within the limits of an event, without control
// characters, and the same again when it is written out and read.
func FuzzSources(f *testing.F) {
	for _, list := range []string{
		``, `"a|b"`, `"s3://a|b";v="1";role=context;n=1, "pg|c";chunks=6`, `%"a|%c3%ba"`, `"a|\"\\"`, `"a|b",`, `("a|b")`, `"a|b";x=?1`, `"a|b" , "a|b"`, `"a|b";n=999999999999999`,
	} {
		f.Add([]byte(list))
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		got, err := parseSources(nil, bytes.Clone(list))
		if err != nil {
			if at := err.(*sourcesError).at; at < 1 || at > max(len(list), maxSourcesBytes)+1 {
				t.Fatalf("%q: %v", list, err)
			}
			return
		}
		ev := event.Event{ID: event.NewID(1), Time: 1, Type: event.RequestCompleted, Source: "s", Writer: "w", Seq: 1,
			Request: &event.Request{Sources: got, Outcome: event.Outcome{Served: -1}}}
		if _, err := ev.Append(nil); err != nil {
			t.Fatalf("%q: %v", list, err)
		}
		var again strings.Builder
		for i, s := range got {
			if s.Evidence != "declared" || s.Namespace == "" || s.Name == "" {
				t.Fatalf("%q: %+v", list, s)
			}
			if i > 0 {
				again.WriteString(", ")
			}
			again.WriteString(display(s.Namespace + "|" + s.Name))
			if s.Version != "" {
				again.WriteString(";v=" + display(s.Version))
			}
			if s.Role != "" {
				again.WriteString(";role=" + s.Role)
			}
			if s.Rows > 0 {
				fmt.Fprintf(&again, ";n=%d", s.Rows)
			}
			if s.Chunks > 0 {
				fmt.Fprintf(&again, ";chunks=%d", s.Chunks)
			}
		}
		if again.Len() > maxSourcesBytes {
			return
		}
		if same, err := parseSources(nil, []byte(again.String())); err != nil || !reflect.DeepEqual(same, got) {
			t.Fatalf("%q is\n%+v, and written out\n%s\nis %+v, %v", list, got, again.String(), same, err)
		}
	})
}

// display writes a text as a display string.
func display(text string) string {
	var b strings.Builder
	b.WriteString(`%"`)
	for _, c := range []byte(text) {
		if c < 0x20 || c > 0x7e || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String() + `"`
}

// withEstate edits estate.yaml: the use case kyc maps two datasets, and has the lines.
func withEstate(lines string) func(file, text string) string {
	return func(file, text string) string {
		if file != "estate.yaml" {
			return text
		}
		return strings.Replace(text, "regulations: [], estimate_monthly_usd: \"1\", lineage: none, retention_class: regulated}",
			`regulations: [], estimate_monthly_usd: "1", retention_class: regulated, `+lines+`, sources: [{namespace: "pg://crm", name: customers, kind: table}, {namespace: "s3://files", name: letters, kind: file}]}`, 1)
	}
}

// What a call declares comes first, what the map of its use case lists besides
// is added as such; what is missing or malformed is refused or flagged as the
// use case has it, and both are recorded.
func TestSourcesOfACall(t *testing.T) {
	mapped := func(namespace, name string) event.Source {
		return event.Source{Namespace: namespace, Name: name, Evidence: "mapped"}
	}
	customers, letters := mapped("pg://crm", "customers"), mapped("s3://files", "letters")
	required, reject := "lineage: required", "lineage: required, on_missing_sources: reject"
	for _, c := range []struct {
		name, rule string
		header     []string
		status     int
		code       string
		coverage   string
		sources    []event.Source
		flagged    string // reason counted
	}{
		{"declared", reject, []string{`Ledger-Sources: "pg://crm|customers";v="7", "x|y"`}, 200, "", "declared",
			[]event.Source{{Namespace: "pg://crm", Name: "customers", Version: "7", Evidence: "declared"}, declared("x", "y"), letters}, ""},
		{"several lines are one list", reject, []string{`Ledger-Sources: "x|y"`, `LEDGER-sources:  "x|z";n=1 `}, 200, "", "declared",
			[]event.Source{declared("x", "y"), {Namespace: "x", Name: "z", Rows: 1, Evidence: "declared"}, customers, letters}, ""},
		{"no dataset used", reject, []string{"Ledger-Sources: "}, 200, "", "declared", []event.Source{customers, letters}, ""},
		{"missing, reject", reject, nil, 422, "ledgerline_sources_missing", "mapped", []event.Source{customers, letters}, ""},
		{"missing, flag", required, nil, 200, "", "mapped", []event.Source{customers, letters}, "missing"},
		{"missing, optional", "lineage: optional, on_missing_sources: reject", nil, 200, "", "mapped", []event.Source{customers, letters}, ""},
		{"malformed, reject", reject, []string{`Ledger-Sources: "x|y", s3://files`}, 400, "ledgerline_sources_malformed", "malformed", []event.Source{customers, letters}, ""},
		{"malformed, optional, reject", "lineage: optional, on_missing_sources: reject", []string{`Ledger-Sources: "x|y"`, "Ledger-Sources:"}, 400, "ledgerline_sources_malformed", "malformed", []event.Source{customers, letters}, ""},
		{"malformed, flag", required, []string{`Ledger-Sources: "x|y", s3://files`}, 200, "", "malformed", []event.Source{customers, letters}, "malformed"},
		{"more than an event takes", required, []string{`Ledger-Sources: "x|y"` + strings.Repeat(`, "x|z"`, event.MaxSources-2)}, 200, "", "partial", nil, "partial"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBedWith(t, nil, withEstate(c.rule))
			a := b.call("/v1/chat/completions", chatBody, c.header...)
			b.want(a, c.status)
			if c.code != "" && !strings.Contains(a.body, `"code":"`+c.code+`"`) {
				t.Errorf("answer %s, want code %s", a.body, c.code)
			}
			r := b.only().Request
			if r.Coverage != c.coverage || c.sources != nil && !reflect.DeepEqual(r.Sources, c.sources) || r.Outcome.Code != c.code {
				t.Errorf("coverage %s, sources %+v, code %q", r.Coverage, r.Sources, r.Outcome.Code)
			}
			if c.coverage == "partial" && len(r.Sources) != event.MaxSources {
				t.Errorf("%d sources", len(r.Sources))
			}
			families, err := b.registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			counted := 0
			for _, f := range families {
				if f.GetName() != "ledgerline_proxy_sources_flagged_total" {
					continue
				}
				for _, m := range f.Metric {
					counted++
					reason := m.Label[0].GetValue()
					if got, want := m.Counter.GetValue(), map[bool]float64{true: 1}[reason == c.flagged]; got != want {
						t.Errorf("flagged as %s %v times, want %v", reason, got, want)
					}
				}
			}
			if counted != 3 {
				t.Errorf("%d reasons are counted, want 3", counted)
			}
		})
	}
}

// A map of more than an event takes is cut, which shows.
func TestMapOfAUseCaseIsCut(t *testing.T) {
	u := &governance.UseCase{Sources: []governance.Source{{Namespace: "a", Name: "b"}, {Namespace: "a", Name: "b", Kind: "file"}}}
	if m := mapOf(u); len(m.sources) != 1 || m.cut {
		t.Errorf("%+v", m)
	}
	for i := range 20 {
		u.Sources = append(u.Sources, governance.Source{Namespace: fmt.Sprint("a", i), Name: strings.Repeat("n", 500)})
	}
	if m := mapOf(u); len(m.sources) != 17 || !m.cut {
		t.Errorf("%d sources, cut %v", len(m.sources), m.cut)
	}

	b := newBedWith(t, nil, func(file, text string) string {
		var long strings.Builder
		for i := range 20 {
			fmt.Fprintf(&long, `{namespace: "a%d", name: %s, kind: file}, `, i, strings.Repeat("n", 500))
		}
		return strings.Replace(withEstate("lineage: required")(file, text), "sources: [", "sources: ["+long.String(), 1)
	})
	b.want(b.call("/v1/chat/completions", chatBody), 200)
	if r := b.only().Request; r.Coverage != "partial" || len(r.Sources) != 16 {
		t.Errorf("%d sources, coverage %s", len(r.Sources), r.Coverage)
	}
}

// No byte of the list goes upstream, however it is written.
func TestSourcesStayHere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	received := make(chan string, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		var raw bytes.Buffer
		request, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &raw)))
		if err == nil {
			io.Copy(io.Discard, request.Body)
		}
		received <- raw.String()
		io.WriteString(conn, fixed("HTTP/1.1 200 OK", plainAnswer))
	}()
	b := newBedWith(t, nil, (&scripted{addr: ln.Addr().String()}).before)
	b.want(b.call("/v1/chat/completions", chatBody, "Ledger-Use-Case: single", `Ledger-Sources: "secret-lake|tables/one";v="3"`, `lEDGER-sOURCES: "secret-lake|tables/two"`, "X-After: 1"), 200)
	raw := <-received
	if lower := strings.ToLower(raw); strings.Contains(lower, "ledger-") || strings.Contains(lower, "secret-lake") || !strings.Contains(raw, "\r\nX-After: 1\r\n") || !strings.HasSuffix(raw, chatBody) {
		t.Errorf("the provider received\n%s", raw)
	}
	if r := b.only().Request; len(r.Sources) != 2 || r.Coverage != "declared" {
		t.Errorf("sources %+v", r.Sources)
	}
}
