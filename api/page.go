package api

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// Pages are what a browser is shown. A page is a view of answers of the API: it asks the API in process, under the key of the session, so
// that scopes, limits, metrics and the record of who read what are the same for both, and a figure on a page is the figure of the API.
// They need no script, and nothing from elsewhere.

// pages are the routes of pages; the first that a key may see is where a login leads.
func pages() []route {
	return []route{
		{"/showback", []Scope{Finance}, (*server).showbackPage, false},
		{"/requests", []Scope{Finance, Compliance}, (*server).requestsPage, false},
		{"/requests/:id", []Scope{Compliance}, (*server).requestPage, true},
	}
}

// pagePolicy lets a page have our style sheet and icon, and send forms to us.
const pagePolicy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

//go:embed pages
var pageFiles embed.FS

var templates = parseTemplates()

// parseTemplates is one set per page: its own file in the frame that all share.
func parseTemplates() map[string]*template.Template {
	functions := template.FuncMap{"asset": asset, "money": moneyText, "thousands": thousands, "words": words, "micros": micros, "evidence": func(name string) string { return cmp.Or(evidences[name], name) }, "title": dimensionTitle, "zones": func() []string { return zones }}
	sets := map[string]*template.Template{}
	files, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil {
		panic(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".html")
		sets[name] = template.Must(template.New("frame.html").Funcs(functions).ParseFS(pageFiles, "pages/frame.html", file))
	}
	return sets
}

// zones are some names that the field for a time zone proposes; it takes every other.
var zones = strings.Fields("UTC Europe/London Europe/Zurich Europe/Berlin Europe/Paris America/New_York America/Chicago America/Los_Angeles America/Sao_Paulo Asia/Dubai Asia/Kolkata Asia/Singapore Asia/Tokyo Australia/Sydney")

// asset is where a file of pages/ is served; the address changes with the file, so that browsers may keep it.
func asset(name string) (string, error) {
	text, err := pageFiles.ReadFile("pages/" + name)
	sum := sha256.Sum256(text)
	return "/assets/" + name + "?v=" + hex.EncodeToString(sum[:6]), err
}

// page is what every page has.
type page struct {
	Title string
	Key   *Key   // of the session; nil: none
	Token string // of the form to log out
	Tabs  []tab
}

// tab is a page that the key may see.
type tab struct {
	Path, Name string
	Here       bool
}

func (s *server) page(c echo.Context, title string) page {
	v := page{Title: title, Token: s.sessions.token(cookie(c))}
	key, ok := c.Get("key").(Key)
	if !ok {
		return v
	}
	v.Key = &key
	for _, t := range []tab{{"/showback", "Showback", false}, {"/requests", "Requests", false}} {
		if maySee(key, t.Path) {
			t.Here = strings.HasPrefix(c.Path(), t.Path)
			v.Tabs = append(v.Tabs, t)
		}
	}
	return v
}

// maySee reports whether a key may see the page of a route.
func maySee(key Key, path string) bool {
	return slices.ContainsFunc(pages(), func(r route) bool { return r.path == path && slices.ContainsFunc(r.scopes, key.Has) })
}

// home is the first page that a key may see; empty when there is none.
func home(key Key) string {
	for _, r := range pages() {
		if maySee(key, r.path) {
			return r.path
		}
	}
	return ""
}

// addPages registers the pages and what belongs to them.
func (s *server) addPages(e *echo.Echo) {
	e.GET("/", s.index, asPage)
	e.GET("/login", s.loginForm, asPage)
	e.POST("/login", s.login, asPage)
	e.POST("/logout", s.logout, asPage)
	e.GET("/assets/:name", serveAsset)
	for _, r := range pages() {
		e.GET(r.path, func(c echo.Context) error { return r.handler(s, c) }, asPage, s.enter(r))
	}
}

// asPage gives an answer the policy of pages; its errors become pages too.
func asPage(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Set("page", true)
		h := c.Response().Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		return next(c)
	}
}

// enter lets sessions in whose key has one of the page's scopes; others are led to the login and back.
func (s *server) enter(r route) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			key, ok := s.sessions.find(cookie(c))
			if !ok {
				return s.leadToLogin(c)
			}
			c.Set("key", key)
			if !maySee(key, r.path) && !r.audited { // what is audited the API refuses, and records that
				return problem(http.StatusForbidden, "scope_missing", fmt.Sprintf("this page needs a key of scope %v; yours has %s", r.scopes, key.Scope))
			}
			return next(c)
		}
	}
}

// leadToLogin shows the login, unless the visitor came by a link from elsewhere, as from an alert: then the browser has kept its cookie
// back (SameSite=Strict), and asks again by itself, which it does as from here.
func (s *server) leadToLogin(c echo.Context) error {
	r := c.Request()
	if cookie(c) == "" && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		return s.render(c, http.StatusOK, "again", struct {
			page
			URL string
		}{page{Title: "One moment"}, r.URL.RequestURI()})
	}
	return c.Redirect(http.StatusSeeOther, "/login?"+url.Values{"next": {r.URL.RequestURI()}}.Encode())
}

func (s *server) index(c echo.Context) error {
	key, ok := s.sessions.find(cookie(c))
	if !ok {
		return s.leadToLogin(c)
	}
	if home(key) == "" { // its scope has changed
		return problem(http.StatusForbidden, "scope_missing", fmt.Sprintf("a key of scope %s opens no page", key.Scope))
	}
	return c.Redirect(http.StatusSeeOther, home(key))
}

func serveAsset(c echo.Context) error {
	name := c.Param("name")
	kind := mime.TypeByExtension(path.Ext(name))
	text, err := pageFiles.ReadFile("pages/" + name)
	if err != nil || path.Ext(name) == ".html" {
		return echo.ErrNotFound
	}
	c.Response().Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	return c.Blob(http.StatusOK, kind, text)
}

// render writes a page, whole or not at all.
func (s *server) render(c echo.Context, status int, name string, data any) error {
	var b bytes.Buffer
	if err := templates[name].Execute(&b, data); err != nil {
		return fmt.Errorf("render the page %s: %w", name, err)
	}
	return c.HTMLBlob(status, b.Bytes())
}

// failPage shows a problem as a page that says what to do.
func (s *server) failPage(c echo.Context, p *Problem) error {
	return s.render(c, p.Status, "error", struct {
		page
		Problem   *Problem
		RequestID string
	}{s.page(c, p.Title), p, c.Response().Header().Get("X-Request-Id")})
}

// answer is an answer of the API to a page.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// ask has the API answer GET path, and decodes its JSON. What the API refuses is the error, a *Problem.
func (s *server) ask(c echo.Context, path string, query url.Values, into any) error {
	request := c.Request().Clone(c.Request().Context())
	request.URL = &url.URL{Path: path, RawQuery: query.Encode()}
	request.Header = http.Header{"Cookie": request.Header["Cookie"]} // the session, nothing else
	a := &answer{header: http.Header{}, status: http.StatusOK}
	s.handler.ServeHTTP(a, request)
	if a.status != http.StatusOK {
		p := new(Problem)
		if err := json.Unmarshal(a.body.Bytes(), p); err != nil {
			return fmt.Errorf("read the API's refusal of %s: %w", path, err)
		}
		return fmt.Errorf("GET %s, request_id %s: %w", path, a.header.Get("X-Request-Id"), p)
	}
	if err := json.Unmarshal(a.body.Bytes(), into); err != nil {
		return fmt.Errorf("read the API's answer to %s: %w", path, err)
	}
	return nil
}

// mistake is a refusal of what the visitor asked for, which a page shows beside its form; nil of any other error.
func mistake(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) && p.Status == http.StatusBadRequest {
		return p
	}
	return nil
}

// completeness says in words through when figures are complete.
type completeness struct {
	AsOf string
	At   time.Time // zero: nothing is complete
	Age  string
}

func (s *server) completeness(at stamp, zone *time.Location) (completeness, error) {
	done := completeness{AsOf: at.AsOf}
	if at.CompleteThrough == nil {
		return done, nil
	}
	t, err := time.Parse(time.RFC3339Nano, *at.CompleteThrough)
	if err != nil {
		return done, fmt.Errorf("read complete_through: %w", err)
	}
	done.At, done.Age = t.In(zone), age(s.Now().Sub(t))
	return done, nil
}
