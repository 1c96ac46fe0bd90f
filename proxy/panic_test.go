package proxy

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// A mistake that shows while an answer passes, or while it is read on for a
// client that left, ends that call alone, and the call is recorded.
func TestPanicEndsOneCall(t *testing.T) {
	for _, client := range []string{"cut", "left"} {
		t.Run(client, func(t *testing.T) {
			var armed atomic.Bool
			b := newBed(t, func(o *Options, so *spool.Options) {
				o.Now = func() time.Time {
					if armed.CompareAndSwap(true, false) {
						panic("a mistake")
					}
					return time.Now()
				}
			})
			conn := b.dial()
			defer conn.Close()
			io.WriteString(conn, b.post("/v1/chat/completions", chat(true), "Ledger-Use-Case: patient", "Simulate-Chunks: 40", "Simulate-Latency: chunk=5ms"))
			r := bufio.NewReader(conn)
			for line := ""; !strings.HasPrefix(line, "data: "); {
				var err error
				if line, err = r.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			if client == "left" {
				conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
				b.until("the answer is read on", func() bool { return len(b.server.drains) == 1 })
			}
			armed.Store(true)
			b.until("the call is recorded", func() bool { return len(b.recorded()) == 1 })
			r1 := b.only().Request
			if r1.Outcome.Client != client || r1.Outcome.Upstream != "cut" || r1.Attempts[0].Error != "protocol" || r1.Attempts[0].UsageSource != event.UsageMissing {
				t.Errorf("outcome %+v, attempts %+v", r1.Outcome, r1.Attempts)
			}
			if rest, _ := io.ReadAll(r); client == "cut" && strings.HasSuffix(string(rest), "\r\n0\r\n\r\n") {
				t.Error("the client got a well-framed end")
			}
			b.want(b.call("/v1/chat/completions", chatBody), 200)
			b.until("nothing is left in flight", func() bool { return b.server.flight.len() == 0 && len(b.server.drains) == 0 })
		})
	}
}

// The end of a server leaves no goroutine and no connection behind.
func TestShutdownLeavesNothing(t *testing.T) {
	b := newBed(t, nil)
	for range 4 {
		b.want(b.call("/v1/chat/completions", chat(true)), 200)
		b.want(b.call("/v1/messages", `{"model":"m","messages":[]}`), 200)
	}
	if err := b.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, u := range b.server.plan.Load().upstreams {
		if n := u.pool.ConnsCount(); n != 0 {
			t.Errorf("endpoint %s has %d connections", u.ID, n)
		}
	}
}
