package main

import (
	"strings"
	"testing"
)

// A graceful stop is nothing to look into, and logs of several nodes are read together.
func TestAGracefulStopLogsNoErrorAndEveryLineNamesItsNode(t *testing.T) {
	for name, count := range map[string]int{"one node": 1, "three nodes": 3} {
		t.Run(name, func(t *testing.T) {
			peers := freeAddresses(t, count)
			nodes := make([]*served, count)
			for i := range nodes {
				nodes[i] = beginServe(t, "--bind-nodes", peers[i], "--nodes", strings.Join(peers, ","), "--log-level", "debug")
			}
			for _, node := range nodes {
				node.awaitReady(t)
			}
			for i, node := range nodes { // one after another, so that the rest sees each go
				node.stop()
				code := <-node.exit
				node.exit <- code
				if code != exitOK {
					t.Errorf("node %d: exit code %d, want %d", i, code, exitOK)
				}
			}
			for i, node := range nodes {
				log := node.errs.String()
				if !strings.Contains(log, "msg=stopped") {
					t.Errorf("node %d has no line of its stop", i)
				}
				for line := range strings.Lines(log) {
					if strings.Contains(line, "level=ERROR") {
						t.Errorf("node %d was stopped in order and says %s", i, line)
					}
					if !strings.Contains(line, " id=") {
						t.Errorf("node %d says without its id: %s", i, line)
					}
				}
			}
		})
	}
}
