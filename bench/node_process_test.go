package main

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
)

// A cluster knows its members by their addresses: a folder that is kept starts again at those it had.
func TestAKeptFolderKeepsItsAddresses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "large")
	first, err := newNodes("none", dir, 3)
	if err != nil {
		t.Fatal(err)
	}
	again, err := newNodes("none", dir, 3)
	if err != nil {
		t.Fatal(err)
	}
	if was, is := clientsOf(first), clientsOf(again); !slices.Equal(was, is) {
		t.Errorf("it starts again at %v, not %v", is, was)
	}
	if was, is := first[0].nodes, again[0].nodes; !slices.Equal(was, is) {
		t.Errorf("its nodes meet at %v, not %v", is, was)
	}
	if _, err := newNodes("none", dir, 1); err == nil {
		t.Error("a folder of three nodes was taken for one's")
	}
}

// Whoever fills a node that has ended would try again for ever.
func TestWorkEndsWithItsNodes(t *testing.T) {
	nodes := []*nodeProcess{{ended: make(chan struct{})}, {ended: make(chan struct{}), lastLines: []string{"no space left on device"}}}
	ctx, cancel := whileAllRun(t.Context(), nodes)
	defer cancel(nil)
	close(nodes[1].ended)
	<-ctx.Done()
	if err := context.Cause(ctx); err.Error() != "node 2 ended:\nno space left on device" {
		t.Errorf("it ended with %q", err)
	}
}
