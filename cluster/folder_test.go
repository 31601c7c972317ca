package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/profilenode/profilenode/cluster"
)

// What a folder is without one of its parts. Whatever may have forgotten a vote or a save is refused, and says so; what
// the other parts still hold is made again.
func TestAFolderThatLostAPart(t *testing.T) {
	whole := t.TempDir()
	config := func(dir string) cluster.Config {
		c := onDisk(dir)
		c.TrailingBytes, c.TrailingLogs = 0, 5
		return c
	}
	n := open(t, config(whole))
	id := n.ID()
	s := register(t, n, "gs")
	for i := range 50 {
		mustSet(t, n, s, fmt.Sprint("k", i), "v")
	}
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	mustSet(t, n, s, "last", "behind the snapshot")
	closeNode(t, n)

	for _, test := range []struct {
		name string
		lost []string
		says []string // nil: it starts as it was
	}{
		{"nothing", nil, nil},
		{"its tables", []string{"tables"}, nil},
		{"its votes", []string{"raft.db"}, []string{"its file raft.db is missing", "may have forgotten votes", "aside and start the node with an empty one"}},
		{"its log", []string{"log"}, []string{"its log in log is missing", "may have forgotten votes", "aside and start the node with an empty one"}},
		{"its snapshots", []string{"snapshots"}, []string{"no snapshot holds what was before", "aside and start the node with an empty one"}},
		{"its tables and its snapshots", []string{"tables", "snapshots"}, []string{"no snapshot holds what was before", "aside and start the node with an empty one"}},
		{"its name", []string{"node.json"}, []string{"has raft.db but no node.json", "aside and start the node with an empty one"}},
		{"its name and its votes", []string{"node.json", "raft.db"}, []string{"has log but no node.json", "aside and start the node with an empty one"}},
		{"all but its tables", []string{"node.json", "raft.db", "log", "snapshots"}, []string{"has tables but no node.json", "aside and start the node with an empty one"}},
		{"all but its snapshots", []string{"node.json", "raft.db", "log", "tables"}, []string{"has snapshots but no node.json", "aside and start the node with an empty one"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			for _, name := range test.lost {
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // a refusal must not make the folder one that is taken
				if test.says == nil {
					n := open(t, config(dir))
					if n.ID() != id || value(t, n, "k49") != "v" || value(t, n, "last") != "behind the snapshot" {
						t.Errorf("it came back as %s with %q and %q", n.ID(), value(t, n, "k49"), value(t, n, "last"))
					}
					closeNode(t, n)
					continue
				}
				n, err := cluster.Open(t.Context(), config(dir))
				if err == nil {
					closeNode(t, n)
					t.Fatalf("it started, want a refusal that says %q", test.says)
				}
				for _, says := range test.says {
					if !strings.Contains(err.Error(), says) {
						t.Errorf("it says %q, want %q", err, says)
					}
				}
			}
		})
	}
}

// A folder is one node's while it runs, whoever else is pointed at it.
func TestANodeOnAnothersFolderIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, onDisk(dir))
	other := onDisk(dir)
	other.Nodes = []string{"127.0.0.1:1", "127.0.0.1:2"}
	if _, err := cluster.Open(t.Context(), other); err == nil || !strings.Contains(err.Error(), "is in use by another process") || !strings.Contains(err.Error(), "stop that process first") {
		t.Errorf("a second node on a running node's folder: %v, want a refusal that says what to do", err)
	}
}
