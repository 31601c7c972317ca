package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Release acts as an operator that releases a profile through the leader: it asks the owner to let go, or takes the profile
// from it. It gives up after the limit, and its request may be carried out all the same.
func (w *World) Release(key string, force bool, limit time.Duration) {
	node := w.leadingNode()
	if node == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	nonce := binary.BigEndian.AppendUint64([]byte("operator"), w.Rand.Uint64())
	tool, err := node.Propose(ctx, fsm.NewCommand(nil, &fsm.Register{Name: fmt.Sprintf("operator-%x", nonce[8:]), Kind: 1, Nonce: nonce}))
	if err != nil || tool.Code != fsm.OK {
		return
	}
	request := func(number uint64) *fsm.Request {
		return &fsm.Request{Incarnation: uint64(tool.Token), Number: number, Settled: number - 1, Hash: number, Registration: lock.Registration(nonce)}
	}
	if token, err := readToken(node, key); err == nil && token != 0 {
		w.logFault("release %s, session %d, force %v", key, token, force)
		_, _ = node.Propose(ctx, fsm.NewCommand(request(1), &fsm.ReleaseByOperator{Store: store, Key: key, Token: token, Force: force}))
	}
	_, _ = node.Propose(ctx, fsm.NewCommand(request(2), &fsm.EndServer{})) // else it is silent for a lease
}

func readToken(node *cluster.Node, key string) (uint64, error) {
	view, err := node.View()
	if err != nil {
		return 0, err
	}
	defer view.Close()
	grant, err := view.Grant(store, key)
	return uint64(grant.Token), err
}
