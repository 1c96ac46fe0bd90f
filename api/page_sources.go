package api

import (
	"net/url"

	"github.com/ledgerline/ledgerline/lineage"
)

// branch is a dataset in the tree of where an answer came from.
type branch struct {
	lineage.Node
	Edges    []lineage.Edge // how it fed what it hangs from: more than one where it was declared so
	Upstream []branch
	Above    bool   // what it was made from stands further up in the tree
	Outputs  string // the answers that it fed
}

// tree is the graph of a trace as a tree from the answer to the first tables. What two datasets were both made from stands under each, and
// what that was made from under the first of them alone.
func tree(t *lineage.Trace) []branch {
	nodes := map[string]lineage.Node{}
	for _, n := range t.Nodes {
		nodes[n.ID] = n
	}
	into := map[string][]lineage.Edge{}
	for _, e := range t.Edges {
		into[e.To] = append(into[e.To], e)
	}
	grown := map[string]bool{}
	var grow func(to string) []branch
	grow = func(to string) []branch {
		var all []branch
		at := map[string]int{}
		for _, e := range into[to] {
			i, ok := at[e.From]
			if !ok {
				i = len(all)
				at[e.From] = i
				all = append(all, branch{Node: nodes[e.From], Outputs: "/v1/sources/" + url.PathEscape(e.From) + "/outputs"})
			}
			all[i].Edges = append(all[i].Edges, e)
		}
		for i := range all {
			id := all[i].ID
			switch {
			case len(into[id]) == 0:
			case grown[id]:
				all[i].Above = true
			default:
				grown[id] = true
				all[i].Upstream = grow(id)
			}
		}
		return all
	}
	return grow(lineage.Answer)
}

// coverages say in a sentence how much the sources of a call tell (event/SPEC.md E18).
var coverages = map[string]string{
	"none":      "No source of this call is known.",
	"mapped":    "The call said nothing of its sources. These are the ones that its use case lists; whether this call used them is not known.",
	"declared":  "The call declared its sources.",
	"observed":  "The proxy read the sources in the call itself.",
	"malformed": "The call declared its sources so that they could not be read. These are the ones that its use case lists.",
	"partial":   "The call had more sources than its event has room for.",
}

// evidences say how a source is known.
var evidences = map[string]string{
	"observed": "read in the call by the proxy", "declared": "declared by the call", "traced": "from a span of its trace", "mapped": "listed for the use case",
}
