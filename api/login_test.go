package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// browser keeps cookies and follows no redirect.
type browser struct {
	t      *testing.T
	base   *url.URL
	client *http.Client
}

func newBrowser(t *testing.T, handler http.Handler) *browser {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	must(t, err)
	jar, err := cookiejar.New(nil)
	must(t, err)
	return &browser{t, base, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (b *browser) do(method, path string, form url.Values, header ...string) (*http.Response, string) {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.base.String()+path, strings.NewReader(form.Encode()))
	must(b.t, err)
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := b.client.Do(request)
	must(b.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(b.t, err)
	return response, string(body)
}

// get is a page that must come with a status.
func (b *browser) get(status int, path string) string {
	b.t.Helper()
	response, body := b.do(http.MethodGet, path, nil)
	if response.StatusCode != status {
		b.t.Fatalf("GET %s: %d, want %d: %s", path, response.StatusCode, status, body)
	}
	return body
}

// cookie is the one that the browser has for us.
func (b *browser) cookie() string {
	for _, c := range b.client.Jar.Cookies(b.base) {
		if c.Name == sessionCookie {
			return c.Value
		}
	}
	return ""
}

var tokenField = regexp.MustCompile(`name="token" value="([0-9a-f]{64})"`)

func token(t *testing.T, page string) string {
	t.Helper()
	found := tokenField.FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("no token in %s", page)
	}
	return found[1]
}

// login sends the form with a key and returns the answer.
func (b *browser) login(key, next string) (*http.Response, string) {
	b.t.Helper()
	_, page := b.do(http.MethodGet, "/login?"+url.Values{"next": {next}}.Encode(), nil)
	return b.do(http.MethodPost, "/login", url.Values{"key": {key}, "next": {next}, "token": {token(b.t, page)}})
}

// loginAPI is an API on no store: what it is asked here needs none. It has a clock, and a key per scope.
func loginAPI(t *testing.T) (handler http.Handler, keys *Keys, texts map[Scope]string, clock *atomic.Int64) {
	t.Helper()
	keys, err := OpenKeys(filepath.Join(t.TempDir(), "api-keys.json"))
	must(t, err)
	texts = map[Scope]string{}
	for _, scope := range Scopes {
		texts[scope], err = keys.Add("test "+string(scope), scope)
		must(t, err)
	}
	clock = &atomic.Int64{}
	clock.Store(now.UnixNano())
	log := slog.New(slog.DiscardHandler)
	records, err := spool.Open(spool.Options{Dir: t.TempDir(), Instance: "api", Heartbeat: -1, Now: time.Now, Logger: log})
	must(t, err)
	t.Cleanup(func() { records.Close(context.Background()) })
	handler, err = New(Options{
		DB: new(clickhouse.DB), Keys: keys, Topic: "events", Recorder: records, Source: "ledgerline/api", Logger: log, Metrics: prometheus.NewRegistry(),
		Now: func() time.Time { return time.Unix(0, clock.Load()).UTC() },
	})
	must(t, err)
	return handler, keys, texts, clock
}

func TestLogin(t *testing.T) {
	t.Parallel()
	handler, _, keys, _ := loginAPI(t)
	b := newBrowser(t, handler)

	response, _ := b.do(http.MethodGet, "/showback?group_by=team&team=a%26b", nil)
	if to := response.Header.Get("Location"); response.StatusCode != http.StatusSeeOther || to != "/login?next=%2Fshowback%3Fgroup_by%3Dteam%26team%3Da%2526b" {
		t.Errorf("without a session: %d to %q", response.StatusCode, to)
	}
	response, page := b.do(http.MethodGet, "/login", nil)
	set := response.Header.Get("Set-Cookie")
	if !strings.Contains(set, "; HttpOnly") || !strings.Contains(set, "; SameSite=Strict") || !strings.Contains(set, "; Path=/") || strings.Contains(set, "Secure") || strings.Contains(set, "Expires") {
		t.Errorf("cookie %q", set)
	}
	planted := b.cookie()
	good := url.Values{"key": {keys[Finance]}, "token": {token(t, page)}, "next": {"/showback?group_by=team"}}

	// Without its token, with that of another cookie, or without a cookie, a form does nothing.
	other := newBrowser(t, handler)
	otherPage := other.get(http.StatusOK, "/login")
	for name, wrong := range map[string]url.Values{
		"no token":      {"key": good["key"]},
		"another token": {"key": good["key"], "token": {token(t, otherPage)}},
		"a long form":   {"key": good["key"], "token": good["token"], "x": {strings.Repeat("x", maxForm)}},
	} {
		if response, body := b.do(http.MethodPost, "/login", wrong); response.StatusCode/100 != 4 || response.Header.Get("Set-Cookie") != "" || !strings.Contains(body, "<html") {
			t.Errorf("%s: %d %s", name, response.StatusCode, body)
		}
	}
	if response, _ := newBrowser(t, handler).do(http.MethodPost, "/login", good); response.StatusCode != http.StatusForbidden {
		t.Errorf("without a cookie: %d", response.StatusCode)
	}
	for _, refused := range []struct {
		key    string
		status int
		says   string
	}{
		{keys[Finance] + "x", http.StatusUnauthorized, "No such key"},
		{"", http.StatusUnauthorized, "No such key"},
		{keys[Operator], http.StatusForbidden, "opens no page"},
	} {
		if response, body := b.login(refused.key, "/showback"); response.StatusCode != refused.status || !strings.Contains(body, refused.says) || strings.Contains(body, refused.key) != (refused.key == "") {
			t.Errorf("with %q: %d %s", refused.key, response.StatusCode, body)
		}
	}

	response, body := b.do(http.MethodPost, "/login", good)
	if response.StatusCode != http.StatusSeeOther || response.Header.Get("Location") != "/showback?group_by=team" {
		t.Fatalf("login: %d to %q: %s", response.StatusCode, response.Header.Get("Location"), body)
	}
	if b.cookie() == planted || len(b.cookie()) < 40 {
		t.Errorf("the session has the id %q, before the login it was %q", b.cookie(), planted)
	}
	for path, want := range map[string]string{"/": "/showback", "/login?next=%2Frequests": "/requests"} {
		if response, _ := b.do(http.MethodGet, path, nil); response.Header.Get("Location") != want {
			t.Errorf("GET %s leads to %q, want %q", path, response.Header.Get("Location"), want)
		}
	}
	if page := b.get(http.StatusForbidden, "/requests/01a1f8d3-ea00-7b24-a68a-dadd03ad39d7"); !strings.Contains(page, "compliance") {
		t.Errorf("finance opens a call: %s", page)
	}
	response, body = b.do(http.MethodGet, "/v1/openapi.json", nil)
	if response.StatusCode != http.StatusOK || body != string(openAPI) {
		t.Errorf("the session opens the API: %d", response.StatusCode)
	}
	if response, _ := b.do(http.MethodGet, "/v1/openapi.json", nil, "Authorization", "Bearer lk_x"); response.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong bearer beside a session: %d", response.StatusCode)
	}
	if response, _ := b.do(http.MethodGet, "/metrics", nil); response.StatusCode != http.StatusForbidden {
		t.Errorf("finance reads metrics: %d", response.StatusCode)
	}

	// The end of a session takes its token, and the cookie is worth nothing then, whoever kept it.
	session := b.cookie()
	page = b.get(http.StatusForbidden, "/requests/x")
	for _, wrong := range []url.Values{{}, {"token": good["token"]}} {
		if response, _ := b.do(http.MethodPost, "/logout", wrong); response.StatusCode != http.StatusForbidden || b.cookie() != session {
			t.Errorf("logout with %v: %d", wrong, response.StatusCode)
		}
	}
	if response, _ := b.do(http.MethodPost, "/logout", url.Values{"token": {token(t, page)}}); response.Header.Get("Location") != "/login" || b.cookie() != "" {
		t.Errorf("logout: %d, cookie %q", response.StatusCode, b.cookie())
	}
	if response, _ := b.do(http.MethodGet, "/v1/openapi.json", nil, "Cookie", sessionCookie+"="+session); response.StatusCode != http.StatusUnauthorized {
		t.Errorf("the cookie of an ended session: %d", response.StatusCode)
	}

	c := newBrowser(t, handler)
	c.login(keys[Compliance], "/")
	if response, _ := c.do(http.MethodGet, "/", nil); response.Header.Get("Location") != "/requests" {
		t.Errorf("compliance begins at %q", response.Header.Get("Location"))
	}
	c.get(http.StatusForbidden, "/showback")
}

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	handler, keys, texts, clock := loginAPI(t)
	open := func(b *browser) bool {
		response, _ := b.do(http.MethodGet, "/", nil)
		return response.Header.Get("Location") == "/showback"
	}
	pass := func(d time.Duration) { clock.Add(int64(d)) }

	idle := newBrowser(t, handler)
	idle.login(texts[Finance], "/")
	if pass(sessionIdle - time.Second); !open(idle) {
		t.Error("over before it was idle for long")
	}
	if pass(sessionIdle); open(idle) {
		t.Error("open though idle for long")
	}
	busy := newBrowser(t, handler)
	busy.login(texts[Finance], "/")
	for spent := time.Duration(0); spent < sessionLife-30*time.Minute; spent += 30 * time.Minute {
		if pass(30 * time.Minute); !open(busy) {
			t.Fatalf("over after %v of use", spent+30*time.Minute)
		}
	}
	if pass(30 * time.Minute); open(busy) {
		t.Error("open beyond its life")
	}
	revoked, other := newBrowser(t, handler), newBrowser(t, handler)
	revoked.login(texts[Finance], "/")
	other.login(texts[Admin], "/")
	_, err := keys.Replace("test finance", Finance)
	must(t, err)
	if open(revoked) {
		t.Error("the session of a key that was replaced is open")
	}
	if !open(other) {
		t.Error("the session of another key is over")
	}
	file, err := os.ReadFile(keys.path)
	must(t, err)
	sum := sha256.Sum256([]byte(texts[Admin]))
	must(t, os.WriteFile(keys.path, bytes.Replace(file, []byte(hex.EncodeToString(sum[:])), []byte(strings.Repeat("00", len(sum))), 1), 0o600))
	if open(other) {
		t.Error("the session of a key whose id has another secret now is open")
	}
}

// Many sessions do not fill the memory: the one that is idle longest makes room. What is kept is not what the cookie holds.
func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	keys, err := OpenKeys(filepath.Join(t.TempDir(), "api-keys.json"))
	must(t, err)
	text, err := keys.Add("x", Finance)
	must(t, err)
	key, _ := keys.Find(text)
	at := now
	s := newSessions(keys, func() time.Time { return at })
	first := s.begin(key)
	at = at.Add(time.Second)
	second := s.begin(key)
	for len(s.open) < maxSessions {
		s.open[sha256.Sum256([]byte(fmt.Sprint(len(s.open))))] = session{key, at, at}
	}
	at = at.Add(time.Second)
	if _, ok := s.find(first); !ok { // now the second is idle longest, with others
		t.Fatal("the first session is not open")
	}
	last := s.begin(key)
	if len(s.open) != maxSessions {
		t.Errorf("%d sessions, want %d", len(s.open), maxSessions)
	}
	for id, want := range map[string]bool{first: true, last: true, "": false, "nobody": false} {
		if _, ok := s.find(id); ok != want {
			t.Errorf("session %q: open %v, want %v", id, ok, want)
		}
	}
	if text := fmt.Sprint(s.open); strings.Contains(text, first) || strings.Contains(text, second) {
		t.Error("the id of a session is kept")
	}
	at = at.Add(sessionLife)
	s.begin(key)
	if len(s.open) != 1 {
		t.Errorf("%d sessions are kept though they are over", len(s.open)-1)
	}
	for i := range maxSessions + 1 {
		s.failed(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32))
	}
	if len(s.failures) > maxSessions {
		t.Errorf("the failures of %d addresses are kept", len(s.failures))
	}
}

func TestLoginAttemptsAreLimited(t *testing.T) {
	t.Parallel()
	handler, _, keys, clock := loginAPI(t)
	send := func(from, key string) *httptest.ResponseRecorder {
		page := httptest.NewRecorder()
		handler.ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/login", nil))
		form := url.Values{"key": {key}, "token": {token(t, page.Body.String())}}
		request := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader(form.Encode()))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Cookie", page.Result().Cookies()[0].String())
		request.RemoteAddr = from
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		return answer
	}
	for _, from := range []string{"192.0.2.1:1", "[2001:db8::1]:1"} {
		for range maxFailures {
			if a := send(from, "lk_wrong"); a.Code != http.StatusUnauthorized {
				t.Fatalf("%s: %d", from, a.Code)
			}
		}
	}
	for from, want := range map[string]int{
		"192.0.2.1:999": 429, "[2001:db8::ffff]:1": 429, "[::ffff:192.0.2.1]:1": 429, // the same, from another port, of the same /64, written otherwise
		"192.0.2.2:1": 303, "[2001:db8:0:1::1]:1": 303,
	} {
		a := send(from, keys[Finance])
		if a.Code != want || want == 429 && a.Header().Get("Retry-After") != "61" {
			t.Errorf("from %s: %d, Retry-After %q", from, a.Code, a.Header().Get("Retry-After"))
		}
	}
	clock.Add(int64(failureWindow))
	if a := send("192.0.2.1:1", keys[Finance]); a.Code != http.StatusSeeOther {
		t.Errorf("a minute later: %d", a.Code)
	}
}

// Over TLS, to us or to what stands in front of us, the cookie goes over nothing else.
func TestSecureCookie(t *testing.T) {
	t.Parallel()
	handler, _, _, _ := loginAPI(t)
	for name, want := range map[string]bool{"X-Forwarded-Proto: https": true, "X-Forwarded-Proto: http": false, `Forwarded: for=192.0.2.1;Proto=https`: true, "X-Other: https": false} {
		request := httptest.NewRequest(http.MethodGet, "/login", nil)
		key, value, _ := strings.Cut(name, ": ")
		request.Header.Set(key, value)
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if got := answer.Result().Cookies()[0].Secure; got != want {
			t.Errorf("%s: Secure is %v", name, got)
		}
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "https://ledgerline.example/login", nil)) // sets TLS
	if !answer.Result().Cookies()[0].Secure {
		t.Error("over TLS the cookie is not Secure")
	}
}

// By a link from elsewhere the browser comes without its cookie. It must come again by itself, and not lose the session to a new cookie.
func TestLinkFromElsewhere(t *testing.T) {
	t.Parallel()
	handler, _, _, _ := loginAPI(t)
	b := newBrowser(t, handler)
	response, page := b.do(http.MethodGet, "/requests/01a1f8d3-ea00-7b24-a68a-dadd03ad39d7?x=%22", nil, "Sec-Fetch-Site", "cross-site")
	if response.StatusCode != http.StatusOK || response.Header.Get("Set-Cookie") != "" || !strings.Contains(page, `content="0; url=/requests/01a1f8d3-ea00-7b24-a68a-dadd03ad39d7?x=%22"`) {
		t.Errorf("%d %q %s", response.StatusCode, response.Header.Get("Set-Cookie"), page)
	}
	if response, _ := b.do(http.MethodGet, "/showback", nil, "Sec-Fetch-Site", "same-origin"); response.StatusCode != http.StatusSeeOther {
		t.Errorf("the second time: %d", response.StatusCode)
	}
}

func TestLocalPath(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "/", "/": "/", "/showback?a=b&c=%26": "/showback?a=b&c=%26", "/requests/x": "/requests/x",
		"//evil.example": "/", "/\\evil.example": "/", "https://evil.example/": "/", "javascript:alert(1)": "/", "showback": "/", "/\t/evil.example": "/", "/%zz": "/",
		"///evil.example": "/", "/a\r\nSet-Cookie: x": "/",
	} {
		if got := localPath(text); got != want {
			t.Errorf("%q leads to %q, want %q", text, got, want)
		}
	}
}

// The document names the cookie as a way in wherever a key is one.
func TestDocumentNamesTheSession(t *testing.T) {
	t.Parallel()
	if name, _ := theDocument().at("/components/securitySchemes/session/name"); name != sessionCookie {
		t.Errorf("the document's cookie is %v", name)
	}
	for path, item := range theDocument().root["paths"].(map[string]any) {
		ways := item.(map[string]any)["get"].(map[string]any)["security"]
		if text := fmt.Sprint(ways); text != "[]" && text != "[map[bearer:[]] map[session:[]]]" {
			t.Errorf("%s is open to %s", path, text)
		}
	}
}
