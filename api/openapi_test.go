package api

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ledgerline/ledgerline/internal/event"
)

// document is openapi.json, and how it validates.
type document struct {
	root     map[string]any
	mu       sync.Mutex
	compiler *jsonschema.Compiler
}

var theDocument = sync.OnceValue(func() *document {
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPI))
	if err != nil {
		panic(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("openapi.json", root); err != nil {
		panic(err)
	}
	return &document{root: root.(map[string]any), compiler: c}
})

// at is the member of the document at a pointer, through references; the pointer of where it really stands; or nil.
func (d *document) at(pointer string) (any, string) {
	var v any = d.root
	where := ""
	for _, name := range strings.Split(pointer, "/")[1:] {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, ""
		}
		where += "/" + name
		v = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
		if m, ok := v.(map[string]any); ok {
			if ref, ok := m["$ref"].(string); ok && len(m) == 1 {
				v, where = d.at(strings.TrimPrefix(ref, "#"))
			}
		}
	}
	return v, where
}

// conform reports how an answer to GET path is not what the document says.
func (d *document) conform(path string, status int, header http.Header, body []byte) error {
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return err
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	path, _, _ = strings.Cut(path, "?")
	for _, prefix := range []string{"/v1/requests/", "/v1/trace/", "/v1/sources/"} {
		if id, ok := strings.CutPrefix(path, prefix); ok && id != "" {
			_, rest, _ := strings.Cut(id, "/")
			path = strings.TrimSuffix(prefix+"{id}/"+rest, "/")
		}
	}
	pointer := "/paths/" + escape.Replace(path) + "/get"
	if v, _ := d.at(pointer); v == nil { // no such route
		pointer = "/paths/~1v1~1requests~1{id}/get"
	}
	pointer = fmt.Sprintf("%s/responses/%d/content/%s/schema", pointer, status, escape.Replace(media))
	v, where := d.at(pointer)
	if v == nil {
		return fmt.Errorf("the document has no %s", pointer)
	}
	if !strings.HasSuffix(media, "json") {
		return nil
	}
	d.mu.Lock()
	schema, err := d.compiler.Compile("openapi.json#" + where)
	d.mu.Unlock()
	if err != nil {
		return err
	}
	answer, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return schema.Validate(answer)
}

// Routes, scopes and parameters of the document are those of the code, and its schemas take nothing that they do not name.
func testDocumentIsTheCode(t *testing.T, b *bed) {
	doc := theDocument()
	scopes := map[string][]string{"/healthz": nil, "/readyz": nil}
	for _, r := range routes {
		all := []string{string(Admin)}
		for _, s := range r.scopes {
			all = append(all, string(s))
		}
		slices.Sort(all)
		scopes[strings.Replace(r.path, ":id", "{id}", 1)] = all
	}
	paths := doc.root["paths"].(map[string]any)
	for path := range scopes {
		if paths[path] == nil {
			t.Errorf("route %s is not in the document", path)
		}
	}
	for path, item := range paths {
		want, ok := scopes[path]
		if !ok {
			t.Errorf("the document has %s, which is no route", path)
			continue
		}
		get := item.(map[string]any)["get"].(map[string]any)
		var got []string
		if list, ok := get["x-scopes"].([]any); ok {
			for _, s := range list {
				got = append(got, s.(string))
			}
		}
		slices.Sort(got)
		if secured := len(get["security"].([]any)) > 0; !slices.Equal(got, want) || secured != (len(want) > 0) {
			t.Errorf("%s: scopes %v, secured %v; want %v", path, got, secured, want)
		}
		var documented []string
		list, _ := get["parameters"].([]any)
		for _, p := range list {
			m := p.(map[string]any)
			if ref, ok := m["$ref"].(string); ok {
				v, _ := doc.at(strings.TrimPrefix(ref, "#"))
				m = v.(map[string]any)
			}
			if m["in"] == "query" {
				documented = append(documented, m["name"].(string))
			}
		}
		if !strings.HasPrefix(path, "/v1/") || path == "/v1/openapi.json" {
			continue
		}
		// The refusal of an unknown parameter tells the known ones.
		_, _, body := b.get(b.keys[Admin], strings.NewReplacer("sources/{id}", "sources/a%7Cb", "{id}", b.ids[0].String()).Replace(path)+"?nobody=1")
		told := regexp.MustCompile(`known are \[([^\]]*)\]`).FindSubmatch(body)
		if told == nil {
			t.Fatalf("%s: %s", path, body)
		}
		known := strings.Fields(string(told[1]))
		slices.Sort(known)
		slices.Sort(documented)
		if !slices.Equal(known, documented) {
			t.Errorf("%s: parameters %v, documented %v", path, known, documented)
		}
	}
	for name, s := range doc.root["components"].(map[string]any)["schemas"].(map[string]any) {
		if _, err := doc.compiler.Compile("openapi.json#/components/schemas/" + name); err != nil {
			t.Error(err)
		}
		if s := s.(map[string]any); s["type"] == "object" && s["additionalProperties"] != false {
			t.Errorf("schema %s takes anything", name)
		}
	}
	if _, _, body := b.get(b.keys[Operator], "/v1/openapi.json"); !bytes.Equal(body, openAPI) {
		t.Error("another document is served")
	}
}

// Answers of every kind; that they are as the document says is looked at in bed.get, for all tests.
func TestAnswersConform(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	denied := b.call(now.Add(-time.Minute), 1)
	denied.Type, denied.Request.Attempts, denied.Request.Outcome.Served = event.RequestDenied, nil, -1
	denied.Request.Outcome.Status, denied.Request.Outcome.Code = 403, "ledgerline_denied"
	lost := b.call(now.Add(-time.Minute), 2)
	lost.Type, lost.Request.Attempts, lost.Request.Outcome = event.RequestRecovered, nil, event.Outcome{Served: -1, Client: "unknown", Upstream: "unknown"}
	untold := b.call(now.Add(-time.Minute), 6)
	untold.Request.Attempts[0].UsageRaw, untold.Request.Attempts[0].UsageSource, untold.Request.Attempts[0].ModelServed = "", event.UsageMissing, ""
	b.publish(denied, lost, untold)

	for _, by := range []string{"", "business_unit,team,project,user,application,use_case,provider,model,class,cost_status", "hour", "day,cost_status", "month,team"} {
		var groups []string
		if by != "" {
			groups = strings.Split(by, ",")
		}
		path := "/v1/showback?tz=America/St_Johns"
		if by != "" {
			path += "&group_by=" + by
		}
		answer := ask[struct{ Rows []map[string]any }](b, Finance, path)
		if len(answer.Rows) == 0 {
			t.Errorf("%s: no rows", path)
		}
		for _, row := range answer.Rows {
			if len(row) != len(groups)+5 || slices.ContainsFunc(groups, func(g string) bool { return row[g] == nil }) {
				t.Errorf("%s: row %v", path, row)
			}
		}
	}
	if none := ask[showbackRows](b, Finance, "/v1/showback?from=2020-01-01&to=2020-02-01"); len(none.Rows) != 0 || !none.Total.Cost.IsZero() || none.AsOf == "0" {
		t.Errorf("of a time without calls: %+v", none)
	}
	if none := ask[requestsAnswer](b, Finance, "/v1/requests?from=2020-01-01&to=2020-02-01"); len(none.Requests) != 0 || none.NextCursor != "" {
		t.Errorf("of a time without calls: %+v", none)
	}
	ask[struct{ Unpriced []unpricedRow }](b, Finance, "/v1/unpriced?from=2020-01-01&to=2020-02-01")

	// What the list says of a call is what the call says of itself.
	list := ask[requestsAnswer](b, Compliance, "/v1/requests?limit=1000")
	if len(list.Requests) != 63 {
		t.Fatalf("%d calls, want 63", len(list.Requests))
	}
	seen := map[string]int{}
	for i, row := range list.Requests {
		seen[row.Type+" "+row.CostStatus]++
		if i >= 20 {
			continue
		}
		one := ask[requestAnswer](b, Compliance, "/v1/requests/"+row.ID)
		text := func(cost *string) string {
			if cost == nil {
				return "null"
			}
			return *cost
		}
		if text(one.Cost) != text(row.Cost) || one.CostStatus != row.CostStatus || uint16(one.Outcome.Status) != row.Status || len(one.Attempts) != int(row.Attempts) || one.Time != strings.TrimSuffix(strings.TrimRight(strings.TrimSuffix(row.Time, "Z"), "0"), ".")+"Z" {
			t.Errorf("the list has %+v of %+v", row, one)
		}
	}
	for kind, want := range map[string]int{
		"llm.request.completed exact": 54, "llm.request.completed unpriced": 6, "llm.request.completed missing": 1,
		"llm.request.denied free": 1, "llm.request.recovered missing": 1,
	} {
		if seen[kind] != want {
			t.Errorf("%d calls are %s, want %d: %v", seen[kind], kind, want, seen)
		}
	}
	for query, want := range map[string]int{
		"status=0": 1, "status=403": 1, "type=llm.request.denied": 1, "type=llm.request.denied&type=llm.request.recovered": 2, "model=gpt-nobody-knows": 6,
		"model=gpt-5-mini":   55, // also of the call whose answer named no model
		"format=openai.chat": 63, "format=anthropic.messages": 0, "provider=openai": 61, "key_id=cardsdesk": 63, "business_unit=": 0,
		"project=%3DHYPERLINK(1)": 63, "project=%27%5C": 0, "cost_status=missing": 2,
	} {
		if list := ask[requestsAnswer](b, Compliance, "/v1/requests?limit=1000&"+query); len(list.Requests) != want {
			t.Errorf("%s: %d calls, want %d", query, len(list.Requests), want)
		}
	}
}
