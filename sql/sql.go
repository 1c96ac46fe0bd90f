// Package sql embeds every statement that is sent to ClickHouse. No SQL text
// stands elsewhere.
package sql

import "embed"

//go:embed migrations/*.sql
var Migrations embed.FS

//go:embed queries/*.sql
var queries embed.FS

// Query is the text of queries/<name>.sql. An unknown name is a mistake in the
// program and panics.
func Query(name string) string {
	text, err := queries.ReadFile("queries/" + name + ".sql")
	if err != nil {
		panic("sql: no query named " + name)
	}
	return string(text)
}
