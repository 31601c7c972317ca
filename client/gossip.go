package client

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Gossip lets a game server take part in the gossip by which nodes detect lost hosts. gossip.ServerConfig implements it.
type Gossip interface {
	// Join takes part as one incarnation, until leave is called. cluster is the cluster's id; seeds gives, whenever it is
	// asked, where the nodes take part. It must not wait for the network; leave may, within its context.
	Join(cluster []byte, incarnation uint64, seeds func() []string, log *slog.Logger) (leave func(context.Context) error, err error)
}

const (
	gossipLeave    = time.Second // for telling the other members; a member that does not hear it finds the name dead
	gossipPause    = time.Second // after a first failure to take part
	gossipPauseMax = 30 * time.Second
)

// gossipPool is where the nodes gossip with game servers, as they last said.
type gossipPool struct {
	mu    sync.Mutex
	seeds []string
	known chan struct{} // closed once there are any
}

func (r *gossipPool) learnSeeds(seeds []string) {
	if len(seeds) == 0 {
		return // an older node, or one that has not heard of the others yet
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seeds) == 0 {
		close(r.known)
	}
	r.seeds = slices.Clone(seeds)
}

func (r *gossipPool) listSeeds() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seeds)
}

// gossipUntilClosed takes part as one incarnation after the other, until nothing else of the client runs. It leaves only
// then, since a host may also be lost while the last saves are on their way.
func (c *Client) gossipUntilClosed() {
	select {
	case <-c.gossipSeeds.known:
	case <-c.life.ctx.Done():
		return
	}
	for {
		l, err := c.keeper.awaitIncarnation(c.life.ctx, "gossip", Ref{})
		if err != nil {
			return
		}
		leave := c.joinGossip(l)
		if leave == nil {
			continue
		}
		select {
		case <-l.over:
		case <-c.life.ctx.Done():
		}
		ctx, cancel := context.WithTimeout(context.Background(), gossipLeave)
		if err := leave(ctx); err != nil {
			c.config.Log.Debug("leave gossip", "error", err)
		}
		cancel()
	}
}

// joinGossip tries until it does; nil: the incarnation or the client is over.
func (c *Client) joinGossip(l *incarnation) (leave func(context.Context) error) {
	cluster := slices.Clone(l.of.id)
	for wait := gossipPause; ; wait = min(2*wait, gossipPauseMax) {
		if isClosed(l.over) || c.life.ctx.Err() != nil {
			return nil
		}
		leave, err := c.config.Gossip.Join(cluster, l.id, c.gossipSeeds.listSeeds, c.config.Log)
		if err == nil {
			return leave
		}
		c.config.Log.Warn("no gossip: the loss of this host would be noticed later", "error", err, "again_in", wait)
		again := time.NewTimer(wait)
		select {
		case <-again.C:
		case <-l.over:
		case <-c.life.ctx.Done():
		}
		again.Stop()
	}
}
