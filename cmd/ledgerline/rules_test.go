package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// A refused folder is an event: it says where the mistakes are, not what stands there.
func TestRefusedGovernance(t *testing.T) {
	records, err := spool.Open(spool.Options{Dir: t.TempDir(), Instance: "proxy-1", Durability: spool.Write, Heartbeat: -1})
	if err != nil {
		t.Fatal(err)
	}
	r := &rules{records: records, source: "ledgerline/proxy-1", current: &governance.Snapshot{}}
	mistakes := governance.Problems{{File: "keys.yaml", Line: 3, Message: "a secret"}, {File: "keys.yaml", Line: 9, Message: "another"}}
	for _, mistake := range []error{fmt.Errorf("load: %w", mistakes), mistakes[:1], context.DeadlineExceeded} {
		if err := r.refuse(mistake); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	drained := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		drained <- records.Drain(ctx, func(_ context.Context, batch []spool.Entry) error {
			for _, entry := range batch {
				ev, err := event.Decode(bytes.Clone(entry.Bytes))
				if err != nil {
					return err
				}
				if ev.Type == event.AuditGovernance {
					got = append(got, ev.Audit.Outcome+" "+ev.Audit.Object[:4]+" "+ev.Audit.Reason)
				}
			}
			return nil
		})
	}()
	if err := records.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	<-drained
	if err := records.Close(t.Context()); err != nil {
		t.Error(err)
	}
	want := "refused 0000 keys.yaml:3 and 1 more mistake; refused 0000 keys.yaml:3; refused 0000 it could not be put in force"
	if text := strings.Join(got, "; "); text != want {
		t.Errorf("recorded %s, want %s", text, want)
	}
}
