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

// Files is the texts of these files, by name.
func Files() map[string][]byte {
	texts := map[string][]byte{}
	names, err := fs.Glob(Governance(), "*.yaml")
	for _, name := range names {
		if err == nil {
			texts[name], err = fs.ReadFile(Governance(), name)
		}
	}
	if err != nil {
		panic(err) // they are part of the program
	}
	return texts
}
