package server_test

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
	"github.com/profilenode/profilenode/internal/server/servertest"
	"github.com/profilenode/profilenode/lock"
)

var fakeCluster = bytes.Repeat([]byte{7}, 16)

type fakeNode = servertest.Node

func newFake(t testing.TB, hub *server.Hub) *fakeNode { return newFakeOf(t, hub, fakeCluster) }

// newFakeOf is a node of a cluster, or of none yet.
func newFakeOf(t testing.TB, hub *server.Hub, cluster []byte) *fakeNode {
	t.Helper()
	return servertest.NewNode(t, servertest.NewLog(t, cluster), hub, "127.0.0.1:7400")
}

// answering is a node whose log answers every command in one way.
type answering struct {
	*fakeNode
	answer fsm.Result
}

func (n answering) Propose(context.Context, *fsm.Command) (fsm.Result, error) { return n.answer, nil }

func lockID(id uint64) lock.Incarnation { return lock.Incarnation(id) }

// blindNode cannot read its tables until it sees.
type blindNode struct {
	*fakeNode
	sees atomic.Bool
}

func (n *blindNode) View() (*server.View, error) {
	if !n.sees.Load() {
		return nil, cluster.ErrClosed
	}
	return n.fakeNode.View()
}
