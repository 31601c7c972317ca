//go:build unix

package main

import (
	"bufio"
	"bytes"
	"os"
)

// countInstalls counts, in the nodes' logs, the snapshots that a node got from another, and those that it took itself.
func (c *nodeCluster) countInstalls() (installed, taken int) {
	for _, n := range c.nodes {
		file, err := os.Open(n.Log)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if bytes.Contains(lines.Bytes(), []byte("Installed remote snapshot")) {
				installed++
			}
			if bytes.Contains(lines.Bytes(), []byte("snapshot complete up to")) {
				taken++
			}
		}
		file.Close()
	}
	return installed, taken
}
