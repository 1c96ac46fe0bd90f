package retention

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// Writer is the version of what this package writes. A file depends on its rows and on this alone: no clock, no machine and no
// chance is in it, so an unchanged day gives the same bytes again.
const Writer = "1"

const (
	groupRows  = 1 << 16 // rows of a row group; two are in memory while they are encoded
	chunkRows  = 1 << 12 // rows after which a page may end: always the same ones, however the rows arrived
	inProgress = 2       // row groups that are encoded at once
)

// part is rows from to (excluded) of a record.
type part struct {
	record   arrow.Record
	from, to int
}

// encode writes an Arrow stream as a Parquet file and returns its rows and columns.
func encode(ctx context.Context, name string, stream io.Reader, to io.Writer) (rows int64, columns []Column, err error) {
	records, err := ipc.NewReader(bufio.NewReaderSize(stream, 1<<20))
	if err != nil {
		return 0, nil, fmt.Errorf("read the schema: %w", err)
	}
	defer records.Release()
	l, err := newLayout(name, records.Schema())
	if err != nil {
		return 0, nil, err
	}
	options := []parquet.WriterOption{
		l.schema, parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}), parquet.MaxRowsPerRowGroup(groupRows), parquet.DataPageStatistics(true),
		parquet.CreatedBy("ledgerline", Writer, "parquet"),
	}
	for _, path := range l.unbounded {
		options = append(options, parquet.SkipPageBounds(path...))
	}
	w := parquet.NewWriter(to, options...)
	var free, encoding []*groupWriter
	for range inProgress {
		free = append(free, &groupWriter{rows: w.BeginRowGroup(), done: make(chan error, 1)})
	}
	// Row groups are committed in the order of their rows.
	commit := func() error {
		g := encoding[0]
		encoding = encoding[1:]
		if err := <-g.done; err != nil {
			return fmt.Errorf("encode: %w", err)
		}
		if _, err := g.rows.Commit(); err != nil {
			return fmt.Errorf("write a row group: %w", err)
		}
		free = append(free, g)
		return nil
	}
	defer func() {
		for _, g := range encoding {
			<-g.done
		}
	}()
	start := func(parts []part) error {
		if len(free) == 0 {
			if err := commit(); err != nil {
				return err
			}
		}
		g := free[0]
		free, encoding = free[1:], append(encoding, g)
		go func() { g.done <- g.encode(l, parts) }()
		return nil
	}
	var parts []part
	held := 0
	for records.Next() {
		if err := ctx.Err(); err != nil {
			return 0, nil, err
		}
		record := records.Record()
		record.Retain() // until the collector finds that no part has it
		for from := 0; from < int(record.NumRows()); {
			until := min(int(record.NumRows()), from+groupRows-held)
			parts = append(parts, part{record, from, until})
			held += until - from
			from = until
			if held == groupRows {
				if err := start(parts); err != nil {
					return 0, nil, err
				}
				parts, held = nil, 0
			}
		}
		rows += record.NumRows()
	}
	if err := records.Err(); err != nil {
		return 0, nil, fmt.Errorf("read rows: %w", err)
	}
	if held > 0 {
		if err := start(parts); err != nil {
			return 0, nil, err
		}
	}
	for len(encoding) > 0 {
		if err := commit(); err != nil {
			return 0, nil, err
		}
	}
	if err := w.Close(); err != nil {
		return 0, nil, fmt.Errorf("end the file: %w", err)
	}
	return rows, l.columns, nil
}

// groupWriter encodes one row group at a time.
type groupWriter struct {
	rows   *parquet.ConcurrentRowGroupWriter
	done   chan error
	values []parquet.Value
}

func (g *groupWriter) encode(l *layout, parts []part) error {
	for n, leaf := range l.leaves {
		column, rows := g.rows.ColumnWriters()[n], 0
		for _, p := range parts {
			read := leaf.rows(p.record.Column(leaf.column))
			for i := p.from; i < p.to; {
				until := min(p.to, i+chunkRows-rows)
				g.values = read(g.values, i, until)
				rows += until - i
				i = until
				if rows == chunkRows {
					if err := g.write(column); err != nil {
						return err
					}
					rows = 0
				}
			}
		}
		if err := g.write(column); err != nil {
			return err
		}
	}
	return nil
}

func (g *groupWriter) write(column *parquet.ColumnWriter) error {
	if len(g.values) == 0 {
		return nil
	}
	_, err := column.WriteRowValues(g.values)
	g.values = g.values[:0]
	return err
}

// digester hashes and counts what goes through it.
type digester struct {
	to    io.Writer
	hash  hash.Hash
	bytes int64
}

func newDigester(to io.Writer) *digester { return &digester{to: to, hash: sha256.New()} }

func (d *digester) Write(b []byte) (int, error) {
	n, err := d.to.Write(b)
	d.hash.Write(b[:n])
	d.bytes += int64(n)
	return n, err
}

func (d *digester) sum() string { return hex.EncodeToString(d.hash.Sum(nil)) }
