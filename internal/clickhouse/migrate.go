package clickhouse

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/ledgerline/ledgerline/sql"
)

// Migrate makes the database if it is missing and runs the migrations that it
// has not had, in the order of their names; it returns how many ran. It
// refuses, before it changes anything, a database that has had other
// migrations than these: one whose text was changed, one that is missing here
// (a newer program was at work), one that was left out.
//
// A statement that ran while its record was lost runs again, so each must bear
// that (IF NOT EXISTS). Two that migrate at the same time do no harm.
func (db *DB) Migrate(ctx context.Context) (applied int, err error) {
	// A user who may not create databases may still use one that is there.
	err = db.look(ctx, func(conn driver.Conn) error {
		return conn.Exec(ctx, sql.Query("database_create"), clickhouse.Named("name", db.database))
	})
	if err != nil {
		return 0, fmt.Errorf("create database %s: %w", db.database, err)
	}
	names, err := fs.Glob(sql.Migrations, "migrations/*.sql") // sorted
	if err != nil {
		return 0, fmt.Errorf("list the migrations: %w", err)
	}
	type migration struct {
		name, text string
		hash       [32]byte
	}
	var all []migration
	for _, name := range names {
		text, err := fs.ReadFile(sql.Migrations, name)
		if err != nil {
			return 0, fmt.Errorf("read migration %s: %w", name, err)
		}
		all = append(all, migration{name: name[len("migrations/"):], text: string(text), hash: sha256.Sum256(text)})
	}

	// The first one makes the table that records the others.
	if err := db.Exec(ctx, ddl(all[0].text)); err != nil {
		return 0, fmt.Errorf("migration %s: %w", all[0].name, err)
	}
	var had []struct {
		Name   string `ch:"name"`
		SHA256 string `ch:"sha256"`
	}
	if err := db.Select(ctx, &had, sql.Query("migrations")); err != nil {
		return 0, err
	}
	for i, h := range had {
		switch {
		case i >= len(all) || h.Name > all[i].name:
			if i < len(all) {
				return 0, fmt.Errorf("migration %s was left out in database %s, which has had %s", all[i].name, db.database, h.Name)
			}
			return 0, fmt.Errorf("database %s has had migration %s, which this program does not know: it is older than the database", db.database, h.Name)
		case h.Name < all[i].name:
			return 0, fmt.Errorf("database %s has had migration %s, which this program does not know", db.database, h.Name)
		case h.SHA256 != string(all[i].hash[:]):
			return 0, fmt.Errorf("migration %s was changed after database %s had it", h.Name, db.database)
		}
	}
	for _, m := range all[len(had):] {
		if err := db.Exec(ctx, ddl(m.text)); err != nil {
			return applied, fmt.Errorf("migration %s: %w", m.name, err)
		}
		err := db.Insert(ctx, "migrations", "", []Column{
			{Name: "name", Data: []string{m.name}},
			{Name: "sha256", Data: [][32]byte{m.hash}},
		})
		if err != nil {
			return applied, fmt.Errorf("record migration %s: %w", m.name, err)
		}
		db.log.Info("migration ran", "name", m.name, "database", db.database)
		applied++
	}
	return applied, nil
}

// ddl is a migration's text as this server gets it: the one place where the
// family of table engines is chosen. Only the plain family (one server) has
// run, so only it is here; a cluster's needs ON CLUSTER and Replicated engines.
func ddl(text string) string { return text }
