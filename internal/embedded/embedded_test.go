package embedded_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/embedded"
	"github.com/ledgerline/ledgerline/internal/embedded/embeddedtest"
)

var quiet = slog.New(slog.DiscardHandler)

// TestMain lets this binary be the parent process that TestParentKilled kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("EMBEDDED_TEST_PARENT"); dir != "" {
		parent(dir)
	}
	os.Exit(m.Run())
}

func child(t *testing.T) []string {
	t.Helper()
	command, err := embeddedtest.Command()
	if err != nil {
		t.Fatal(err)
	}
	return command
}

func startClickHouse(t *testing.T, dir string) *embedded.ClickHouse {
	t.Helper()
	store, err := embedded.StartClickHouse(t.Context(), embedded.ClickHouseOptions{Dir: dir, MemoryLimit: 2 << 30, Logger: quiet, Command: child(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// query runs one statement over HTTP.
func query(addr, user, password, statement string) (answer string, err error) {
	request, err := http.NewRequest(http.MethodPost, "http://"+addr+"/", strings.NewReader(statement))
	if err != nil {
		return "", err
	}
	if user != "" {
		request.SetBasicAuth(user, password)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return strings.TrimSpace(string(body)), err
}

func must(t *testing.T, store *embedded.ClickHouse, statement string) string {
	t.Helper()
	answer, err := query(store.HTTPAddr(), store.User(), store.Password(), statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return answer
}

// eventually repeats statement until it works: for the moment in which the store is being started again.
func eventually(t *testing.T, store *embedded.ClickHouse, statement string) string {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		answer, err := query(store.HTTPAddr(), store.User(), store.Password(), statement)
		if err == nil {
			return answer
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// A store that is killed comes back by itself, on the same address, with every acknowledged row.
func TestClickHouseKilledComesBack(t *testing.T) {
	store := startClickHouse(t, t.TempDir())
	must(t, store, "CREATE TABLE ledgerline.t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
	inserted, restarts := 0, 0
	for range 3 {
		for range 10 {
			must(t, store, fmt.Sprintf("INSERT INTO ledgerline.t SELECT number, 'x' FROM numbers(%d, 1000)", inserted))
			inserted += 1000
		}
		if err := syscall.Kill(store.Pid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		restarts++
		got := eventually(t, store, "SELECT count(), uniqExact(a), max(a) FROM ledgerline.t")
		if want := fmt.Sprintf("%d\t%d\t%d", inserted, inserted, inserted-1); got != want {
			t.Fatalf("after kill %d the table has %s, want %s", restarts, got, want)
		}
		for store.Restarts() < restarts { // the store answers a moment before its watcher has counted
			time.Sleep(time.Millisecond)
		}
	}
	if store.Err() != nil {
		t.Fatalf("a store that came back says %v", store.Err())
	}
}

// After a Close and a start everything is as before: rows, addresses, credentials; and every file is the owner's alone.
func TestClickHouseKeepsItsFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	var log bytes.Buffer
	store, err := embedded.StartClickHouse(t.Context(), embedded.ClickHouseOptions{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil)), Command: child(t)})
	if err != nil {
		t.Fatal(err)
	}
	must(t, store, "CREATE TABLE ledgerline.t (a UInt64) ENGINE = MergeTree ORDER BY a")
	must(t, store, "INSERT INTO ledgerline.t VALUES (7)")
	if engine := must(t, store, "SELECT engine FROM system.databases WHERE name = 'ledgerline'"); engine != "Atomic" {
		t.Errorf("the database's engine is %s, want Atomic", engine)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-store.Done():
	default:
		t.Fatal("Done is open after Close")
	}
	if store.Err() != nil {
		t.Fatalf("a closed store says %v", store.Err())
	}
	if strings.Contains(log.String(), "cleanly") {
		t.Errorf("the store ended badly: %s", &log)
	}
	again := startClickHouse(t, dir)
	if again.Addr() != store.Addr() || again.HTTPAddr() != store.HTTPAddr() || again.Password() != store.Password() {
		t.Error("address or credentials changed with a restart")
	}
	if got := must(t, again, "SELECT a FROM ledgerline.t"); got != "7" {
		t.Errorf("the row is %q after a restart, want 7", got)
	}
	private(t, dir)
}

// private fails for whatever in dir others may read.
func private(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // merges remove files meanwhile
		}
		if info, err := entry.Info(); err == nil && info.Mode().Perm()&0o077 != 0 && info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The store takes its own credentials only, and the user `default`, which ClickHouse forces on us, can read and write nothing.
func TestClickHouseIsClosedToOthers(t *testing.T) {
	store := startClickHouse(t, t.TempDir())
	must(t, store, "CREATE TABLE ledgerline.secret (a UInt64) ENGINE = MergeTree ORDER BY a")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	statements := []string{
		"SELECT * FROM ledgerline.secret", "INSERT INTO ledgerline.secret VALUES (1)", "DROP DATABASE ledgerline", "SELECT * FROM system.tables",
		"SELECT * FROM file('" + secret + "', 'LineAsString')", "INSERT INTO FUNCTION file('" + secret + ".out', 'CSV', 'a Int') VALUES (1)",
		"SELECT * FROM url('http://" + store.HTTPAddr() + "/', 'CSV', 'a Int')", "SYSTEM STOP LISTEN TCP", "SYSTEM STOP LISTEN HTTP",
		"CREATE TABLE ledgerline.x (a Int) ENGINE = Memory", "SYSTEM SHUTDOWN", "CREATE USER x", "SELECT 1 FROM numbers(1)",
	}
	for _, user := range []string{"", "default"} {
		for _, statement := range statements {
			if answer, err := query(store.HTTPAddr(), user, "", statement); err == nil {
				t.Errorf("user %q without a password could %q: %q", user, statement, answer)
			}
		}
	}
	if got, want := must(t, store, "SHOW GRANTS FOR default"), "GRANT CREATE TEMPORARY TABLE, SYSTEM LISTEN ON *.* TO default\nGRANT READ ON FILE TO default"; got != want {
		t.Errorf("the user default may %q, want %q", got, want)
	}
	if _, err := query(store.HTTPAddr(), store.User(), "wrong", "SELECT 1"); err == nil || !strings.Contains(err.Error(), "AUTHENTICATION_FAILED") {
		t.Errorf("a wrong password over HTTP: %v", err)
	}
	if text := nativeHello(t, store.Addr(), store.User(), store.Password()); strings.Contains(text, "Exception") {
		t.Errorf("the right password over TCP got %q", text)
	}
	for _, user := range []string{store.User(), "nobody"} {
		if text := nativeHello(t, store.Addr(), user, "wrong"); !strings.Contains(text, "Authentication failed") {
			t.Errorf("user %s with a wrong password over TCP got %q", user, text)
		}
		// ClickHouse's local mode aborts after that (see runLibrary); the store is back in a moment.
		eventually(t, store, "SELECT * FROM ledgerline.secret")
	}
}

// The memory limit is the engine's, not a hint.
func TestClickHouseMemoryLimit(t *testing.T) {
	store, err := embedded.StartClickHouse(t.Context(), embedded.ClickHouseOptions{Dir: t.TempDir(), MemoryLimit: 700 << 20, Logger: quiet, Command: child(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	_, err = query(store.HTTPAddr(), store.User(), store.Password(), "SELECT length(groupArray(number)) FROM numbers(200000000)")
	if err == nil || !strings.Contains(err.Error(), "MEMORY_LIMIT_EXCEEDED") {
		t.Fatalf("an array of 1.6 GB within 700 MB: %v", err)
	}
}

// With the small pools that the configuration sets, mutations and merges of whole partitions still end.
func TestClickHouseMutationsEnd(t *testing.T) {
	store := startClickHouse(t, t.TempDir())
	must(t, store, "CREATE TABLE ledgerline.t (a UInt64, v UInt64) ENGINE = ReplacingMergeTree(v) ORDER BY a")
	for v := range 5 {
		must(t, store, fmt.Sprintf("INSERT INTO ledgerline.t SELECT number, %d FROM numbers(1000)", v))
	}
	must(t, store, "ALTER TABLE ledgerline.t DELETE WHERE a >= 500 SETTINGS mutations_sync = 1")
	must(t, store, "OPTIMIZE TABLE ledgerline.t FINAL")
	if got := must(t, store, "SELECT count(), min(v) FROM ledgerline.t"); got != "500\t4" {
		t.Fatalf("the table has %s, want 500 rows of version 4", got)
	}
}

// A second process gets one clear line; the first one is unharmed.
func TestFolderInUse(t *testing.T) {
	dir := t.TempDir()
	store := startClickHouse(t, filepath.Join(dir, "store"))
	broker, err := embedded.StartKafka(t.Context(), embedded.KafkaOptions{Dir: filepath.Join(dir, "log"), Logger: quiet, Command: child(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	_, storeErr := embedded.StartClickHouse(t.Context(), embedded.ClickHouseOptions{Dir: filepath.Join(dir, "store"), Logger: quiet, Command: child(t)})
	_, brokerErr := embedded.StartKafka(t.Context(), embedded.KafkaOptions{Dir: filepath.Join(dir, "log"), Logger: quiet, Command: child(t)})
	for name, err := range map[string]error{"store": storeErr, "log": brokerErr} {
		want := fmt.Sprintf("data folder %s is in use by another ledgerline (pid %d)", filepath.Join(dir, name), os.Getpid())
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	must(t, store, "SELECT 1")
}

// A child that cannot start is an error that says what the child said; the folder is free again.
func TestChildThatDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(t.TempDir(), "engine")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho cannot do this >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := embedded.StartKafka(t.Context(), embedded.KafkaOptions{Dir: dir, Logger: quiet, Command: []string{broken}})
	if err == nil || !strings.Contains(err.Error(), "cannot do this") {
		t.Fatalf("got %v, want what the child said", err)
	}
	broker, err := embedded.StartKafka(t.Context(), embedded.KafkaOptions{Dir: dir, Logger: quiet, Command: child(t)})
	if err != nil {
		t.Fatal(err)
	}
	broker.Close()
}

// An engine that cannot be brought back is given up, with the reason, so that its user ends instead of limping on.
func TestEngineGivenUp(t *testing.T) {
	real := child(t)[0]
	program := filepath.Join(t.TempDir(), "engine")
	if err := os.Symlink(real, program); err != nil {
		t.Fatal(err)
	}
	broker, err := embedded.StartKafka(t.Context(), embedded.KafkaOptions{Dir: t.TempDir(), Logger: quiet, Command: []string{program}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(broker.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-broker.Done():
	case <-time.After(time.Minute):
		t.Fatal("the engine was not given up")
	}
	if err := broker.Err(); err == nil || !strings.Contains(err.Error(), "given up") {
		t.Fatalf("Err is %v", err)
	}
}

// parent starts both engines, says where they are, and waits to be killed.
func parent(dir string) {
	command := []string{os.Getenv("EMBEDDED_TEST_CHILD")}
	store, err := embedded.StartClickHouse(context.Background(), embedded.ClickHouseOptions{Dir: filepath.Join(dir, "store"), Logger: quiet, Command: command})
	if err == nil {
		var broker *embedded.Kafka
		if broker, err = embedded.StartKafka(context.Background(), embedded.KafkaOptions{Dir: filepath.Join(dir, "log"), Logger: quiet, Command: command}); err == nil {
			fmt.Println(store.Pid(), broker.Pid())
			select {}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// Killing the parent with -9 ends both children, and the next start on the same folders works at once.
func TestParentKilled(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(self)
	command.Env = append(os.Environ(), "EMBEDDED_TEST_PARENT="+dir, "EMBEDDED_TEST_CHILD="+child(t)[0])
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	var store, broker int
	if _, err := fmt.Fscan(output, &store, &broker); err != nil {
		t.Fatalf("the parent did not start: %v", err)
	}
	command.Process.Kill()
	command.Wait()

	began := time.Now()
	again := startClickHouse(t, filepath.Join(dir, "store"))
	took := time.Since(began)
	must(t, again, "SELECT 1")
	if again.Pid() == store {
		t.Fatal("the old child is still there")
	}
	for _, pid := range []int{store, broker} {
		for deadline := time.Now().Add(20 * time.Second); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("child %d outlived its parent", pid)
			}
		}
	}
	t.Logf("the store was up again %s after its parent's death", took.Round(time.Millisecond))
}

// Ctrl-C and a stop of the service reach the children too: they stay until their parent lets them go.
func TestChildIgnoresTheTerminal(t *testing.T) {
	store := startClickHouse(t, t.TempDir())
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(store.Pid(), signal); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		must(t, store, "SELECT sleep(0.01)")
	}
	if store.Restarts() != 0 {
		t.Fatal("a signal ended the child")
	}
}

// The broker keeps address, credentials and files over a Close.
func TestKafkaKeepsItsFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	options := embedded.KafkaOptions{Dir: dir, Logger: quiet, Command: child(t)}
	broker, err := embedded.StartKafka(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if err := broker.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := embedded.StartKafka(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Brokers()[0] != broker.Brokers()[0] || again.Password() != broker.Password() {
		t.Error("address or credentials changed with a restart")
	}
	private(t, dir)
}
