package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/internal/clienthooks"
	"github.com/profilenode/profilenode/lock"
)

// ask returns the incarnation that a ping port names, or the error of the connection.
func ask(t *testing.T, port string) (lock.Incarnation, error) {
	t.Helper()
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", port)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	said, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	inc, ok := lock.ReadPing(said)
	if !ok {
		t.Fatalf("the ping port says %q", said)
	}
	return inc, nil
}

// pinging returns a town that keeps the ping ports that it is told of.
func pinging(t *testing.T) (town *town, config client.Config, told func() []string) {
	t.Helper()
	town = newTown(t, "a:1", "b:1")
	var mu sync.Mutex
	var ports []string
	town.Before = func(_, method string, request proto.Message) error {
		if q, ok := request.(*profilev1.RegisterRequest); ok && method == "Register" {
			mu.Lock()
			defer mu.Unlock()
			ports = append(ports, q.Ping)
		}
		return nil
	}
	config = town.config("gs")
	clienthooks.Of(&config).ListenPing = func(_ context.Context, node string) (net.Listener, error) {
		if !slices.Contains(town.Addresses(), node) {
			t.Errorf("the port is made beside the way to %q, which is no node", node)
		}
		return net.Listen("tcp", "127.0.0.1:0")
	}
	return town, config, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), ports...)
	}
}

func (town *town) alive() lock.Incarnation { return town.Alive("gs") }

func TestPingPortNamesThePresentIncarnation(t *testing.T) {
	town, config, told := pinging(t)
	c := town.open(t, config)
	port := told()[0]
	first := town.alive()
	if got, err := ask(t, port); err != nil || got != first {
		t.Fatalf("the ping port names %d, %v, want %d", got, err, first)
	}

	town.Expire(first)
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got, err := ask(t, port)
		if err != nil {
			t.Fatalf("the port is not held over a new registration: %v", err)
		}
		if now := town.alive(); now != 0 && got == now {
			break
		}
		if got != first && got != 0 && got != town.alive() {
			t.Fatalf("the ping port names %d, which is no incarnation", got)
		}
		if time.Now().After(until) {
			t.Fatalf("the ping port names %d, want the new incarnation %d", got, town.alive())
		}
	}
	for _, other := range told() {
		if other != port {
			t.Errorf("a registration named the port %s, want %s at each", other, port)
		}
	}

	// It is given up last: the goodbye still finds it held.
	town.Set(func() {
		town.Before = func(_, method string, _ proto.Message) error {
			if method == "EndServer" {
				if _, err := ask(t, port); err != nil {
					t.Errorf("at the goodbye the port is not held any more: %v", err)
				}
			}
			return nil
		}
	})
	if err := c.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if town.Count("EndServer") == 0 {
		t.Error("there was no goodbye")
	}
	if _, err := ask(t, port); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after Close the port says %v, want that it refuses", err)
	}
}

// A crowd at the port, or a silent connection, keeps no prober from an answer.
func TestPingPortAnswersInACrowd(t *testing.T) {
	town, config, told := pinging(t)
	town.open(t, config)
	port := told()[0]
	for range 50 {
		c, err := net.Dial("tcp", port)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	began := time.Now()
	if got, err := ask(t, port); err != nil || got != town.alive() {
		t.Errorf("the ping port names %d, %v, want %d", got, err, town.alive())
	}
	if passed := time.Since(began); passed > time.Second {
		t.Errorf("an answer took %v", passed)
	}
}

func TestNoPingPort(t *testing.T) {
	none := map[string]func(c *client.Config){
		"switched off":         func(c *client.Config) { c.NoPing = true },
		"with a Dial of one's": func(c *client.Config) { clienthooks.Of(c).ListenPing = nil },
		"none can be had": func(c *client.Config) {
			clienthooks.Of(c).ListenPing = func(context.Context, string) (net.Listener, error) { return nil, errors.New("no port is left") }
		},
	}
	for name, change := range none {
		t.Run(name, func(t *testing.T) {
			town, config, told := pinging(t)
			change(&config)
			town.open(t, config)
			for _, port := range told() {
				if port != "" {
					t.Errorf("a registration names the ping port %q, want none", port)
				}
			}
		})
	}
}

// The default port is beside the way to the node, and no other process follows on it at once.
func TestListenBeside(t *testing.T) {
	node, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	l, err := client.ListenBeside(t.Context(), node.Addr().String(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if host, _, _ := net.SplitHostPort(l.Addr().String()); host != "127.0.0.1" {
		t.Errorf("it listens on %s, want 127.0.0.1", l.Addr())
	}
	if reuse := reuseOf(t, l.(*net.TCPListener)); reuse {
		t.Error("the address may be reused")
	}
	_ = node.Close()
	if l, err := client.ListenBeside(t.Context(), node.Addr().String(), 0); err == nil {
		_ = l.Close()
		t.Error("it listens beside the way to a node that is not there")
	}
}
