package ingest

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/ledgerline/ledgerline/internal/kafka"
)

// VerifyOptions say what is to be proved.
type VerifyOptions struct {
	DB              Store
	Topic           string
	Kafka           kafka.Config  // with GovernanceTopic: for snapshots that the store has lost
	GovernanceTopic string        // empty: snapshots come from the table alone
	End             map[int]int64 // the topic's ends that the store must have reached; nil: not compared
	Heartbeat       time.Duration // of writers; 0: 10 s
	Now             func() time.Time
	Logger          *slog.Logger
}

// Report is the outcome of one proof.
type Report struct {
	Name     string
	Checked  int      // events, batches or writers
	Found    int      // problems, also those that Problems leaves out
	Problems []string // the first of them
	Notes    []string // what is right and should be known
	OK       bool
}

// maxProblems is how many problems a report names.
const maxProblems = 20

func (r *Report) problem(format string, args ...any) {
	if r.Found++; len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r *Report) end() Report {
	r.OK = r.Found == 0
	return *r
}

// snapshotsFor finds snapshots for a proof.
func (o *VerifyOptions) snapshotsFor() *snapshots {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return newSnapshots(Options{DB: o.DB, Kafka: o.Kafka, GovernanceTopic: o.GovernanceTopic, Now: o.Now, Logger: log})
}
