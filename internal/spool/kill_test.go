package spool

import (
	"bufio"
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/ledgerline/ledgerline/internal/event"
)

const childDir = "LEDGERLINE_TEST_SPOOL" // set in a child that is there to be killed

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(killOptions(dir, os.Getenv("LEDGERLINE_TEST_DURABILITY")))
	}
	os.Exit(m.Run())
}

func killOptions(dir, durability string) Options {
	o := Options{Dir: dir, Instance: "proxy-1", SegmentBytes: minSegment, MaxBytes: 64 << 20}
	if durability == "write" {
		o.Durability = Write
	}
	return o
}

// child makes requests until it is killed, and says on standard output, a line
// at a time, what it did: t tried, b begun, f finished with these bytes, a
// acknowledged, p published these bytes.
func child(o Options) {
	say := func(what byte, text string) {
		os.Stdout.Write(append(append([]byte{what}, text...), '\n'))
	}
	s, err := Open(o)
	if err != nil {
		say('!', err.Error())
		os.Exit(1)
	}
	for range 4 {
		go func() {
			for {
				in, ev := sampleIntent(), bigEvent(rand.IntN(20<<10))
				ev.ID = in.ID
				say('t', in.ID.String())
				if err := s.Begin(in); err != nil {
					say('!', err.Error())
					return
				}
				say('b', in.ID.String())
				r, err := s.Finish(ev)
				if err != nil {
					say('!', err.Error())
					return
				}
				raw, _ := ev.Append(nil)
				say('f', string(raw))
				if s.Wait(r, 1<<40) == nil {
					say('a', in.ID.String())
				}
			}
		}()
	}
	s.Drain(context.Background(), func(_ context.Context, batch []Entry) error {
		for _, e := range batch {
			say('p', string(e.Bytes))
		}
		return nil
	})
}

// A real process on a real disk, killed in the middle of its work several
// times: what it said it had is there.
func TestKill(t *testing.T) {
	for _, durability := range []string{"fsync", "write"} {
		t.Run(durability, func(t *testing.T) {
			dir, h := t.TempDir(), newHistory()
			for range 6 {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), childDir+"="+dir, "LEDGERLINE_TEST_DURABILITY="+durability)
				cmd.Stderr = os.Stderr
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				lines := bufio.NewReaderSize(out, 1<<20)
				for left := 100 + rand.IntN(2000); ; left-- {
					if left == 0 {
						cmd.Process.Kill()
					}
					line, err := lines.ReadBytes('\n')
					if err != nil {
						break // what it was saying when it died, it had not yet said
					}
					h.heard(t, bytes.TrimSuffix(line, []byte("\n")))
				}
				cmd.Wait()
			}
			s, err := Open(killOptions(dir, durability))
			if err != nil {
				t.Fatal(err)
			}
			go s.Drain(t.Context(), h.publish)
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if broken := h.check(loss{outcomes: true}); broken != nil || len(h.seqs) != 7 || len(h.acked) == 0 {
				t.Fatalf("%s: %q", h, broken)
			}
			t.Logf("killed 6 times: %s", h)
		})
	}
}

func (h *history) heard(t *testing.T, line []byte) {
	what, text := line[0], line[1:]
	id := func() event.ID {
		id, err := event.ParseID(string(text))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	switch what {
	case 't':
		h.tried[id()] = true
	case 'b':
		h.begun[id()] = true
	case 'a':
		h.acked[id()] = true
	case 'f', 'p':
		ev, err := event.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		if what == 'f' {
			h.finished[ev.ID] = bytes.Clone(text)
		} else if err := h.publish(t.Context(), []Entry{{ev.ID, text}}); err != nil {
			t.Fatal(err)
		}
	default:
		t.Fatalf("the child says %q", line)
	}
}
