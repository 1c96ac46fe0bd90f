package api

import (
	"encoding/csv"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/internal/spool"
	"github.com/ledgerline/ledgerline/lineage"
)

var (
	blocks = regexp.MustCompile(`</(dt|dd|td|th|p|h1|h2)>|<br>`)
	tags   = regexp.MustCompile(`<[^>]*>`)
	spaces = regexp.MustCompile(`\s+`)
	rowsIn = regexp.MustCompile(`(?s)<tr>.*?</tr>`)
	cells  = regexp.MustCompile(`(?s)<t[dh][^>]*>.*?</t[dh]>`)
	hrefs  = regexp.MustCompile(`href="([^"]*)"`)
)

// text is what a reader sees of a piece of a page.
func text(page string) string {
	page = tags.ReplaceAllString(blocks.ReplaceAllString(page, " "), "")
	return strings.TrimSpace(spaces.ReplaceAllString(html.UnescapeString(page), " "))
}

// table is the cells of a page's first table, line by line, as read.
func table(page string) [][]string {
	_, page, _ = strings.Cut(page, "<table")
	page, _, _ = strings.Cut(page, "</table>")
	var lines [][]string
	for _, row := range rowsIn.FindAllString(page, -1) {
		var line []string
		for _, c := range cells.FindAllString(row, -1) {
			line = append(line, text(c))
		}
		lines = append(lines, line)
	}
	return lines
}

// links is where the links of a piece of a page lead.
func links(page string) []string {
	var to []string
	for _, found := range hrefs.FindAllStringSubmatch(page, -1) {
		to = append(to, html.UnescapeString(found[1]))
	}
	return to
}

// session is a browser of the bed that is logged in.
func (b *bed) session(scope Scope) *browser {
	b.t.Helper()
	s := newBrowser(b.t, b.server.Config.Handler)
	if response, body := s.login(b.keys[scope], "/"); response.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("login: %d %s", response.StatusCode, body)
	}
	return s
}

// TestPages is what pages show, on one bed.
func TestPages(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	strange := b.call(now.Add(-time.Second), 1)
	strange.Request.Attribution.Team = event.Dimension{Value: `<script>alert("1")</script>`, Provenance: event.FromHeader, Conflict: `<b>`}
	strange.Request.Decision.Why = `Because <i>so</i>.`
	sourced := b.call(now.Add(-2*time.Second), 1)
	sourced.Request.Attribution.UseCase.Value, sourced.Request.Coverage = "kyc-review", "declared"
	sourced.Request.Sources = []event.Source{
		{Namespace: "snowflake://example-eu1", Name: "KYC.MART.CUSTOMER_FILE", Version: "2026-11-19", Role: "context", Rows: 1200, Chunks: 1, Evidence: "declared"},
		{Namespace: "s3://nobody", Name: "x<b>", Evidence: "declared"},
	}
	b.publish(strange, sourced)
	b.ids = append(b.ids, sourced.ID, strange.ID)
	for name, test := range map[string]func(*testing.T, *bed){
		"showback":    testShowbackPage,
		"pages sum":   testShowbackPagesFollow,
		"drill down":  testDrillDown,
		"one request": testRequestPage,
		"forms":       testForms,
		"mistakes":    testPageMistakes,
		"safe":        testPagesAreSafe,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := *b
			own.t = t
			test(t, &own)
		})
	}
}

// The page has the figures of the API: each row, the total, through when they are complete, and the same as files.
func testShowbackPage(t *testing.T, b *bed) {
	s := b.session(Finance)
	const query = "from=2026-11-01&group_by=team%2Cclass&to=2026-12-01&tz=Europe%2FZurich"
	page := s.get(http.StatusOK, "/showback?"+query)
	want := ask[showbackRows](b, Finance, "/v1/showback?"+query)
	line := func(f figures) []string {
		return []string{f.Cost.String(), fmt.Sprint(f.Requests), thousands(f.Quantity), fmt.Sprint(f.Unpriced), fmt.Sprint(f.Unmeasured)}
	}
	lines := [][]string{{"Team", "Class", "Share of the largest", "Cost, USD", "Requests", "Tokens", "Unpriced", "Unmeasured"}}
	for _, r := range want.Rows {
		lines = append(lines, append([]string{r.Team, r.Class, ""}, line(r.figures)...))
	}
	lines = append(lines, append([]string{"Total", ""}, line(want.Total)...))
	if got := table(page); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", lines) || len(want.Rows) < 4 {
		t.Errorf("the page has\n%q, want\n%q", got, lines)
	}
	complete, err := time.Parse(time.RFC3339Nano, *want.CompleteThrough)
	must(t, err)
	zone, err := time.LoadLocation("Europe/Zurich")
	must(t, err)
	for _, says := range []string{
		"1 November 2026 to 30 November 2026", "Complete through " + complete.In(zone).Format("2 January 2006, 15:04:05 MST"),
		fmt.Sprintf("%d entries have no price", want.Total.Unpriced),
	} {
		if !strings.Contains(text(page), says) {
			t.Errorf("the page does not say %q: %s", says, text(page))
		}
	}
	for _, to := range links(page) {
		if strings.HasPrefix(to, "/v1/showback") && strings.Contains(to, "format=csv") {
			response, body := s.do(http.MethodGet, to, nil)
			lines, err := csv.NewReader(strings.NewReader(body)).ReadAll()
			must(t, err)
			if response.Header.Get("Ledger-Total-Cost") != want.Total.Cost.String() || len(lines) != len(want.Rows)+1 {
				t.Errorf("the file has %v and %d lines", response.Header, len(lines))
			}
			return
		}
	}
	t.Error("no link to a file")
}

// Rows over a page are on the next, and all of them sum to the total that each page shows.
func testShowbackPagesFollow(t *testing.T, b *bed) {
	own := newBed(t)
	var more []*event.Event
	for i := range 250 {
		c := own.call(now.Add(-time.Duration(i)*time.Second), 1)
		c.Request.Attribution.Project.Value = fmt.Sprint("p-", i)
		more = append(more, c)
	}
	own.publish(more...)
	s := own.session(Finance)
	var sum money.Sum
	total, n, pages := "", 0, 0
	for next := "/showback?group_by=project"; next != ""; pages++ {
		lines := table(s.get(http.StatusOK, next))
		for _, line := range lines[1 : len(lines)-1] {
			cost, err := money.ParseSum(line[2])
			must(t, err)
			sum, n = sum.Plus(cost), n+1
		}
		total = lines[len(lines)-1][2]
		page := s.get(http.StatusOK, next)
		next = ""
		for _, to := range links(page) {
			if strings.Contains(to, "cursor=") && strings.HasPrefix(to, "/showback") {
				next = to
			}
		}
		if pages > 5 {
			t.Fatal("the pages do not end")
		}
	}
	if n != 251 || pages != 2 || sum.String() != total {
		t.Errorf("%d rows on %d pages sum to %s, total %s", n, pages, sum, total)
	}
}

// From a row to the calls that it is made of, as many as it says, and from one of them to the call.
func testDrillDown(t *testing.T, b *bed) {
	s := b.session(Admin)
	for _, by := range []string{"team", "model", "day", "hour", "month,use_case", "user"} {
		page := s.get(http.StatusOK, "/showback?tz=Asia/Kathmandu&group_by="+by)
		_, body, _ := strings.Cut(page, "<tbody>")
		body, _, _ = strings.Cut(body, "</tbody>")
		calls := 0
		for _, row := range rowsIn.FindAllString(body, -1) {
			to := links(row)
			n := len(to) - 1 // the last one leads to the calls, those before to a finer view
			said := table("<table>" + row)[0]
			for _, finer := range to[:n] {
				narrow := table(s.get(http.StatusOK, finer))
				total := narrow[len(narrow)-1]
				if len(narrow) < 3 || n == 1 && total[len(total)-4] != said[len(said)-4] {
					t.Errorf("%s: %q leads to %s, which has %q", by, said, finer, narrow)
				}
			}
			if q, err := url.ParseQuery(strings.TrimPrefix(to[n], "/requests?")); err != nil || !strings.Contains(text(page), "as of "+q.Get("as_of")+" ") || q.Get("as_of") == "" {
				t.Errorf("%s: the calls are as of %q, which the page is not: %v", by, q.Get("as_of"), err)
			}
			list := table(s.get(http.StatusOK, to[n]))
			if want := said[len(said)-4]; fmt.Sprint(len(list)-1) != want {
				t.Errorf("%s: a row of %s calls leads to %d: %s", by, want, len(list)-1, to[n])
			}
			calls += len(list) - 1
		}
		if calls != len(b.ids) {
			t.Errorf("%s: its rows lead to %d calls, want %d", by, calls, len(b.ids))
		}
	}
	for _, path := range []string{"/showback?group_by=class", "/showback?group_by=team,cost_status", "/showback?cost_status=exact", "/showback?group_by=model&class=input"} {
		_, rows, _ := strings.Cut(s.get(http.StatusOK, path), "<table")
		if strings.Contains(rows, "/requests?") {
			t.Errorf("%s leads to calls, though its rows are of entries", path)
		}
	}
	list := s.get(http.StatusOK, "/requests")
	i := slices.IndexFunc(links(list), func(to string) bool { return to == "/requests/"+b.ids[len(b.ids)-1].String() })
	if i < 0 {
		t.Fatalf("the list has no link to the last call: %q", links(list))
	}
	s.get(http.StatusOK, links(list)[i])
	if finance := b.session(Finance).get(http.StatusOK, "/requests"); strings.Contains(finance, `href="/requests/`) || strings.Contains(finance, `name="id"`) {
		t.Error("finance is led to single calls, which it may not open")
	}
}

// A call in full says who, why, what it cost and what is not known; nobody reads it unrecorded.
func testRequestPage(t *testing.T, b *bed) {
	o := b.options
	w := &watched{Recorder: b.records}
	o.Recorder, o.Metrics = w, prometheus.NewRegistry()
	handler, err := New(o)
	must(t, err)
	s := newBrowser(t, handler)
	s.login(b.keys[Compliance], "/")
	id := b.ids[10].String() // two attempts
	page := s.get(http.StatusOK, "/requests/"+id)
	one := ask[requestAnswer](b, Compliance, "/v1/requests/"+id)
	for _, says := range []string{
		id, "Because.", "Not anthropic-main: does not speak openai.chat", "gpt-5-mini at openai-us, openai, region us", "Team cards from key", "the call claimed advisory",
		"Business unit none", "Business unit: neither the key nor the call named one", *one.Cost, one.Event.Digest, "429", "openai/gpt-5-mini",
	} {
		if !strings.Contains(text(page), says) {
			t.Errorf("the page does not say %q: %s", says, text(page))
		}
	}
	key, _ := b.options.Keys.Find(b.keys[Compliance])
	var want []event.Audit
	for _, path := range []string{"requests", "trace"} {
		want = append(want, event.Audit{Actor: key.ID, Action: "GET /v1/" + path + "/{id}", Object: id, Outcome: "done"})
	}
	if !slices.Equal(w.events, want) {
		t.Errorf("recorded %+v, want %+v", w.events, want)
	}
	page = s.get(http.StatusOK, "/requests/"+b.ids[len(b.ids)-2].String())
	rest := text(page)
	for _, says := range []string{ // in this order
		"Where the answer came from", "The call declared its sources. The use case requires that a call says them.",
		"KYC.MART.CUSTOMER_FILE snowflake://example-eu1", "table, confidential, owner head of customer data; declared by the call, as context, version 2026-11-19, 1,200 rows, 1 chunk ·",
		"KYC.STAGE.CUSTOMERS", "owner head of customer data", "core.public.customers postgres://core.internal.example:5432", "owner head of core banking, nothing upstream, since 2026-07-01",
		"KYC.STAGE.DOCUMENTS", "core.public.customers", "kyc/scans s3://example-documents", "not in the estate: owner not known",
		"x<b> s3://nobody", "not in the estate: owner not known; declared by the call",
		"companies", "listed for the use case",
		"What is not known", "Who owns s3://nobody|x<b>, which fed the prompt", "Who owns s3://example-documents|kyc/scans",
	} {
		_, after, found := strings.Cut(rest, says)
		if !found {
			t.Fatalf("the page does not say %q after what stands before it: %s", says, text(page))
		}
		rest = after
	}
	if strings.Contains(page, "CORE.PROD.CUSTOMER") {
		t.Error("the page shows what a table was made from at another time")
	}
	i := slices.IndexFunc(links(page), func(to string) bool { return strings.HasPrefix(to, "/v1/sources/snowflake") })
	if _, body := s.do(http.MethodGet, links(page)[i], nil); !strings.Contains(body, b.ids[len(b.ids)-2].String()) {
		t.Errorf("%s does not lead to the answers that the dataset fed: %s", links(page)[i], body)
	}
	unpriced := text(s.get(http.StatusOK, "/requests/"+b.ids[3].String()))
	if !strings.Contains(unpriced, "Cost, USD not known") || !strings.Contains(unpriced, "no price is known for gpt-nobody-knows") {
		t.Errorf("a call without a price: %s", unpriced)
	}
	// Who may not read it is told so, and leaves a trace of having tried.
	w.events = nil
	finance := newBrowser(t, handler)
	finance.login(b.keys[Finance], "/")
	if page := finance.get(http.StatusForbidden, "/requests/"+id); strings.Contains(page, "Because") || !strings.Contains(text(page), "scope [compliance]") {
		t.Errorf("finance is shown %s", page)
	}
	key, _ = b.options.Keys.Find(b.keys[Finance])
	if want := (event.Audit{Actor: key.ID, Action: "GET /v1/requests/{id}", Object: id, Reason: "scope_missing", Outcome: "refused"}); len(w.events) != 1 || w.events[0] != want {
		t.Errorf("recorded %+v, want %+v", w.events, want)
	}
	w.recorded = spool.ErrFull
	if page := s.get(http.StatusServiceUnavailable, "/requests/"+id); strings.Contains(page, "Because") || !strings.Contains(page, "Try again") {
		t.Errorf("a read that cannot be recorded: %s", page)
	}
}

// A form leads to an address in the API's parameters.
func testForms(t *testing.T, b *bed) {
	s := b.session(Admin)
	for form, want := range map[string]string{
		"/showback?from=2026-11-01&through=2026-11-30&tz=UTC&by=team&then=&filter=team&value=":    "/showback?from=2026-11-01&group_by=team&to=2026-12-01&tz=UTC",
		"/showback?from=&through=&tz=&by=team&then=model&filter=team&value=a%26b&team=&project=x": "/showback?group_by=team%2Cmodel&project=x&team=&team=a%26b",
		"/showback?by=team&then=team&filter=team&value=x&team=x":                                  "/showback?group_by=team&team=x",
		"/showback?from=2026-02-28&through=2026-02-28&by=day&cursor=x&as_of=7":                    "/showback?as_of=7&cursor=x&from=2026-02-28&group_by=day&to=2026-03-01",
		"/requests?from=2026-11-01&through=nonsense&tz=Asia%2FTokyo&filter=status&value=429":      "/requests?from=2026-11-01&status=429&to=nonsense&tz=Asia%2FTokyo",
		"/requests?id=+01a1f8d3-ea00-7b24-a68a-dadd03ad39d7":                                      "/requests/01a1f8d3-ea00-7b24-a68a-dadd03ad39d7",
		"/requests?id=..%2F..%2Fetc": "/requests/..%2F..%2Fetc",
	} {
		response, body := s.do(http.MethodGet, form, nil)
		if to := response.Header.Get("Location"); response.StatusCode != http.StatusSeeOther || to != want {
			t.Errorf("%s: %d leads to\n%q, want\n%q: %s", form, response.StatusCode, to, want, body)
		}
	}
	// What is on is shown and can be taken off, and the form hands it on.
	page := s.get(http.StatusOK, "/showback?group_by=model&team=cards&team=lending&project=")
	for _, want := range []string{"/showback?from=2026-11-01&group_by=model&project=&team=lending&to=2026-12-01", "/showback?from=2026-11-01&group_by=model&team=cards&team=lending&to=2026-12-01"} {
		if !slices.Contains(links(page), want) {
			t.Errorf("no link to %s: %q", want, links(page))
		}
	}
	for _, want := range []string{`<input type="hidden" name="team" value="lending">`, `<input type="hidden" name="project" value="">`, `<option value="model" selected>`} {
		if !strings.Contains(page, want) {
			t.Errorf("the form has no %s", want)
		}
	}
}

// A mistake is told where it can be put right; what is away is told as such.
func testPageMistakes(t *testing.T, b *bed) {
	s := b.session(Admin)
	for path, says := range map[string]string{
		"/showback?tz=Mars":                       "tz: a time zone",
		"/showback?group_by=":                     "group_by: empty",
		"/showback?group_by=colour":               "group_by:",
		"/showback?group_by=team,":                "group_by:",
		"/showback?from=2026-12-01&to=1999-01":    "to: a day",
		"/showback?colour=red":                    "no such parameter",
		"/showback?as_of=4611686018427387904":     "as_of:",
		"/showback?cursor=x":                      "cursor:",
		"/requests?status=abc":                    "status: a number",
		"/requests?from=2026-12-01&to=2026-01-01": "from: must be before to",
		"/requests?team=a&team=b&tz=x":            "tz:",
	} {
		page := s.get(http.StatusBadRequest, path)
		if !strings.Contains(text(page), says) || !strings.Contains(page, `role="alert"`) || !strings.Contains(page, `name="from"`) || strings.Contains(page, "<table") {
			t.Errorf("%s: %s", path, text(page))
		}
	}
	if page := text(s.get(http.StatusOK, "/showback?from=2020-01-01&to=2020-02-01")); !strings.Contains(page, "No calls here") || !strings.Contains(page, "longer period") {
		t.Errorf("of a time without calls: %s", page)
	}
	if page := text(s.get(http.StatusOK, "/requests?team=nobody")); !strings.Contains(page, "No calls here") || !strings.Contains(page, "Remove a filter") {
		t.Errorf("of a team without calls: %s", page)
	}
	if page := text(s.get(http.StatusNotFound, "/requests/"+event.NewID(event.At(now)).String())); !strings.Contains(page, "no such request") || !strings.Contains(page, "list of requests") {
		t.Errorf("of an unknown id: %s", page)
	}
	if page := text(s.get(http.StatusBadRequest, "/requests/nonsense")); !strings.Contains(page, "a request id") {
		t.Errorf("of no id: %s", page)
	}
	gone := b.options
	gone.Metrics, gone.DB = prometheus.NewRegistry(), b.away()
	handler, err := New(gone)
	must(t, err)
	away := newBrowser(t, handler)
	away.login(b.keys[Admin], "/")
	for _, path := range []string{"/showback", "/requests", "/requests/" + b.ids[0].String()} {
		response, page := away.do(http.MethodGet, path, nil)
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" || !strings.Contains(text(page), "Nothing is lost") {
			t.Errorf("%s while the store is away: %d %s", path, response.StatusCode, text(page))
		}
	}
}

// What was recorded cannot become a part of a page, and a page takes nothing from elsewhere and runs nothing.
func testPagesAreSafe(t *testing.T, b *bed) {
	s := b.session(Admin)
	inline := regexp.MustCompile(`(?i)<script|<style|\sstyle=|\son[a-z]+=|javascript:|(src|href|action)="(https?:)?//`)
	bound := regexp.MustCompile(`(src|href)="/assets/([^"?]+)\?v=[0-9a-f]{12}"`)
	for _, path := range []string{"/login", "/showback", "/showback?group_by=team,project", "/showback?tz=%3Cscript%3E", "/requests?team=%3Cscript%3E", "/requests", "/requests/" + b.ids[len(b.ids)-1].String(), "/requests/%3Cscript%3E"} {
		who := s
		if path == "/login" {
			who = newBrowser(t, b.server.Config.Handler)
		}
		response, page := who.do(http.MethodGet, path, nil)
		if found := inline.FindString(page); found != "" || strings.Contains(page, "<i>so") {
			t.Errorf("%s: %q in %s", path, found, page)
		}
		h := response.Header
		if h.Get("Content-Security-Policy") != pagePolicy || h.Get("X-Frame-Options") != "DENY" || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Type") != "text/html; charset=UTF-8" {
			t.Errorf("%s: header %v", path, h)
		}
		for _, found := range bound.FindAllStringSubmatch(page, -1) {
			response, file := who.do(http.MethodGet, "/assets/"+found[2], nil)
			kind := response.Header.Get("Content-Type")
			if response.StatusCode != 200 || len(file) > 10<<10 || !strings.Contains(response.Header.Get("Cache-Control"), "immutable") || kind != "text/css; charset=utf-8" && kind != "image/svg+xml" {
				t.Errorf("%s: %d %v, %d bytes", found[2], response.StatusCode, response.Header, len(file))
			}
		}
	}
	for _, path := range []string{"/assets/frame.html", "/assets/nothing.css", "/assets/..%2Fpage.go"} {
		if response, _ := s.do(http.MethodGet, path, nil); response.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, response.StatusCode)
		}
	}
}

// A table that two were made from stands under both; tables that are made from one another end.
func TestTree(t *testing.T) {
	t.Parallel()
	trace := &lineage.Trace{}
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		trace.Nodes = append(trace.Nodes, lineage.Node{ID: id})
	}
	for _, e := range []string{"a answer", "b answer", "a answer", "c a", "c b", "d c", "e d", "d e"} {
		from, to, _ := strings.Cut(e, " ")
		trace.Edges = append(trace.Edges, lineage.Edge{From: from, To: to})
	}
	var write func(all []branch) string
	write = func(all []branch) string {
		var b strings.Builder
		for _, x := range all {
			fmt.Fprintf(&b, "%s%s%d(%s)", x.ID, map[bool]string{true: "^"}[x.Above], len(x.Edges), write(x.Upstream))
		}
		return b.String()
	}
	if got, want := write(tree(trace)), "a2(c1(d1(e1(d^1()))))b1(c^1())"; got != want {
		t.Errorf("the tree is %s, want %s", got, want)
	}
}

func TestAmountsForReaders(t *testing.T) {
	t.Parallel()
	none, some := (*string)(nil), "-0.000000000001"
	for _, c := range []struct {
		amount any
		want   string
	}{
		{"0", "0.000000000000"}, {"1234567.100000000001", "1,234,567.100000000001"}, {"-1234.5", "−1,234.500000000000"}, {&some, "−0.000000000001"}, {none, "not known"}, {money.Sum{}, "0.000000000000"},
	} {
		got, err := moneyText(c.amount)
		if err != nil || text(string(got)) != c.want {
			t.Errorf("%v reads %q, %v; want %q", c.amount, text(string(got)), err, c.want)
		}
	}
	for amount, pale := range map[string]string{"12.345": "<i>5000000000</i>", "0.0433175": "<i>00000</i>", "0": "<i>0000000000</i>", "-0.5": "<i>0000000000</i>"} {
		if got, err := moneyText(amount); err != nil || !strings.Contains(string(got), pale) {
			t.Errorf("%s is %s, %v; want %s", amount, got, err, pale)
		}
	}
	if got, err := moneyText("<b>"); err == nil {
		t.Errorf("no amount reads %q", got)
	}
	n := uint64(12345)
	for _, c := range []struct {
		n    any
		want string
	}{{0, "0"}, {999, "999"}, {1000, "1,000"}, {-1234567, "−1,234,567"}, {&n, "12,345"}} {
		if got := thousands(c.n); got != c.want {
			t.Errorf("%v reads %q, want %q", c.n, got, c.want)
		}
	}
	for d, want := range map[time.Duration]string{0: "a moment ago", -time.Hour: "a moment ago", time.Second: "1 second ago", 119 * time.Second: "1 minute ago", 50 * time.Hour: "2 days ago"} {
		if got := age(d); got != want {
			t.Errorf("%v reads %q, want %q", d, got, want)
		}
	}
	for us, want := range map[int64]string{0: "0 µs", 160: "160 µs", 1234: "1.23 ms", 56789: "57 ms", 1234567: "1.23 s", 65_000_000: "65.0 s"} {
		if got := micros(us); got != want {
			t.Errorf("%d µs reads %q, want %q", us, got, want)
		}
	}
}

// A value of a period leads to just its time, also on the days when a zone changes its clocks.
func TestPeriodOf(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/Zurich")
	must(t, err)
	for _, c := range []struct{ name, value, from, to string }{
		{"month", "2026-02", "2026-01-31T23:00:00Z", "2026-02-28T23:00:00Z"},
		{"month", "2026-10", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"},
		{"day", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"day", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		{"hour", "2026-10-25T02:00:00+02:00", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"},
		{"hour", "2026-10-25T02:00:00+01:00", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"},
	} {
		from, to, err := periodOf(c.name, c.value, zone)
		must(t, err)
		// As parameters of an address they still mean the same.
		p := &params{values: url.Values{"from": {bound(from)}, "to": {bound(to)}}}
		from, to = p.period(now, zone)
		if p.err != nil || from.UTC().Format(time.RFC3339) != c.from || to.UTC().Format(time.RFC3339) != c.to {
			t.Errorf("%s %s is %v to %v, want %s to %s; %v", c.name, c.value, from.UTC(), to.UTC(), c.from, c.to, p.err)
		}
	}
}
