package memnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/internal/memnet"
)

// pair is a connection from a to b.
func pair(t *testing.T, n *memnet.Network) (a, b net.Conn) {
	t.Helper()
	l, err := n.Host("b").Listen("tcp", "b:1")
	if err != nil {
		t.Fatal(err)
	}
	if a, err = n.Host("a").Dial(context.Background(), "tcp", "b:1"); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// Where a write is refused, a read that waits must end too, whatever is still on its way.
func TestAResetEndsBothDirections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		a, b := pair(t, n)
		n.Delay("b", "a", time.Hour)
		if _, err := b.Write([]byte("late")); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() {
			_, err := a.Read(make([]byte, 10))
			read <- err
		}()
		synctest.Wait()
		_ = b.Close()
		synctest.Wait()
		select {
		case err := <-read:
			t.Fatalf("the read ended before what was sent before the close: %v", err)
		default:
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Fatalf("a write to a closed peer: %v, want EPIPE", err)
		}
		synctest.Wait()
		select {
		case err := <-read:
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the read ended with %v, want ECONNRESET", err)
			}
		default:
			t.Error("the write was refused, and the read waits still")
		}
		_ = a.Close()
	})
}

// What arrived before a reset can still be read, and an end without one is an end.
func TestWhatArrivedIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		a, b := pair(t, n)
		if _, err := b.Write([]byte("early")); err != nil {
			t.Fatal(err)
		}
		_ = b.Close()
		got, err := io.ReadAll(a)
		if err != nil || string(got) != "early" {
			t.Errorf("read %q, %v, want all that was sent and no error", got, err)
		}
		_ = a.Close()
	})
}
