package proxy

import (
	"bytes"

	"github.com/ledgerline/ledgerline/internal/event"
)

// readSources reads Ledger-Sources: a comma-separated list of
// namespace#name, with @version behind it where there is one, such as
//
//	postgres://crm:5432#crm.public.customers@2026-11-01, s3://policies#kyc/handbook.pdf
//
// The namespace and name are OpenLineage's. An item that is not of this form
// is left out and makes no source; more than event.MaxSources are cut.
func (c *call) readSources() {
	for item := range bytes.SplitSeq(c.head.sources, []byte{','}) {
		namespace, name, ok := bytes.Cut(bytes.TrimSpace(item), []byte{'#'})
		if !ok || len(namespace) == 0 || len(name) == 0 || len(c.data.Sources) == event.MaxSources {
			continue
		}
		var version []byte
		if i := bytes.LastIndexByte(name, '@'); i > 0 {
			name, version = name[:i], name[i+1:]
		}
		c.data.Sources = append(c.data.Sources, event.Source{
			Namespace: c.keep(namespace, 256), Name: c.keep(name, 256), Version: c.keep(version, 128), Role: "context", Evidence: "declared",
		})
		c.data.Coverage = "declared"
	}
}
