package cluster

import (
	"context"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/cluster/internal/raftlog"
	"github.com/profilenode/profilenode/fsm"
)

// ApplyBehind applies a command to this node's tables alone, as if its next entry were another one than the others'. It
// is for when nothing else is applied.
func (n *Node) ApplyBehind(c *fsm.Command) error {
	position := n.tables.Position()
	entry, err := fsm.Encode(position.Level, position.Cluster, position.StampMS, []*fsm.Command{c})
	if err != nil {
		return err
	}
	_, err = n.tables.ApplyEntries([]fsm.Log{{Index: position.Index + 1, Term: position.Term, Data: entry}})
	return err
}

// TransferTo hands the lead to one node.
func (n *Node) TransferTo(ctx context.Context, to *Node) error {
	f := n.raftIfRunning().LeadershipTransferToServer(raft.ServerID(to.ID()), peerwire.RaftAddress(to.ID(), to.port.Advertised()))
	return n.lifecycle.waitForFuture(ctx, f)
}

// LogHolds is how many entries this node's log holds, and their bytes.
func (n *Node) LogHolds() (entries, bytes uint64) {
	s := n.storage.Log.LogStore.(*raftlog.Store)
	first, last := s.IndexBounds()
	return last - first + 1, s.BytesAfter(0)
}

// SaysHello is what this node tells whoever asks of its cluster.
func (n *Node) SaysHello() (member bool, cluster string) {
	h := n.membership.answerHello(peerwire.HelloQuestion{})
	return h.Member, h.Cluster
}
