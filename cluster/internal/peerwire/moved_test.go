package peerwire

import (
	"io"
	"testing"
)

// A node that has moved is dialed where it is, under its process alone, and its connections end when it is no longer reached
// there.
func TestAMovedNodeIsDialedByItsProcess(t *testing.T) {
	a, b := loopback(t, "a", "c1"), loopback(t, "b", "c1")
	frame := openingFrame{kind: kindPeer, cluster: "c1", target: "b"}
	const configured = "127.0.0.1:1"
	if _, err := a.dialNode(t.Context(), configured, frame); err == nil {
		t.Fatal("its configured address answers")
	}
	ask := func(process string) error {
		a.SetMoved(map[string]Place{"b": {Address: b.Advertised(), ProcessID: process}})
		c := a.ConnTo(configured, "b")
		defer c.Close()
		_, err := c.AskHello(t.Context(), HelloQuestion{})
		return err
	}
	if err := ask("process of b"); err != nil {
		t.Errorf("the process that answered: %v", err)
	}
	if err := ask("another"); err == nil {
		t.Error("another process at the same address is taken for it")
	}
	a.SetMoved(map[string]Place{"b": {Address: b.Advertised(), ProcessID: "process of b"}})
	c, err := a.dialNode(t.Context(), configured, frame)
	if err != nil {
		t.Fatal(err)
	}
	a.SetMoved(nil)
	if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
		t.Error("its connection lives on")
	}
	if len(a.moved.conns) > 0 {
		t.Errorf("%d connections are still recorded", len(a.moved.conns))
	}
}
