package cluster

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/profilenode/profilenode/cluster/internal/datafolder"
	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

// empty is the answer of a node that is in no cluster.
func empty(id, address string, lists ...string) peerwire.Hello {
	return peerwire.Hello{ID: id, Address: address, Nodes: lists}
}

func TestWhoMayFoundACluster(t *testing.T) {
	all := []string{"a:1", "b:1", "c:1"}
	whole := func() map[string]peerwire.Hello {
		return map[string]peerwire.Hello{"a:1": empty("1", "a:1", all...), "b:1": empty("2", "b:1", all...), "c:1": empty("3", "c:1", all...)}
	}
	for _, test := range []struct {
		name   string
		self   string
		change func(answers map[string]peerwire.Hello, errs map[string]error)
		waits  string
	}{
		{"another order of the list is the same", "2", func(answers map[string]peerwire.Hello, _ map[string]error) {
			answers["c:1"] = empty("3", "c:1", "c:1", "a:1", "b:1")
		}, "node 1 is about to found"},
		{"only the lowest founds", "3", nil, "node 1 is about to found"},
		{"one does not answer", "1", func(answers map[string]peerwire.Hello, errs map[string]error) {
			delete(answers, "c:1")
			errs["c:1"] = errors.New("refused")
		}, "no answer yet from c:1"},
		{"one lists more", "1", func(answers map[string]peerwire.Hello, _ map[string]error) {
			answers["b:1"] = empty("2", "b:1", "a:1", "b:1", "c:1", "d:1")
		}, "lists other nodes"},
		{"one lists another", "1", func(answers map[string]peerwire.Hello, _ map[string]error) {
			answers["b:1"] = empty("2", "b:1", "a:1", "b:1", "d:1")
		}, "lists other nodes"},
		{"two names of one node", "1", func(answers map[string]peerwire.Hello, _ map[string]error) {
			answers["c:1"] = empty("2", "b:1", all...)
		}, "the same node"},
		{"this node is not among them", "4", nil, "none of the listed addresses"},
		{"two clusters", "1", func(answers map[string]peerwire.Hello, _ map[string]error) {
			answers["b:1"] = peerwire.Hello{ID: "2", Member: true, Cluster: "x"}
			answers["c:1"] = peerwire.Hello{ID: "3", Member: true, Cluster: "y"}
		}, "different clusters"},
		{"a cluster that has no leader", "1", func(answers map[string]peerwire.Hello, _ map[string]error) {
			answers["b:1"] = peerwire.Hello{ID: "2", Member: true, Cluster: "x"}
		}, "no leader yet"},
	} {
		answers, errs := whole(), map[string]error{}
		if test.change != nil {
			test.change(answers, errs)
		}
		n := &Node{config: Config{Nodes: all}, log: slog.New(slog.DiscardHandler)}
		n.identity.Store(&datafolder.Identity{ID: test.self})
		m := &membership{node: n}
		agreed := 0
		for range 2 * agreeingRounds {
			waits, done, err := m.decideBootstrap(t.Context(), &peerwire.HelloRound{Answers: answers, Errors: errs}, &agreed)
			if done || err != nil {
				t.Fatalf("%s: a cluster was made: %v", test.name, err)
			}
			if agreed == 1 && waits == "all nodes are there" {
				continue
			}
			if !strings.Contains(waits, test.waits) {
				t.Errorf("%s: waits for %q, want %q", test.name, waits, test.waits)
			}
		}
	}
}
