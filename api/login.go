package api

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	sessionCookie = "ledgerline_session"
	sessionIdle   = time.Hour      // a session ends when nobody has used it for so long,
	sessionLife   = 12 * time.Hour // and so long after the login in any case
	maxSessions   = 10_000         // of one process; the one that is idle longest makes room
	maxForm       = 8 << 10        // bytes of a form
	maxFailures   = 10             // logins that fail, of one address in failureWindow
	failureWindow = time.Minute
)

// sessions are the logins of browsers. A browser holds a random id in a cookie; here is only its hash, and only in memory: the end of the
// process ends them all. A session is worth what its key is worth, and ends with it.
type sessions struct {
	keys   *Keys
	now    func() time.Time
	secret []byte // of the forms' tokens

	mu       sync.Mutex
	open     map[[sha256.Size]byte]session
	failures map[netip.Prefix]failures
}

type session struct {
	key         Key
	began, seen time.Time
}

// failures counts the logins of an address that failed since a time.
type failures struct {
	n     int
	since time.Time
}

func newSessions(keys *Keys, now func() time.Time) *sessions {
	return &sessions{keys: keys, now: now, secret: []byte(rand.Text()), open: map[[sha256.Size]byte]session{}, failures: map[netip.Prefix]failures{}}
}

// begin opens a session and returns the id for its cookie.
func (s *sessions) begin(key Key) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if len(s.open) >= maxSessions {
		var oldest [sha256.Size]byte
		at := now.Add(time.Second)
		for sum, open := range s.open {
			switch {
			case open.over(now):
				delete(s.open, sum)
			case open.seen.Before(at):
				oldest, at = sum, open.seen
			}
		}
		if len(s.open) >= maxSessions {
			delete(s.open, oldest)
		}
	}
	id := rand.Text() + rand.Text()
	s.open[sha256.Sum256([]byte(id))] = session{key, now, now}
	return id
}

func (s session) over(now time.Time) bool {
	return now.Sub(s.seen) >= sessionIdle || now.Sub(s.began) >= sessionLife
}

// find is the key of an open session, which has been used now.
func (s *sessions) find(id string) (Key, bool) {
	sum := sha256.Sum256([]byte(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	open, ok := s.open[sum]
	if !ok {
		return Key{}, false
	}
	now := s.now()
	key, ok := s.keys.standing(open.key)
	if open.over(now) || !ok {
		delete(s.open, sum)
		return Key{}, false
	}
	open.seen = now
	s.open[sum] = open
	return key, true
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sha256.Sum256([]byte(id)))
}

// token is what a form must send back along with the cookie that it was made for. Another site can make a browser send the cookie,
// but cannot know the token.
func (s *sessions) token(cookie string) string {
	mac := hmac.New(sha256.New, s.secret)
	mac.Write([]byte(cookie))
	return hex.EncodeToString(mac.Sum(nil))
}

// wait is how long an address must wait before it may try to log in; zero: not at all.
func (s *sessions) wait(address netip.Prefix) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.failures[address]
	if f.n < maxFailures {
		return 0
	}
	return max(f.since.Add(failureWindow).Sub(s.now()), 0)
}

// failed counts a login that failed.
func (s *sessions) failed(address netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if len(s.failures) >= maxSessions {
		for a, f := range s.failures {
			if now.Sub(f.since) >= failureWindow {
				delete(s.failures, a)
			}
		}
		if len(s.failures) >= maxSessions { // so many at once: rather count anew than grow
			clear(s.failures)
		}
	}
	f := s.failures[address]
	if now.Sub(f.since) >= failureWindow {
		f = failures{since: now}
	}
	f.n++
	s.failures[address] = f
}

// standing is the key as it is now, while it is the same key.
func (k *Keys) standing(key Key) (Key, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.read() // a file that cannot be read leaves the keys as they were
	now, known := k.keys[key.ID]
	return now, known && now.SHA256 == key.SHA256
}

// address is where a call comes from: an IPv4 address, or the /64 that one customer of an IPv6 provider has.
func address(r *http.Request) netip.Prefix {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	ip = ip.Unmap().WithZone("")
	prefix, _ := ip.Prefix(min(ip.BitLen(), 64))
	return prefix
}

// cookie is the id that a browser sent; empty when it sent none.
func cookie(c echo.Context) string {
	found, err := c.Cookie(sessionCookie)
	if err != nil {
		return ""
	}
	return found.Value
}

// setCookie gives the browser an id until it is closed; an empty one takes it away. It goes over TLS only where the browser came by TLS,
// to us or to what stands in front of us.
func setCookie(c echo.Context, id string) {
	set := &http.Cookie{Name: sessionCookie, Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: secure(c.Request())}
	if id == "" {
		set.MaxAge = -1
	}
	c.SetCookie(set)
}

func secure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") ||
		strings.Contains(strings.ToLower(r.Header.Get("Forwarded")), "proto=https")
}

// loginView is the form to log in.
type loginView struct {
	page
	Next    string
	Refused string // why the last try was
}

// loginForm shows the form. A browser without a cookie gets one, so that the form can have a token.
func (s *server) loginForm(c echo.Context) error {
	next := localPath(c.QueryParam("next"))
	if _, ok := s.sessions.find(cookie(c)); ok {
		return c.Redirect(http.StatusSeeOther, next)
	}
	return s.showLogin(c, http.StatusOK, next, "")
}

func (s *server) showLogin(c echo.Context, status int, next, refused string) error {
	id := cookie(c)
	if id == "" {
		id = rand.Text()
		setCookie(c, id)
	}
	return s.render(c, status, "login", loginView{page{Title: "Log in", Token: s.sessions.token(id)}, next, refused})
}

// form is the fields of a form whose token is the one of its cookie.
func (s *server) form(c echo.Context) (url.Values, error) {
	r := c.Request()
	r.Body = http.MaxBytesReader(c.Response(), r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, problem(http.StatusBadRequest, "bad_form", "this is no form of ours")
	}
	id := cookie(c)
	if id == "" || !hmac.Equal([]byte(r.PostForm.Get("token")), []byte(s.sessions.token(id))) {
		return nil, problem(http.StatusForbidden, "form_expired", "the form is no longer valid, or your browser keeps no cookies; load the page again and send it once more")
	}
	return r.PostForm, nil
}

// login opens a session for a key that may see a page. The id of the session is new: nobody can have planted it.
func (s *server) login(c echo.Context) error {
	form, err := s.form(c)
	if err != nil {
		return err
	}
	next := localPath(form.Get("next"))
	from := address(c.Request())
	if wait := s.sessions.wait(from); wait > 0 {
		c.Response().Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		return s.showLogin(c, http.StatusTooManyRequests, next, "Too many keys were refused. Wait a minute, then try again.")
	}
	key, ok := s.Keys.Find(strings.TrimSpace(form.Get("key")))
	if !ok {
		s.sessions.failed(from)
		s.Logger.Warn("api: a login was refused", "address", from.Addr())
		return s.showLogin(c, http.StatusUnauthorized, next, "No such key, or it was replaced. Make one with: ledgerline keys api --scope finance --name …")
	}
	if home(key) == "" {
		return s.showLogin(c, http.StatusForbidden, next, "A key of scope "+string(key.Scope)+" opens no page. Pages need finance, compliance or admin.")
	}
	s.sessions.end(cookie(c)) // of the login before this one, if any
	setCookie(c, s.sessions.begin(key))
	s.Logger.Info("api: logged in", "key", key.ID, "address", from.Addr())
	return c.Redirect(http.StatusSeeOther, next)
}

func (s *server) logout(c echo.Context) error {
	if _, err := s.form(c); err != nil {
		return err
	}
	s.sessions.end(cookie(c))
	setCookie(c, "")
	return c.Redirect(http.StatusSeeOther, "/login")
}

// localPath is a path of this site with its query, or "/": nobody is led elsewhere.
func localPath(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") || strings.ContainsAny(text, "\\\r\n\t") {
		return "/"
	}
	return u.RequestURI()
}
