//go:build unix

package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/internal/nodeproc"
)

// A node that may open few files serves on while a client opens connections without end: its own files have a reserve. This is
// not taken for a fault of its disk.
func TestANodeWithFewOpenFilesServesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process")
	}
	c, err := nodeproc.NewCluster(buildProgram(t), t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	node := c.Nodes[0]
	node.Log = node.Folder + ".log"
	node.StartIn = func(command *exec.Cmd) error {
		command.Args = append([]string{"sh", "-c", `ulimit -n 200; exec "$0" "$@"`}, command.Args...)
		command.Path = "/bin/sh"
		return command.Start()
	}
	t.Cleanup(func() { _ = c.Kill() })
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	address := node.Addresses.Clients
	p := startPlaying(ctx, t, address, "before")

	var flood []net.Conn
	closeFlood := func() {
		for _, conn := range flood {
			_ = conn.Close()
		}
		flood = nil
	}
	defer closeFlood()
	for i := range 600 {
		if conn, err := new(net.Dialer).DialContext(ctx, "tcp", address); err == nil {
			// An HTTP/2 client that says nothing more stays connected; the node closes one that says nothing at all.
			_, _ = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
			flood = append(flood, conn)
		}
		if i%20 != 0 {
			continue
		}
		if err := p.Update(func(data *map[string]int) { (*data)["saves"]++ }); err != nil {
			t.Fatal(err)
		}
		if err := p.Save(ctx); err != nil {
			t.Fatalf("save beside %d connections: %v", len(flood), err)
		}
	}
	closeFlood()
	startPlaying(ctx, t, address, "after")
	said, err := os.ReadFile(node.Log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(said), "CONNECTIONS_REFUSED") {
		t.Error("no connection was refused: the test shows nothing")
	}
	for _, bad := range []string{"too many open files", "DISK_", "STOPS"} {
		if strings.Contains(string(said), bad) {
			t.Errorf("the log says %q:\n%s", bad, said)
		}
	}
}

// startPlaying registers a game server, and opens a session on a profile of its name.
func startPlaying(ctx context.Context, t *testing.T, address, name string) *client.Profile[map[string]int] {
	t.Helper()
	c, err := client.Open(ctx, client.Config{Seeds: []string{address}, Name: name, Autosave: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Shutdown(ctx)
	})
	store, err := client.NewStore(c, "players", map[string]int{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := store.StartSession(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
