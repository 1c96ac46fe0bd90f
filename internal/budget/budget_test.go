package budget

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ledgerline/ledgerline/internal/money"
)

// Whatever comes in which order: reserved and spent stay within the limit as
// long as calls cost what was reserved, and what fits is let in.
func TestAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	passed, refused := 0, 0
	for range 300 {
		a, limit := new(Ledger).Account("b", 0), money.Pico(1+r.Int64N(1000))
		var running []money.Pico
		used := money.Pico(0)
		for range 200 {
			if n := len(running); n > 0 && r.IntN(2) == 0 {
				i := r.IntN(n)
				cost := money.Pico(r.Int64N(int64(running[i]) + 1))
				untold := money.Pico(0)
				if r.IntN(4) == 0 {
					untold = running[i] - cost
				}
				a.Settle(running[i], cost, untold)
				used += cost + untold - running[i]
				running[i] = running[n-1]
				running = running[:n-1]
				continue
			}
			amount := money.Pico(r.Int64N(200))
			left, ok := a.Reserve(amount, limit)
			if fits := used+amount <= limit; ok != fits {
				t.Fatalf("%d of %d with %d used: let in %v", amount, limit, used, ok)
			}
			if !ok {
				refused++
				continue
			}
			used += amount
			running = append(running, amount)
			if passed++; left != limit-used {
				t.Fatalf("%d left, want %d", left, limit-used)
			}
		}
	}
	if passed < 1000 || refused < 1000 {
		t.Errorf("%d let in and %d refused: the test tries too little", passed, refused)
	}
}

func TestConcurrent(t *testing.T) {
	var l Ledger
	var passed atomic.Int64
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if _, ok := l.Account("b", 0).Reserve(10, 109); ok {
				passed.Add(1)
			}
		})
	}
	if all.Wait(); passed.Load() != 10 {
		t.Errorf("%d let in, room for 10", passed.Load())
	}
	if _, ok := l.Account("b", 1).Reserve(100, 100); !ok {
		t.Error("another period shares the account")
	}
}
