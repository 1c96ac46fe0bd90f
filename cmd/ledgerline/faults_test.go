package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/simulate"
)

// TestFaults kills each part of the line in the middle of load and lets it come back. Afterwards every answered call is an event,
// nothing counts twice, and verify books is exact. Longer outages run where LEDGERLINE_LONG is set.
func TestFaults(t *testing.T) {
	away := 5 * time.Second
	if os.Getenv("LEDGERLINE_LONG") != "" {
		away = time.Minute
	}
	for _, tt := range []struct {
		name     string
		embedded bool // needs the embedded broker
		strike   func(b *bed, parts map[string]*part)
	}{
		{name: "proxy killed", strike: func(b *bed, parts map[string]*part) {
			parts["proxy"].kill()
			parts["proxy"].run(proxyServes)
		}},
		{name: "ingest killed", strike: func(b *bed, parts map[string]*part) {
			parts["ingest"].kill()
			parts["ingest"].run("ingest")
		}},
		{name: "broker killed", embedded: true, strike: func(b *bed, parts map[string]*part) {
			syscall.Kill(b.enginePid("kafka"), syscall.SIGKILL)
		}},
		{name: "store killed", strike: func(b *bed, parts map[string]*part) {
			syscall.Kill(b.enginePid("clickhouse"), syscall.SIGKILL)
		}},
		{name: "broker away", embedded: true, strike: func(b *bed, parts map[string]*part) {
			b.freeze("kafka", away)
		}},
		{name: "store away", strike: func(b *bed, parts map[string]*part) {
			b.freeze("clickhouse", away)
		}},
		{name: "all killed at once", embedded: true, strike: func(b *bed, parts map[string]*part) {
			syscall.Kill(b.enginePid("kafka"), syscall.SIGKILL)
			syscall.Kill(b.enginePid("clickhouse"), syscall.SIGKILL)
			parts["proxy"].kill()
			parts["ingest"].kill()
			parts["proxy"].run(proxyServes)
			parts["ingest"].run("ingest")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.embedded && os.Getenv("LEDGERLINE_KAFKA") != "" {
				t.Skip("LEDGERLINE_KAFKA names an outside broker, which this test may not kill")
			}
			b := newBed(t)
			port, err := freePort()
			if err != nil {
				t.Fatal(err)
			}
			addr := fmt.Sprintf("127.0.0.1:%d", port)
			parts := map[string]*part{
				"proxy":  b.start(proxyServes, b.flags("proxy", false, "--governance", b.path("governance"), "--listen", addr, "--admin", "", "--log", "json")...),
				"ingest": b.start("ingest", b.flags("ingest", true, "--admin", "", "--log", "json")...),
			}
			answered := b.load(t, "http://"+addr, func() { tt.strike(b, parts) })
			b.books(t, parts["proxy"], answered)
		})
	}
}

// TestDiskFull fills the disk that the spool lies on, while the broker is away: new calls are refused, no answered one is lost,
// and it heals by itself.
func TestDiskFull(t *testing.T) {
	if os.Getenv("LEDGERLINE_KAFKA") != "" {
		t.Skip("LEDGERLINE_KAFKA names an outside broker, which this test may not stop")
	}
	b := newBed(t)
	disk := b.path("data/spool")
	if err := os.MkdirAll(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=24m"); err != nil {
		if strings.Contains(os.Getenv("LEDGERLINE_REQUIRE"), "disk") {
			t.Fatalf("mount a small disk: %v", err)
		}
		t.Skipf("no small disk can be mounted here (%v); LEDGERLINE_REQUIRE=disk makes this a failure", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, 0) })
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	proxy := b.start(proxyServes, b.flags("proxy", false, "--governance", b.path("governance"), "--listen", addr, "--admin", "", "--log", "json")...)
	b.start("ingest", b.flags("ingest", true, "--admin", "", "--log", "json")...)

	broker := b.enginePid("kafka")
	syscall.Kill(broker, syscall.SIGSTOP)
	thaw := sync.OnceFunc(func() { syscall.Kill(broker, syscall.SIGCONT) })
	t.Cleanup(thaw)
	var answered sync.Map
	var refused, served atomic.Int64
	call := func(ctx context.Context, n int) {
		_, err := simulate.Load(ctx, simulate.LoadOptions{
			Target: "http://" + addr, Key: b.keys["devtools"], Concurrency: 32, Requests: n,
			Calls: []simulate.Call{{Format: simulate.Chat, Model: "gpt-5-mini"}}, Headers: benchHeaders(),
			OnResult: func(r simulate.Result) {
				switch {
				case r.Answered && r.Status == 200:
					answered.Store(r.EventID, true)
					served.Add(1)
				case r.Status == 503:
					refused.Add(1)
				}
			},
		})
		if err != nil {
			t.Error(err)
		}
	}
	for range 40 {
		if call(t.Context(), 1000); refused.Load() > 0 {
			break
		}
	}
	if refused.Load() == 0 {
		t.Fatalf("%d calls on a disk of 24 MiB and none was refused", served.Load())
	}
	t.Logf("%d calls answered, then %d refused with 503", served.Load(), refused.Load())
	thaw()
	before := served.Load()
	for deadline := time.Now().Add(60 * time.Second); served.Load() == before; {
		if time.Now().After(deadline) {
			t.Fatalf("still refused a minute after the broker came back:\n%s", proxy.output())
		}
		call(t.Context(), 1)
	}
	b.books(t, proxy, &answered)
}

// TestVerifySaysWhatItDidNotSee stops the ingest before the last calls: green books, but not of all that the topic holds.
func TestVerifySaysWhatItDidNotSee(t *testing.T) {
	b := newBed(t)
	proxy := b.start(proxyServes, b.flags("proxy", false, "--governance", b.path("governance"), "--listen", "127.0.0.1:0", "--admin", "", "--log", "json")...)
	taker := b.start("ingest", b.flags("ingest", true, "--admin", "", "--log", "json")...)
	call := func() {
		t.Helper()
		r, err := simulate.Load(t.Context(), simulate.LoadOptions{
			Target: "http://" + proxy.match(proxyServes), Key: b.keys["devtools"], Requests: 10, Headers: benchHeaders(),
		})
		if err != nil || r.Answered != 10 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	argv := append([]string{"verify", "books"}, b.flags("verify", true)[1:]...)
	call()
	b.settle()
	taker.stop()
	call()
	proxy.stop()
	if out := b.command(0, argv...); !strings.Contains(out, "not taken yet") || strings.Contains(out, "messages in the topic") {
		t.Errorf("with messages left in the topic it says\n%s", out)
	}
	taker.run("ingest")
	b.settle()
	if out := b.command(0, argv...); strings.Contains(out, "not taken yet") {
		t.Errorf("with everything taken it says\n%s", out)
	}
}

// load calls through the proxy for some seconds, strikes in the middle, and returns the ids of the answered calls.
func (b *bed) load(t *testing.T, target string, strike func()) *sync.Map {
	t.Helper()
	var answered sync.Map
	var count atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_, err := simulate.Load(ctx, simulate.LoadOptions{
				Target: target, Key: b.keys["devtools"], Concurrency: 16, Requests: 4000, Timeout: 20 * time.Second,
				Calls: []simulate.Call{
					{Format: simulate.Chat, Model: "gpt-5-mini"},
					{Format: simulate.Chat, Model: "gpt-5-mini", Stream: true},
					{Format: simulate.Messages, Model: "claude-haiku-5-5", Stream: true},
					{Format: simulate.Chat, Model: "gpt-5.4", Stream: true, LeaveAfter: 200},
				},
				Headers: func(i int, head []byte) []byte {
					head = simulate.AppendHeader(head, "Ledger-Use-Case", "code-assistant")
					if i%7 == 0 {
						head = simulate.AppendHeader(head, "Simulate-Fault", "status=500")
					}
					return simulate.AppendHeader(head, "Simulate-Latency", "first=2ms,chunk=1ms")
				},
				OnResult: func(r simulate.Result) {
					if r.Answered && r.EventID != "" {
						answered.Store(r.EventID, true)
						count.Add(1)
					}
				},
			})
			if err != nil {
				t.Error(err)
			}
		}
	}()
	reach := func(n int64) {
		t.Helper()
		for deadline := time.Now().Add(90 * time.Second); count.Load() < n; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d calls answered after 90 s, want %d", count.Load(), n)
			}
		}
	}
	reach(1500)
	strike()
	reach(count.Load() + 1500)
	stop()
	<-ended
	return &answered
}

// books stops the proxy and compares: answered calls, events, duplicates, the verdict.
func (b *bed) books(t *testing.T, proxy *part, answered *sync.Map) {
	t.Helper()
	proxy.stop()
	b.settle()
	rows, err := b.db.Query(t.Context(), "SELECT toString(event_id), count() FROM requests FINAL GROUP BY event_id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	events := map[string]uint64{}
	twice := 0
	for rows.Next() {
		var id string
		var n uint64
		if err := rows.Scan(&id, &n); err != nil {
			t.Fatal(err)
		}
		if events[id] = n; n != 1 {
			twice++
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	calls, lost := 0, 0
	answered.Range(func(id, _ any) bool {
		calls++
		if events[id.(string)] == 0 {
			lost++
		}
		return true
	})
	var recovered uint64
	if err := b.db.QueryRow(t.Context(), "SELECT countIf(type = 'llm.request.recovered') FROM requests FINAL").Scan(&recovered); err != nil {
		t.Fatal(err)
	}
	t.Logf("answered calls %d, events %d (recovered %d), answered without event %d, counted twice %d", calls, len(events), recovered, lost, twice)
	if lost > 0 || twice > 0 {
		t.Errorf("%d answered calls have no event, %d count twice", lost, twice)
	}
	b.verify()
}

// freeze stops an engine without its connections noticing, as a network that drops everything does.
func (b *bed) freeze(name string, d time.Duration) {
	pid := b.enginePid(name)
	syscall.Kill(pid, syscall.SIGSTOP)
	defer syscall.Kill(pid, syscall.SIGCONT)
	select {
	case <-time.After(d):
	case <-b.t.Context().Done():
	}
}
