package cluster

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

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
		{"two nodes advertise one address", "1", func(answers map[string]peerwire.Hello, _ map[string]error) {
			answers["c:1"] = empty("3", "b:1", all...)
		}, "the node at c:1 advertises b:1 to the other nodes, and that is another listed node: correct its advertise-nodes"},
		{"this node is not among them", "4", nil, "none of the listed addresses"},
		{"two clusters", "1", func(answers map[string]peerwire.Hello, _ map[string]error) {
			answers["b:1"] = peerwire.Hello{ID: "2", Member: true, Cluster: "x"}
			answers["c:1"] = peerwire.Hello{ID: "3", Member: true, Cluster: "y"}
		}, "different clusters"},
		{"this node is to be in another cluster", "1", func(answers map[string]peerwire.Hello, _ map[string]error) {
			answers["b:1"] = peerwire.Hello{ID: "2", Member: true, Cluster: "x"}
		}, "and this node is to be in cluster 00"},
		{"this node is to be in a cluster that is nowhere", "1", func(map[string]peerwire.Hello, map[string]error) {}, "a new cluster is founded only without that setting"},
		{"a cluster that has no leader", "1", func(answers map[string]peerwire.Hello, _ map[string]error) {
			answers["b:1"] = peerwire.Hello{ID: "2", Member: true, Cluster: "x"}
		}, "no leader yet"},
	} {
		answers, errs := whole(), map[string]error{}
		if test.change != nil {
			test.change(answers, errs)
		}
		config := Config{Nodes: all}
		if strings.HasPrefix(test.name, "this node is to be in") {
			config.Cluster = strings.Repeat("0", 32)
		}
		n := &Node{config: config, log: slog.New(slog.DiscardHandler)}
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

// A node alone that is told its cluster does not found another one on an empty folder; nor does it start on the folder of
// another one.
func TestANodeThatIsToldItsClusterFoundsNoOther(t *testing.T) {
	c := DefaultConfig()
	c.Dir, c.Bind = t.TempDir(), "127.0.0.1:0"
	n, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	<-n.Ready()
	theirs := hex.EncodeToString(n.Position().Cluster)
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Cluster = strings.Repeat("1", 32)
	if n, err := Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "belongs to cluster "+theirs) {
		t.Errorf("on the folder of another cluster: %v", err)
		if err == nil {
			n.Close(t.Context())
		}
	}
	c.Dir = t.TempDir()
	if n, err = Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	defer n.Close(t.Context())
	for waits := ""; !strings.Contains(waits, "no listed node is in it"); time.Sleep(time.Millisecond) {
		select {
		case <-n.Ready():
			t.Fatal("it founded a cluster")
		default:
		}
		if alarms := n.Status().Alarms; len(alarms) > 0 {
			waits = alarms[0].Text
		}
	}
}
