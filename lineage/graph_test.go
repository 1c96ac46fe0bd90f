package lineage

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
)

// tables is an estate in memory.
type tables map[governance.DatasetID]*governance.Dataset

func (t tables) Dataset(id governance.DatasetID) (*governance.Dataset, bool) {
	d, ok := t[id]
	return d, ok
}

func table(name string) governance.DatasetID {
	return governance.DatasetID{Namespace: "pg", Name: name}
}

// add lists a dataset that is made from others.
func (t tables) add(name string, upstream ...governance.Upstream) {
	t[table(name)] = &governance.Dataset{DatasetID: table(name), Kind: "table", Owner: "owner of " + name, Classification: "internal", Upstream: upstream}
}

func from(names ...string) (list []governance.Upstream) {
	for _, name := range names {
		list = append(list, governance.Upstream{DatasetID: table(name)})
	}
	return list
}

func source(name, evidence string) event.Source {
	return event.Source{Namespace: "pg", Name: name, Evidence: evidence}
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// short writes a graph as text: nodes with depth, ! for roots and ? for
// unlisted ones, then edges.
func short(g *graph) (nodes, edges []string) {
	for _, n := range g.nodes {
		mark := ""
		if n.Root {
			mark = "!"
		}
		if !n.Listed {
			mark += "?"
		}
		nodes = append(nodes, fmt.Sprintf("%s%d%s", n.Name, n.Depth, mark))
	}
	for _, e := range g.edges {
		to := e.To
		if to != Answer {
			to = to[len("pg|"):]
		}
		edges = append(edges, e.From[len("pg|"):]+">"+to)
	}
	return nodes, edges
}

func TestUpstream(t *testing.T) {
	may := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	estate := tables{}
	estate.add("mart", from("stage1", "stage2")...)
	estate.add("stage1", from("raw")...)
	estate.add("stage2", from("raw", "nobody's")...)
	estate.add("raw")
	estate.add("a", from("b")...)
	estate.add("b", from("c", "raw")...)
	estate.add("c", from("a")...)
	estate.add("moved", governance.Upstream{DatasetID: table("old"), To: may}, governance.Upstream{DatasetID: table("new"), From: may})
	estate.add("ended", governance.Upstream{DatasetID: table("old"), To: may})
	for _, c := range []struct {
		name         string
		sources      []event.Source
		at           time.Time
		limits       Limits
		nodes, edges []string
		truncatedBy  []string
		cycles       int
	}{
		{"nothing", nil, noon, DefaultLimits, nil, nil, nil, 0},
		{"a diamond keeps all edges", []event.Source{source("mart", "declared")}, noon, DefaultLimits,
			[]string{"mart1", "stage12", "stage22", "raw3!", "nobody's3?"},
			[]string{"mart>answer", "stage1>mart", "stage2>mart", "raw>stage1", "raw>stage2", "nobody's>stage2"}, nil, 0},
		{"a source that is also upstream of another", []event.Source{source("stage1", "declared"), source("raw", "mapped")}, noon, DefaultLimits,
			[]string{"stage11", "raw1!"}, []string{"stage1>answer", "raw>answer", "raw>stage1"}, nil, 0},
		{"a source declared twice", []event.Source{source("raw", "declared"), source("raw", "declared")}, noon, DefaultLimits,
			[]string{"raw1!"}, []string{"raw>answer", "raw>answer"}, nil, 0},
		{"a cycle", []event.Source{source("a", "declared")}, noon, DefaultLimits,
			[]string{"a1", "b2", "c3", "raw3!"}, []string{"a>answer", "b>a", "c>b", "raw>b", "a>c"}, nil, 1},
		{"before a change", []event.Source{source("moved", "declared"), source("ended", "declared")}, may.Add(-1), DefaultLimits,
			[]string{"moved1", "ended1", "old2?"}, []string{"moved>answer", "ended>answer", "old>moved", "old>ended"}, nil, 0},
		{"after it", []event.Source{source("moved", "declared"), source("ended", "declared")}, may, DefaultLimits,
			[]string{"moved1", "ended1!", "new2?"}, []string{"moved>answer", "ended>answer", "new>moved"}, nil, 0},
		{"no source is listed", []event.Source{source("x", "declared")}, noon, DefaultLimits, []string{"x1?"}, []string{"x>answer"}, nil, 0},
		{"depth 1", []event.Source{source("mart", "declared"), source("raw", "declared")}, noon, Limits{1, 100, 100},
			[]string{"mart1", "raw1!"}, []string{"mart>answer", "raw>answer"}, []string{"depth"}, 0},
		{"depth 2", []event.Source{source("mart", "declared")}, noon, Limits{2, 100, 100},
			[]string{"mart1", "stage12", "stage22"}, []string{"mart>answer", "stage1>mart", "stage2>mart"}, []string{"depth"}, 0},
		{"deep enough", []event.Source{source("stage1", "declared")}, noon, Limits{2, 100, 100},
			[]string{"stage11", "raw2!"}, []string{"stage1>answer", "raw>stage1"}, nil, 0},
		{"three nodes", []event.Source{source("mart", "declared")}, noon, Limits{9, 3, 100},
			[]string{"mart1", "stage12", "stage22"}, []string{"mart>answer", "stage1>mart", "stage2>mart"}, []string{"nodes"}, 0},
		{"four edges", []event.Source{source("mart", "declared")}, noon, Limits{9, 100, 4},
			[]string{"mart1", "stage12", "stage22", "raw3!"}, []string{"mart>answer", "stage1>mart", "stage2>mart", "raw>stage1"}, []string{"edges"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := upstream(estate, c.sources, c.at, c.limits)
			nodes, edges := short(g)
			if !slices.Equal(nodes, c.nodes) || !slices.Equal(edges, c.edges) {
				t.Errorf("nodes %q, edges %q\nwant  %q,       %q", nodes, edges, c.nodes, c.edges)
			}
			if !slices.Equal(g.truncatedBy, c.truncatedBy) || g.cycles != c.cycles {
				t.Errorf("truncated by %q, %d cycles; want %q, %d", g.truncatedBy, g.cycles, c.truncatedBy, c.cycles)
			}
		})
	}
}

// Of any graph, also with diamonds and cycles, the nodes are what a naive walk
// of all edges reaches, the edges all of them among those, and the cycles the
// groups that reach each other.
func TestUpstreamOfRandomGraphs(t *testing.T) {
	for seed := range uint64(400) {
		random := rand.New(rand.NewPCG(seed, 4))
		n := 2 + random.IntN(12)
		name := func(i int) string { return fmt.Sprint("t", i) }
		estate := tables{}
		next := map[string][]string{}
		wantEdges := map[string]bool{}
		for i := range n {
			if random.IntN(6) == 0 {
				continue // not listed
			}
			for j := range n {
				if j != i && random.IntN(n) < 2 {
					next[name(i)] = append(next[name(i)], name(j))
				}
			}
			estate.add(name(i), from(next[name(i)]...)...)
		}
		sources := []event.Source{source(name(0), "declared"), source(name(1), "mapped")}
		// A naive walk: distances until nothing changes.
		depth := map[string]int{name(0): 1, name(1): 1}
		for changed := true; changed; {
			changed = false
			for a, list := range next {
				for _, b := range list {
					if depth[a] > 0 && (depth[b] == 0 || depth[b] > depth[a]+1) {
						depth[b], changed = depth[a]+1, true
					}
				}
			}
		}
		wantEdges[name(0)+">answer"], wantEdges[name(1)+">answer"] = true, true
		for a, list := range next {
			for _, b := range list {
				if depth[a] > 0 {
					wantEdges[b+">"+a] = true
				}
			}
		}
		g := upstream(estate, sources, noon, DefaultLimits)
		gotDepth, gotEdges := map[string]int{}, map[string]bool{}
		for _, n := range g.nodes {
			gotDepth[n.Name] = n.Depth
		}
		_, edges := short(g)
		for _, e := range edges {
			gotEdges[e] = true
		}
		if !reflect.DeepEqual(gotDepth, depth) || !reflect.DeepEqual(gotEdges, wantEdges) || len(edges) != len(wantEdges) || len(g.nodes) != len(depth) || g.truncatedBy != nil {
			t.Fatalf("seed %d: nodes %v, edges %v\nwant %v, %v", seed, gotDepth, edges, depth, wantEdges)
		}
		reaches := func(a, b string) bool {
			met, open := map[string]bool{}, []string{a}
			for len(open) > 0 {
				v := open[0]
				open = open[1:]
				for _, w := range next[v] {
					if w == b {
						return true
					}
					if !met[w] {
						met[w], open = true, append(open, w)
					}
				}
			}
			return false
		}
		cycles, grouped := 0, map[string]bool{}
		for a := range depth {
			if grouped[a] || !reaches(a, a) {
				continue
			}
			cycles++
			for b := range depth {
				if reaches(a, b) && reaches(b, a) {
					grouped[b] = true
				}
			}
		}
		if g.cycles != cycles {
			t.Fatalf("seed %d: %d cycles, want %d, of %v", seed, g.cycles, cycles, next)
		}
		// Whatever limits do, what is left is a part of the whole, and it is said.
		l := Limits{1 + random.IntN(3), 2 + random.IntN(6), 2 + random.IntN(9)}
		cut := upstream(estate, sources, noon, l)
		_, kept := short(cut)
		for _, e := range kept {
			if !wantEdges[e] {
				t.Fatalf("seed %d, limits %v: edge %s is not there", seed, l, e)
			}
		}
		if whole := len(cut.nodes) == len(g.nodes) && len(cut.edges) == len(g.edges); whole != (cut.truncatedBy == nil) || len(cut.nodes) > l.Nodes || len(cut.edges) > l.Edges {
			t.Fatalf("seed %d, limits %v: %d nodes of %d, %d edges of %d, truncated by %v", seed, l, len(cut.nodes), len(g.nodes), len(cut.edges), len(g.edges), cut.truncatedBy)
		}
	}
}

// A chain as long as the limit of nodes is no deep recursion, and a wide one is
// not quadratic.
func TestUpstreamOfLargeGraphs(t *testing.T) {
	estate := tables{}
	for i := range 4999 {
		estate.add(fmt.Sprint("t", i), from(fmt.Sprint("t", i+1))...)
	}
	estate.add("t4999", from("t0")...)
	g := upstream(estate, []event.Source{source("t0", "declared")}, noon, Limits{10_000, 5000, 20_000})
	if len(g.nodes) != 5000 || g.cycles != 1 || g.truncatedBy != nil || g.nodes[4999].Depth != 5000 {
		t.Errorf("%d nodes, %d cycles, truncated by %v", len(g.nodes), g.cycles, g.truncatedBy)
	}
}
