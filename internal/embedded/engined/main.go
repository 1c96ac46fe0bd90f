// Command engined is an engine's child process and nothing else: what tests start instead of the ledgerline program, so that
// the engine runs without the race detector also when the tests run with it.
package main

import (
	"fmt"
	"os"

	"github.com/ledgerline/ledgerline/internal/embedded"
)

func main() {
	embedded.RunChildIfAsked()
	fmt.Fprintln(os.Stderr, "engined is started by package embedded only")
	os.Exit(2)
}
