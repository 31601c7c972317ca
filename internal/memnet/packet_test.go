package memnet_test

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/internal/memnet"
)

func listenPacket(t *testing.T, n *memnet.Network, host string) net.PacketConn {
	t.Helper()
	p, err := n.Host(host).ListenPacket("udp", net.JoinHostPort(host, "7402"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A packet over a cut link is lost, one over a slow link is late, and one to a machine without a port goes nowhere.
func TestPacketsAreLostAndLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		a, b := listenPacket(t, n, "127.0.0.1"), listenPacket(t, n, "127.0.0.2")
		send := func(text string) {
			t.Helper()
			if sent, err := a.WriteTo([]byte(text), b.LocalAddr()); err != nil || sent != len(text) {
				t.Errorf("send %q: %d, %v", text, sent, err)
			}
		}
		n.CutOneWay("127.0.0.1", "127.0.0.2")
		send("over a cut link")
		n.Heal("127.0.0.1", "127.0.0.2")
		n.Unplug("127.0.0.2")
		send("to a host without a cable")
		n.Plug("127.0.0.2")
		n.Delay("127.0.0.1", "127.0.0.2", time.Second)
		began := time.Now()
		send("late")
		buffer := make([]byte, 100)
		got, from, err := b.ReadFrom(buffer)
		if err != nil || string(buffer[:got]) != "late" || from.String() != a.LocalAddr().String() {
			t.Errorf("received %q from %v, %v, want the late one alone", buffer[:got], from, err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("it arrived after %v, want a second", took)
		}
		n.Crash("127.0.0.2")
		if _, _, err := b.ReadFrom(buffer); err == nil {
			t.Error("a crashed machine still reads packets")
		}
		send("to a machine that is gone")
	})
}
