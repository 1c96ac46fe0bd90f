package retention

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/ledgerline/ledgerline/internal/money"
)

// Manifest says what the files of one retention class and day are. It is written after them and read back with them, so it is the
// commit point: a file that no manifest names does not count. Its revision 0 is the day as it was sealed; a later one names the
// files that correct it and the manifest before it, which stays as it was.
//
// It depends on the books alone, as the files do: an unchanged day gives the same bytes again.
type Manifest struct {
	Format   int    `json:"format"` // of this document: 1
	Writer   string `json:"writer"` // version of the files' writer
	Class    string `json:"class"`
	Day      string `json:"day"` // UTC
	Revision uint32 `json:"revision"`
	Former   *File  `json:"former"` // manifest of the revision before; null in revision 0
	// Highest recorded_seq of the rows, those of former revisions included: the day as of it is what the files of all revisions hold.
	Through uint64  `json:"through,string"`
	Tables  []Table `json:"tables"`

	// Under which rules the rows came about.
	Governance  []string `json:"governance"`  // digests of the snapshots
	PriceBooks  []string `json:"price_books"` // their versions
	Derivations []uint16 `json:"derivations"`
}

// Table is what the files of a revision hold of one table.
type Table struct {
	Name string `json:"name"`
	// How the rows of all revisions give the day: "sum" (all of them count; a correction is a reversal and a re-entry, or what is
	// to be added) or "last" (of the rows with the same event_id the one of the highest revision).
	Combine string   `json:"combine"`
	Rows    uint64   `json:"rows"`
	Sums    []Sums   `json:"sums"`
	Columns []Column `json:"columns"`
	Files   []File   `json:"files"`
}

// Sums are exact totals of the rows of one currency and token class.
type Sums struct {
	Currency   string    `json:"currency"`
	TokenClass string    `json:"token_class,omitempty"` // empty: the table has none
	Rows       uint64    `json:"rows"`
	Quantity   int64     `json:"quantity"`    // tokens
	Cost       money.Sum `json:"cost"`        // what has no price is not in it
	Hash       uint64    `json:"hash,string"` // sum modulo 2^64 of the xxHash64 of each row's fingerprint, see table
}

// File is a file or a manifest by its path below the target, with / between its parts.
type File struct {
	Path   string `json:"path"`
	Rows   uint64 `json:"rows,omitempty"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// text is the manifest's bytes.
func (m *Manifest) text() []byte {
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		panic(err) // numbers and strings
	}
	return append(b, '\n')
}

// ParseManifest reads a manifest and refuses what it does not know.
func ParseManifest(text []byte) (*Manifest, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	m := &Manifest{}
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("read a manifest: %w", err)
	}
	if m.Format != 1 {
		return nil, fmt.Errorf("read a manifest: format %d is not known", m.Format)
	}
	return m, nil
}

// table is the one of a name, or an empty one.
func (m *Manifest) table(name string) Table {
	for _, t := range m.Tables {
		if t.Name == name {
			return t
		}
	}
	return Table{Name: name}
}

// Path is where the manifest lies below the target.
func (m *Manifest) Path() string { return manifestPath(m.Class, m.Day, m.Revision) }

// folder is where the files of a table lie: readers of Hive-style folders take class and day from it.
func folder(table, class, day string) string {
	return table + "/class=" + escape(class) + "/day=" + day
}

func filePath(table, class, day string, revision uint32) string {
	return fmt.Sprintf("%s/part-%05d.parquet", folder(table, class, day), revision)
}

func manifestPath(class, day string, revision uint32) string {
	return fmt.Sprintf("%s/revision-%05d.json", folder("manifests", class, day), revision)
}

// escape writes a class as Hive does in folders.
func escape(class string) string {
	if class == "" {
		return "__HIVE_DEFAULT_PARTITION__"
	}
	return strings.ReplaceAll(url.PathEscape(class), "=", "%3D")
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func dayOf(text string) (time.Time, error) {
	return time.ParseInLocation(time.DateOnly, text, time.UTC)
}
