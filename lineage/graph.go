package lineage

import (
	"slices"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
)

// Answer is where the edges of the direct sources lead; every other end of an
// edge is the id of a dataset, which has a vertical bar.
const Answer = "answer"

// Node is a dataset of a trace.
type Node struct {
	ID             string `json:"id"` // namespace|name
	Namespace      string `json:"namespace"`
	Name           string `json:"name"`
	Listed         bool   `json:"listed"` // the estate listed it then; otherwise the three that follow are empty: unknown
	Kind           string `json:"kind"`
	Owner          string `json:"owner"`
	Classification string `json:"classification"`
	Depth          int    `json:"depth"` // fewest edges to the answer
	Root           bool   `json:"root"`  // listed, and made from nothing then
}

// Edge says that one dataset fed the answer or another dataset.
type Edge struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Evidence string `json:"evidence"` // as in event/SPEC.md E18; between datasets always "mapped"
	// Of a declared source, where it was told.
	Version string `json:"version,omitempty"`
	Role    string `json:"role,omitempty"`
	Rows    int64  `json:"rows,omitempty"`
	Chunks  int64  `json:"chunks,omitempty"`
	// Between datasets: the days for which the estate lists it; ValidTo is exclusive.
	ValidFrom string `json:"valid_from,omitempty"`
	ValidTo   string `json:"valid_to,omitempty"`
}

// Limits of a traversal. What they cut is told in the trace.
type Limits struct {
	Depth int // edges from the answer; 1: the direct sources alone
	Nodes int
	Edges int
}

// DefaultLimits are generous for what people draw and bounded for what machines generate.
var DefaultLimits = Limits{Depth: 32, Nodes: 5000, Edges: 20_000}

// graph is what is upstream of an answer.
type graph struct {
	nodes       []Node // by depth, in the order of the sources and of the estate
	edges       []Edge // all between the nodes, as they were met
	truncatedBy []string
	cycles      int
}

// estate knows datasets; a *governance.Snapshot does.
type estate interface {
	Dataset(id governance.DatasetID) (*governance.Dataset, bool)
}

// unknown is the estate of a call whose snapshot cannot be had.
type unknown struct{}

func (unknown) Dataset(governance.DatasetID) (*governance.Dataset, bool) { return nil, false }

// upstream follows the sources of a call to the roots, as the estate lists
// them at a time. Each dataset is visited once; every edge to it is kept.
func upstream(s estate, sources []event.Source, at time.Time, limits Limits) *graph {
	g := &graph{}
	index := map[governance.DatasetID]int{}
	listed := make([]*governance.Dataset, 0, len(sources))
	cut := func(by string) {
		if !slices.Contains(g.truncatedBy, by) {
			g.truncatedBy = append(g.truncatedBy, by)
		}
	}
	// add keeps an edge and the node at its far end. There is no edge without both its nodes.
	add := func(id governance.DatasetID, depth int, e Edge) {
		if len(g.edges) == limits.Edges {
			cut("edges")
			return
		}
		if _, met := index[id]; !met {
			if len(g.nodes) == limits.Nodes {
				cut("nodes")
				return
			}
			index[id] = len(g.nodes)
			n := Node{ID: id.String(), Namespace: id.Namespace, Name: id.Name, Depth: depth}
			var d *governance.Dataset
			if d, n.Listed = s.Dataset(id); n.Listed {
				n.Kind, n.Owner, n.Classification = d.Kind, d.Owner, d.Classification
			}
			g.nodes, listed = append(g.nodes, n), append(listed, d)
		}
		e.From = id.String()
		g.edges = append(g.edges, e)
	}
	for _, source := range sources {
		add(governance.DatasetID{Namespace: source.Namespace, Name: source.Name}, 1,
			Edge{To: Answer, Evidence: source.Evidence, Version: source.Version, Role: source.Role, Rows: source.Rows, Chunks: source.Chunks})
	}
	var upstreams [][]int // of each node, for the cycles
	for i := 0; i < len(g.nodes); i++ {
		upstreams = append(upstreams, nil)
		if listed[i] == nil {
			continue
		}
		n, holding := g.nodes[i], 0
		for j := range listed[i].Upstream {
			u := &listed[i].Upstream[j]
			if !u.Holds(at) {
				continue
			}
			if holding++; n.Depth == limits.Depth {
				cut("depth")
				break
			}
			edges := len(g.edges)
			if add(u.DatasetID, n.Depth+1, Edge{To: n.ID, Evidence: "mapped", ValidFrom: day(u.From), ValidTo: day(u.To)}); len(g.edges) > edges {
				upstreams[i] = append(upstreams[i], index[u.DatasetID])
			}
		}
		g.nodes[i].Root = holding == 0
	}
	g.cycles = cycles(upstreams)
	return g
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}

// cycles counts the groups of datasets that feed each other: the strongly
// connected components of more than one node (Tarjan, SIAM J. Comput. 1972;
// with a stack of its own, since a chain may be as long as there are nodes).
func cycles(next [][]int) int {
	order, low := make([]int, len(next)), make([]int, len(next)) // order from 1; 0: not met
	open := make([]bool, len(next))
	var component, path, at []int // at[d] is how many successors of path[d] were looked at
	met, count := 0, 0
	enter := func(v int) {
		met++
		order[v], low[v], open[v] = met, met, true
		component, path, at = append(component, v), append(path, v), append(at, 0)
	}
	for root := range next {
		if order[root] == 0 {
			enter(root)
		}
		for len(path) > 0 {
			d := len(path) - 1
			v := path[d]
			if at[d] < len(next[v]) {
				w := next[v][at[d]]
				at[d]++
				switch {
				case order[w] == 0:
					enter(w)
				case open[w]:
					low[v] = min(low[v], order[w])
				}
				continue
			}
			path, at = path[:d], at[:d]
			if d > 0 {
				low[path[d-1]] = min(low[path[d-1]], low[v])
			}
			if low[v] < order[v] {
				continue
			}
			size := 0
			for closed := false; !closed; size++ {
				w := component[len(component)-1]
				component, open[w] = component[:len(component)-1], false
				closed = w == v
			}
			if size > 1 {
				count++
			}
		}
	}
	return count
}
