package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// A load on a node that has ended would try again for ever.
func TestWorkEndsWithItsNodes(t *testing.T) {
	var nodes []*nodeProcess
	for _, script := range []string{"read line", "echo no space left on device >&2"} {
		program := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		n, err := observeNode(&nodeproc.Node{Program: program})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	defer closeNodes(nodes)
	ctx, cancel := whileAllRun(t.Context(), nodes)
	defer cancel(nil)
	<-ctx.Done()
	if err := context.Cause(ctx); err.Error() != "node 2 ended:\nno space left on device" {
		t.Errorf("it ended with %q", err)
	}
}
