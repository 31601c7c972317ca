package testbed

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// Otherwise a load on a node that has ended would be tried again without end.
func TestWorkEndsWithItsNodes(t *testing.T) {
	c := &Cluster{}
	for _, script := range []string{"read line", "echo no space left on device >&2"} {
		program := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		n, err := newNode(&nodeproc.Node{Program: program})
		if err != nil {
			t.Fatal(err)
		}
		c.Nodes = append(c.Nodes, n)
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	defer c.Close()
	ctx, cancel := c.WhileRunning(t.Context())
	defer cancel(nil)
	<-ctx.Done()
	if err := context.Cause(ctx); err.Error() != "node 2 ended:\nno space left on device" {
		t.Errorf("it ended with %q", err)
	}
}
