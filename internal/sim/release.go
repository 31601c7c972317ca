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
	o, ok := registerOperator(ctx, node, binary.BigEndian.AppendUint64([]byte("operator"), w.Rand.Uint64()))
	if !ok {
		return
	}
	if token, err := readToken(node, key); err == nil && token != 0 {
		w.logFault("release %s, session %d, force %v", key, token, force)
		o.propose(ctx, &fsm.ReleaseByOperator{Store: store, Key: key, Token: token, Force: force})
	}
	o.propose(ctx, &fsm.EndServer{}) // else it is silent for a lease
}

// operator is a tool that proposes its requests through one node. It settles none, so they may be repeated.
type operator struct {
	node                              *cluster.Node
	incarnation, registration, number uint64 // the number is its last request's
}

// registerOperator registers a tool; again with the same nonce it is the same one.
func registerOperator(ctx context.Context, node *cluster.Node, nonce []byte) (*operator, bool) {
	tool, err := node.Propose(ctx, fsm.NewCommand(nil, &fsm.Register{Name: fmt.Sprintf("operator-%x", nonce[8:]), Kind: 1, Nonce: nonce}))
	return &operator{node, uint64(tool.Token), lock.Registration(nonce), 0}, err == nil && tool.Code == fsm.OK
}

// propose proposes the next request. It returns whether that was carried out.
func (o *operator) propose(ctx context.Context, act any) bool {
	o.number++
	result, err := o.node.Propose(ctx, fsm.NewCommand(&fsm.Request{
		Incarnation: o.incarnation, Number: o.number, Hash: o.number, Registration: o.registration,
	}, act))
	return err == nil && result.Code == fsm.OK
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
