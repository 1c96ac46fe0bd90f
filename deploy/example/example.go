// Package example holds the example governance folder, so that one binary can
// write it out as a start.
package example

import (
	"embed"
	"io/fs"
)

//go:embed governance/*.yaml
var files embed.FS

// Governance is the files of deploy/example/governance. Every endpoint's
// address is one line that begins, after spaces, with "base_url:". The secrets
// of its keys were thrown away; governance.Rekey makes new ones.
func Governance() fs.FS {
	sub, err := fs.Sub(files, "governance")
	if err != nil {
		panic(err) // the name is a constant
	}
	return sub
}
