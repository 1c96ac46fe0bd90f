package retention

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/ledgerline/ledgerline/internal/embedded/embeddedtest"
)

// bucket is a new bucket of the store that LEDGERLINE_S3 names, http://access:secret@host:port, seen through a proxy that a test can
// break.
func bucket(t *testing.T, prefix string) (b *Bucket, proxy *http.HandlerFunc) {
	t.Helper()
	store, err := url.Parse(os.Getenv("LEDGERLINE_S3"))
	if os.Getenv("LEDGERLINE_S3") == "" {
		if strings.Contains(os.Getenv("LEDGERLINE_REQUIRE"), "s3") {
			t.Fatal("LEDGERLINE_REQUIRE asks for an S3 store, LEDGERLINE_S3 names none")
		}
		t.Skip("LEDGERLINE_S3 names no S3 store (http://access:secret@host:port); LEDGERLINE_REQUIRE=s3 makes this a failure")
	}
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := store.User.Password()
	t.Setenv("AWS_ACCESS_KEY_ID", store.User.Username())
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	through := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = store.Scheme, store.Host // the host's name is signed: it stays
	}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }}
	handler := http.HandlerFunc(through.ServeHTTP)
	proxy = &handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*proxy)(w, r) }))
	t.Cleanup(server.Close)
	name := strings.ReplaceAll(embeddedtest.Name("exports"), "_", "-")
	b, err = OpenBucket(BucketConfig{Name: name, Prefix: prefix, Endpoint: server.URL, Scratch: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.client.MakeBucket(t.Context(), name, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return b, proxy
}

// objects is every object by its name.
func objects(t *testing.T, o Objects) map[string]string {
	t.Helper()
	names, err := o.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, name := range names {
		file, err := o.Get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(text)
	}
	return out
}

// What a folder does and what a bucket does is the same.
func TestObjects(t *testing.T) {
	for name, open := range map[string]func(*testing.T) Objects{
		"folder": func(t *testing.T) Objects {
			folder, err := OpenFolder(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { folder.Close() })
			return folder
		},
		"bucket": func(t *testing.T) Objects { b, _ := bucket(t, "a/b"); return b },
	} {
		t.Run(name, func(t *testing.T) {
			o := open(t)
			scratch := t.TempDir()
			put := func(name, text string, once bool) error {
				file, err := os.CreateTemp(scratch, "")
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				if _, err := file.WriteString(text); err != nil {
					t.Fatal(err)
				}
				return o.Put(t.Context(), name, file, once)
			}
			if _, err := o.Get(t.Context(), "x/none"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("an object that is not there: %v", err)
			}
			if got, err := o.List(t.Context(), "x/"); len(got) > 0 || err != nil {
				t.Errorf("listed %v, %v", got, err)
			}
			if err := errors.Join(put("x/y=1/one", "1", false), put("x/y=1/one", "2", false), put("x/y=2/two", "", true), put("z/three", "3", true)); err != nil {
				t.Fatal(err)
			}
			if err := put("z/three", "4", true); !errors.Is(err, fs.ErrExist) {
				t.Errorf("put once more: %v", err)
			}
			if got := objects(t, o); !maps.Equal(got, map[string]string{"x/y=1/one": "2", "x/y=2/two": "", "z/three": "3"}) {
				t.Errorf("holds %v", got)
			}
			if got, err := o.List(t.Context(), "x/y=1"); !slices.Equal(got, []string{"x/y=1/one"}) || err != nil {
				t.Errorf("listed %v, %v", got, err)
			}
		})
	}
}

// A bucket holds the same bytes as a folder, also when the store was away or an upload broke off.
func TestBucket(t *testing.T) {
	b := newBed(t)
	b.twoDays(300)
	b.export(b.options(b.dir))
	want := files(t, b.dir)

	target, proxy := bucket(t, "books")
	o := b.options(t.TempDir())
	o.Target, o.Objects = "s3://books", target
	up := *proxy
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int32
	*proxy = func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 2 {
			cancel() // the second try is enough
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if _, err := Export(ctx, b.db, o); err == nil {
		t.Fatal("no error while the store is away")
	}
	// Uploads of charges break off in the middle.
	*proxy = func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/charges/") {
			io.CopyN(io.Discard, r.Body, r.ContentLength/2)
			panic(http.ErrAbortHandler)
		}
		up(w, r)
	}
	if _, err := Export(t.Context(), b.db, o); err == nil {
		t.Fatal("no error of an upload that broke off")
	}
	*proxy = up
	for name := range objects(t, target) {
		if !strings.HasPrefix(name, "requests/") {
			t.Errorf("%s is there after an upload that broke off", name)
		}
	}
	if got := states(b.export(o)); !slices.Equal(got, []string{"11-16 sealed 0", "11-17 sealed 0"}) {
		t.Fatalf("%v", got)
	}
	if got := objects(t, target); !maps.Equal(got, want) {
		t.Error("the bucket does not hold what the folder does")
	}
	v, err := Verify(t.Context(), b.db, VerifyOptions{Open: func(name string) (Objects, bool, func() error, error) {
		if name == "s3://books" {
			return target, false, nil, nil
		}
		folder, err := OpenFolder(name)
		return folder, false, nil, err
	}})
	if err != nil || !v.OK() || v.Days != 4 {
		t.Errorf("%+v, %v", v, err)
	}
	if left, _ := filepath.Glob(filepath.Join(target.scratch, "*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
