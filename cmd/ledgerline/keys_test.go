package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/ledgerline/ledgerline/internal/simulate"
)

// keysCommands runs `ledgerline keys` on a folder.
type keysCommands struct {
	t   *testing.T
	dir string
}

// run is what a command printed: on success the standard output, which for secrets is only the secret.
func (k keysCommands) run(ok bool, argv ...string) (stdout, stderr string) {
	k.t.Helper()
	cmd := exec.Command(binary, append(append([]string{"keys"}, argv...), "--governance", k.dir)...)
	var out, notes bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &notes
	if err := cmd.Run(); (err == nil) != ok {
		k.t.Fatalf("ledgerline keys %s: %v\n%s%s", strings.Join(argv, " "), err, &out, &notes)
	}
	return strings.TrimSuffix(out.String(), "\n"), notes.String()
}

func (k keysCommands) file() string {
	k.t.Helper()
	text, err := os.ReadFile(filepath.Join(k.dir, "keys.yaml"))
	if err != nil {
		k.t.Fatal(err)
	}
	return string(text)
}

func demoKeys(t *testing.T) keysCommands {
	t.Helper()
	k := keysCommands{t, filepath.Join(t.TempDir(), "governance")}
	if _, err := writeDemoGovernance(k.dir, "http://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	return k
}

// TestKeysLifecycle follows a key through a running line: made, rotated, finished, revoked; each step counts once the proxy has read
// the file.
func TestKeysLifecycle(t *testing.T) {
	b := &bed{t: t, dir: t.TempDir(), env: os.Environ()}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go simulate.New(simulate.Options{}).Serve(t.Context(), listener)
	k := keysCommands{t, b.path("governance")}
	if _, err := writeDemoGovernance(k.dir, "http://"+listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	up := b.start("^ready;", "up", "--data", b.path("data"), "--governance", k.dir, "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0")
	proxy := up.match(`proxy +(http://\S+)`)
	followed := func() {
		t.Helper()
		up.await(`governance changed.*"to":"` + b.digest(k.dir) + `"`)
	}
	calls := func(key, model string, want int, code string) {
		t.Helper()
		c := demoCall{what: "a call", path: "/v1/chat/completions", body: `{"model":"` + model + `","messages":[]}`}
		a, err := c.send(t.Context(), proxy, key)
		if err != nil || a.status != want || !strings.HasPrefix(a.note, code) {
			t.Errorf("a call for %s was answered with %d, %v, want %d %s: %s", model, a.status, err, want, code, a.note)
		}
	}
	const model, refused = "gpt-5-mini", "ledgerline_unauthenticated"

	first, _ := k.run(true, "create", "mydesk01", "--team", "cards", "--use-case", "card-support", "--model", model, "--address", "127.0.0.0/8")
	followed()
	calls(first, model, http.StatusOK, "")
	calls(first, "gpt-5.4", http.StatusForbidden, "ledgerline_model_not_allowed")

	second, notes := k.run(true, "rotate", "mydesk01", "--overlap", "72h")
	if !strings.Contains(notes, "the old secret of key mydesk01 is good until 20") {
		t.Errorf("said %s", notes)
	}
	followed()
	calls(first, model, http.StatusOK, "")
	calls(second, model, http.StatusOK, "")

	k.run(true, "rotate", "mydesk01", "--finish")
	followed()
	calls(first, model, http.StatusUnauthorized, refused)
	calls(second, model, http.StatusOK, "")

	third, _ := k.run(true, "rotate", "mydesk01", "--overlap", "0")
	followed()
	calls(second, model, http.StatusUnauthorized, refused)
	calls(third, model, http.StatusOK, "")

	k.run(true, "rotate", "mydesk01")
	k.run(true, "revoke", "mydesk01")
	followed()
	for _, key := range []string{first, second, third} {
		calls(key, model, http.StatusUnauthorized, refused)
	}
	for _, secret := range []string{first, second, third} {
		if _, secret, _ = strings.Cut(strings.TrimPrefix(secret, "ll_"), "_"); strings.Contains(k.file()+up.output(), secret) {
			t.Error("a secret is in the file or the log")
		}
	}
	up.stop()
}

// digest is what `check` says of a folder.
func (b *bed) digest(dir string) string {
	b.t.Helper()
	_, digest, _ := strings.Cut(b.command(0, "check", "--governance", dir), "snapshot ")
	digest, _, _ = strings.Cut(digest, ",")
	return digest
}

func TestKeysCommand(t *testing.T) {
	k := demoKeys(t)
	was := k.file()
	diff, notes := k.run(true, "create", "mydesk01", "--use-case", "card-support", "--dry-run")
	if k.file() != was || strings.Contains(diff+notes, "ll_mydesk01") || !strings.HasPrefix(diff, "--- a/keys.yaml\n+++ b/keys.yaml\n@@ -") || !strings.Contains(diff, "\n+  - id: mydesk01\n") {
		t.Errorf("a dry run printed\n%s%s", diff, notes)
	}
	secret, notes := k.run(true, "create", "mydesk01", "--name", "My desk: #1", "--team", "cards", "--use-case", "card-support,card-dispute", "--address", "10.0.0.0/8", "--expires", "2999-01-01")
	if !strings.HasPrefix(secret, "ll_mydesk01_") || strings.Contains(secret, "\n") || strings.Contains(notes, secret) || !strings.HasPrefix(k.file(), was) {
		t.Errorf("printed %q, said %q, the file is\n%s", secret, notes, k.file())
	}
	second, _ := k.run(true, "rotate", "mydesk01")
	diff, _ = k.run(true, "rotate", "mydesk01", "--finish", "--dry-run")
	if lines := strings.Split(diff, "\n"); strings.Count(diff, "\n-") != 1 || !strings.Contains(diff, "\n-    previous: {sha256: ") || lines[len(lines)-1] == "" {
		t.Errorf("the difference of finishing\n%s", diff)
	}
	list, _ := k.run(true, "list")
	for _, want := range []string{"mydesk01", "My desk: #1", "2999-01-01", "2, the old one until ", "team=cards", "card-support card-dispute", "10.0.0.0/8", "oldtrial1", "disabled", "never"} {
		if !strings.Contains(list, want) {
			t.Errorf("%q is not in\n%s", want, list)
		}
	}
	asJSON, _ := k.run(true, "list", "--json")
	var keys []listedKey
	if err := json.Unmarshal([]byte(asJSON), &keys); err != nil {
		t.Fatal(err)
	}
	if last := keys[len(keys)-1]; last.ID != "mydesk01" || last.Secrets != 2 || last.State != "active" || last.Dimensions["team"] != "cards" {
		t.Errorf("the last is %+v", last)
	}
	for line := range strings.Lines(k.file()) {
		if _, hash, ok := strings.Cut(line, "sha256: "); ok && strings.Contains(list+asJSON, strings.TrimSpace(hash)) {
			t.Error("a hash is listed")
		}
	}
	if strings.Contains(list+asJSON, second) {
		t.Error("a secret is listed")
	}
	k.run(true, "revoke", "mydesk01")
	if _, notes := k.run(true, "revoke", "mydesk01"); notes != "nothing to change\n" {
		t.Errorf("said %s", notes)
	}

	was = k.file()
	for _, argv := range [][]string{
		{"create", "mydesk01", "--use-case", "card-support"}, {"create", "MyDesk", "--use-case", "card-support"}, {"create", "mydesk02"},
		{"create", "mydesk02", "--use-case", "nonsense"}, {"create", "mydesk02", "--use-case", "card-support", "--address", "10.0.0.1"},
		{"create", "mydesk02", "--use-case", "card-support", "--address", "10.0.0.1/8"}, {"create", "mydesk02", "--use-case", "card-support", "--expires", "soon"},
		{"rotate", "mydesk01"}, {"rotate", "mydesk01", "--finish", "--overlap", "1h"}, {"rotate", "devtools", "--overlap", "-1h"}, {"rotate", "devtools", "--finish"}, {"rotate", "nobody00"}, {"revoke", "nobody00"}, {"revoke"},
	} {
		if out, _ := k.run(false, argv...); out != "" || k.file() != was {
			t.Errorf("%v printed %s; the file is\n%s", argv, out, k.file())
		}
	}
	garbage := was + "keys: again\n"
	if err := os.WriteFile(filepath.Join(k.dir, "keys.yaml"), []byte(garbage), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, notes := k.run(false, "revoke", "devtools"); k.file() != garbage || !strings.Contains(notes, "keys.yaml:") {
		t.Errorf("garbage was touched, or not named: %s", notes)
	}
}

// Edits at the same time take turns: none is lost, nor anything that was there.
func TestKeysAtTheSameTime(t *testing.T) {
	k := demoKeys(t)
	was := k.file()
	const n = 8
	var group errgroup.Group
	for i := range n {
		group.Go(func() error {
			out, err := exec.Command(binary, "keys", "create", fmt.Sprintf("mydesk%02d", i), "--use-case", "card-support", "--governance", k.dir).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	list, _ := k.run(true, "list")
	if !strings.HasPrefix(k.file(), was) || strings.Count(list, "mydesk") != n {
		t.Errorf("of %d keys there are\n%s", n, list)
	}
	if left, _ := filepath.Glob(filepath.Join(k.dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
