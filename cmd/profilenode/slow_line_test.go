package main

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// slowLine is a proxy before a node, over which its answers come at so many bytes a second. It returns its address.
func slowLine(t *testing.T, node string, rate int) string {
	t.Helper()
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = port.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			here, err := port.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", node)
			if err != nil {
				_ = here.Close()
				continue
			}
			serving.Go(func() {
				_, _ = io.Copy(there, here)
				_ = there.Close()
			})
			serving.Go(func() {
				defer here.Close()
				const piece = 4 << 10
				for {
					if _, err := io.CopyN(here, there, piece); err != nil {
						return
					}
					time.Sleep(piece * time.Second / time.Duration(rate))
				}
			})
		}
	})
	return port.Addr().String()
}

func TestALargeProfileComesOverASlowLine(t *testing.T) {
	s := serveOne(t)
	const size = 700 << 10
	data := `{"text":"` + strings.Repeat("x", size) + `"}`
	s.ask(t, data, "set", "players", "alice", "-").want(t, exitOK, "revision 1")

	slow := &served{clients: slowLine(t, s.clients, 280<<10)}
	began := time.Now()
	if got := slow.ask(t, "", "get", "players", "alice", "--timeout", "1s"); got.code != exitOK || got.out != data {
		t.Errorf("got exit code %d, %d bytes of %d and %s", got.code, len(got.out), len(data), got.errs)
	}
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("it took %v only: the line was not slow", took)
	}
}
