// Package nodeproc runs profilenode nodes as processes: for profilenode dev, for bench, for the crash runs and for tests.
//
// [Build] makes the program, [NewCluster] prepares nodes on loopback, and a [Node] is started, awaited, paused, stopped and
// killed. Other addresses, folders or network namespaces are set in a Node's fields before its start.
//
// A [Guard] keeps a state of the machine, such as a frozen disk, no longer than this process lives.
//
// A node's process ends with the process that started it, however that one ends: the node's stdin is a pipe that only its
// parent holds, and it serves with --exit-with-stdin. A paused node cannot see that. It leads a process group of its own,
// which the kernel continues when the parent's death orphans it.
package nodeproc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build compiles profilenode from the sources of the module that this process runs in, and returns the program's path.
func Build(ctx context.Context, dir string) (program string, err error) {
	program = filepath.Join(dir, "profilenode")
	// Without version control: a source tree without its repository builds, too.
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", program, "github.com/profilenode/profilenode/cmd/profilenode")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build profilenode: %w\n%s", err, out)
	}
	return program, nil
}

// Ports are chosen below those that systems give to outgoing connections (from 32768 on Linux, from 49152 elsewhere). One of those
// could be taken by any connection of another test before its node starts, or while its node is down between two starts.
const (
	lowestPort = 20_000
	portCount  = 12_000
	portTries  = 1000 // at random
)

// FreeAddresses are loopback addresses whose TCP ports were free a moment ago. All of them are held until the last is
// found, so they differ.
func FreeAddresses(count int) ([]string, error) {
	addresses := make([]string, 0, count)
	var last error
	for range portTries {
		if len(addresses) == count {
			return addresses, nil
		}
		port, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowestPort+rand.IntN(portCount)))
		if err != nil {
			last = err
			continue
		}
		defer port.Close()
		addresses = append(addresses, port.Addr().String())
	}
	return nil, fmt.Errorf("find %d free ports: %w", count, last)
}

// keepAddresses returns the addresses that the nodes of this folder had before, since a cluster knows its members by
// them. If there were none, it chooses free ones and keeps them in the folder. There are two for each node.
func keepAddresses(dir string, count int) ([]string, error) {
	file := filepath.Join(dir, "addresses")
	text, err := os.ReadFile(file)
	if err == nil {
		kept := strings.Fields(string(text))
		if len(kept) != 2*count {
			return nil, fmt.Errorf("%s is of %d nodes, not %d: give the folder's own number, or another folder", dir, len(kept)/2, count)
		}
		return kept, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	free, err := FreeAddresses(2 * count)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return free, os.WriteFile(file, []byte(strings.Join(free, "\n")+"\n"), 0o600)
}
