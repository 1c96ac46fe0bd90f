// Package embeddedtest gives tests real engines. One embedded store and one embedded broker per test binary, started at the first
// use and ended with the binary; or outside ones named by the environment:
//
//	LEDGERLINE_CLICKHOUSE  clickhouse://user:password@host:port (native protocol; ?http=PORT if that is not 8123) of a server
//	                       whose user may create databases
//	LEDGERLINE_KAFKA       host:port[,host:port] of brokers without authentication
package embeddedtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/embedded"
)

// ClickHouseTarget is a store and a fresh, empty database of it. Plain text, so that every package can make its own client of it.
type ClickHouseTarget struct {
	Addr     string // host:port, native protocol
	HTTPAddr string // host:port
	User     string
	Password string
	Database string
}

// KafkaTarget is a broker. Topics are the caller's: use names that no other test uses, e.g. with Name.
type KafkaTarget struct {
	Brokers   []string // host:port
	Mechanism string   // SASL mechanism, e.g. "scram-sha-512"; empty: no authentication
	User      string
	Password  string
}

// memoryLimit of the shared store, in bytes: several test binaries run at once.
const memoryLimit = 2 << 30

var clickhouse = sync.OnceValues(func() (*embedded.ClickHouse, error) {
	command, dir, err := prepare("clickhouse")
	if err != nil {
		return nil, err
	}
	return embedded.StartClickHouse(context.Background(), embedded.ClickHouseOptions{
		Dir: dir, MemoryLimit: memoryLimit, Logger: slog.New(slog.DiscardHandler), Command: command, RemoveDir: true,
	})
})

var kafka = sync.OnceValues(func() (*embedded.Kafka, error) {
	command, dir, err := prepare("kafka")
	if err != nil {
		return nil, err
	}
	return embedded.StartKafka(context.Background(), embedded.KafkaOptions{
		Dir: dir, Logger: slog.New(slog.DiscardHandler), Command: command, RemoveDir: true,
	})
})

// prepare builds the child's program and makes a folder that the child removes when it ends.
func prepare(engine string) (command []string, dir string, err error) {
	if command, err = Command(); err != nil {
		return nil, "", err
	}
	sweep()
	if dir, err = os.MkdirTemp("", "ledgerline-test-"+engine+"-"); err != nil {
		return nil, "", fmt.Errorf("make a folder for %s: %w", engine, err)
	}
	return command, dir, nil
}

// sweep removes the folders of engines that were killed before they could remove their own: nobody holds their locks, and they are
// old, since nobody holds the locks of an engine that is just being started by another test binary either.
func sweep() {
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), "ledgerline-test-*"))
	for _, folder := range folders {
		info, err := os.Stat(folder)
		if err != nil || time.Since(info.ModTime()) < time.Hour {
			continue
		}
		child, err := os.Open(filepath.Join(folder, "child.lock"))
		if err != nil {
			continue
		}
		owner, err := os.Open(filepath.Join(folder, "owner.lock"))
		if err == nil && free(owner) && free(child) {
			os.RemoveAll(folder)
		}
		child.Close()
		owner.Close()
	}
}

func free(lock *os.File) bool {
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// ClickHouse returns the test binary's store with a new database (ENGINE = Atomic), which is dropped when the test ends.
func ClickHouse(t testing.TB) ClickHouseTarget {
	t.Helper()
	target := ClickHouseTarget{Database: Name("test")}
	if outside := os.Getenv("LEDGERLINE_CLICKHOUSE"); outside != "" {
		address, err := url.Parse(outside)
		if err != nil || address.Host == "" {
			t.Fatalf("LEDGERLINE_CLICKHOUSE is not like clickhouse://user:password@host:port")
		}
		target.Addr, target.User = address.Host, address.User.Username()
		target.Password, _ = address.User.Password()
		target.HTTPAddr = net.JoinHostPort(address.Hostname(), cmp.Or(address.Query().Get("http"), "8123"))
	} else {
		store, err := clickhouse()
		if err != nil {
			t.Fatalf("start the embedded store: %v", err)
		}
		target.Addr, target.HTTPAddr, target.User, target.Password = store.Addr(), store.HTTPAddr(), store.User(), store.Password()
	}
	if err := execute(target, "CREATE DATABASE "+target.Database+" ENGINE = Atomic"); err != nil {
		t.Fatalf("create a database: %v", err)
	}
	t.Cleanup(func() {
		if err := execute(target, "DROP DATABASE "+target.Database+" SYNC"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return target
}

// execute runs one statement over HTTP.
// execute sends a statement. An engine that was killed, as tests do, is back within a second: a refused connection is tried again.
func execute(target ClickHouseTarget, statement string) error {
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		err := executeOnce(target, statement)
		if !errors.Is(err, syscall.ECONNREFUSED) || time.Since(began) > 10*time.Second {
			return err
		}
	}
}

func executeOnce(target ClickHouseTarget, statement string) error {
	request, err := http.NewRequest(http.MethodPost, "http://"+target.HTTPAddr+"/", strings.NewReader(statement))
	if err != nil {
		return err
	}
	request.SetBasicAuth(target.User, target.Password)
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return fmt.Errorf("%s: %s", response.Status, answer)
	}
	return nil
}

// Kafka returns the test binary's broker.
func Kafka(t testing.TB) KafkaTarget {
	t.Helper()
	if outside := os.Getenv("LEDGERLINE_KAFKA"); outside != "" {
		return KafkaTarget{Brokers: strings.Split(outside, ",")}
	}
	broker, err := kafka()
	if err != nil {
		t.Fatalf("start the embedded broker: %v", err)
	}
	return KafkaTarget{Brokers: broker.Brokers(), Mechanism: broker.Mechanism(), User: broker.User(), Password: broker.Password()}
}

// Name returns a name that nobody else uses: prefix, underscore, lower-case letters and digits.
func Name(prefix string) string { return prefix + "_" + strings.ToLower(rand.Text()[:16]) }

// Command returns the program that runs an engine's child for tests, built without the race detector: for tests that start
// engines of their own, to kill them. It is built once per checkout and kept in the cache folder.
var Command = sync.OnceValues(func() ([]string, error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("find the module's folder: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find the user's cache folder: %w", err)
	}
	hash := sha256.Sum256(root)
	program := filepath.Join(cache, "ledgerline", "engined-"+hex.EncodeToString(hash[:6]))
	release, err := embedded.Lock(program + ".lock")
	if err != nil {
		return nil, err
	}
	defer release()
	build := exec.Command("go", "build", "-race=false", "-o", program, "github.com/ledgerline/ledgerline/internal/embedded/engined")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the engines' program: %w: %s", err, output)
	}
	return []string{program}, nil
})
