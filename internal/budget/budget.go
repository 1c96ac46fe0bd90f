// Package budget keeps what one process has spent and reserved of budgets
// within limits, however many calls come at once: an amount is reserved before
// a call and settled with what the call has cost after it.
package budget

import (
	"sync"

	"github.com/ledgerline/ledgerline/internal/money"
)

// Ledger is the accounts of one process. The zero value is empty; it is safe
// for concurrent use.
type Ledger struct {
	mu       sync.RWMutex
	accounts map[period]*Account
}

// period is one budget in one of its periods.
type period struct {
	budget string
	from   int64 // Unix seconds
}

// Account is that of a budget in the period that begins at from, in Unix
// seconds; only the first call for a period allocates. An account of a former
// period of the same budget is forgotten then: its calls still settle in it.
func (l *Ledger) Account(budget string, from int64) *Account {
	k := period{budget, from}
	l.mu.RLock()
	a := l.accounts[k]
	l.mu.RUnlock()
	if a != nil {
		return a
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if a = l.accounts[k]; a != nil {
		return a
	}
	if l.accounts == nil {
		l.accounts = map[period]*Account{}
	}
	for old := range l.accounts {
		if old.budget == budget && old.from < from-2*24*60*60 {
			delete(l.accounts, old)
		}
	}
	a = new(Account)
	l.accounts[k] = a
	return a
}

// Account is what is spent and reserved of one budget in one period.
type Account struct {
	mu     sync.Mutex
	spent  money.Pico // as the books will have it
	untold money.Pico // kept for calls of which nobody told the cost
	held   money.Pico // reserved for calls that run
}

// Reserve takes an amount when it is there within the limit, or else nothing;
// left is what is left of the limit then.
func (a *Account) Reserve(amount, limit money.Pico) (left money.Pico, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	left = limit - a.spent - a.untold - a.held
	if amount < 0 || amount > left {
		return left, false
	}
	a.held += amount
	return left - amount, true
}

// Settle ends a reservation: with what the call has cost as far as it was
// told, and what is kept for the part that was not.
func (a *Account) Settle(reserved, cost, untold money.Pico) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held -= reserved
	a.spent += cost
	a.untold += untold
}
