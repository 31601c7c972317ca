package client

import (
	"time"

	"github.com/profilenode/profilenode/internal/wire"
)

// watchDoubt tells the game of doubt, and ends sessions when its limit for doubt has run out. Its reports are for
// information only: each call of State or IsActive computes the state afresh.
func (k *leaseKeeper) watchDoubt() {
	c := k.c
	const look = 50 * time.Millisecond
	doubting, doubted := false, false
	looked := time.Now()
	turned := looked // into doubt or out of it
	for wire.SleepUnlessDone(c.life.ctx, look) {
		k.mu.Lock()
		doubt := k.anyInDoubt()
		var lost []*session
		for _, l := range k.allIncarnations() {
			if l.lease.doubtExceeds(c.config.DoubtLimit) {
				lost = append(lost, l.listSessions()...)
			}
		}
		k.mu.Unlock()
		now := time.Now()
		c.counters.addDoubtTime(doubt, doubted, now.Sub(looked))
		doubted, looked = doubt, now
		if doubt != doubting {
			c.handlers.runDoubtHandlers(doubt, now.Sub(turned))
			doubting, turned = doubt, now
		}
		for _, s := range lost {
			s.endOutOfReach()
		}
	}
}

// anyInDoubt says whether sessions may be in doubt. It is called under mu.
func (k *leaseKeeper) anyInDoubt() bool {
	return k.present == nil || len(k.past) > 0 || k.present.lease.isInDoubt()
}

// isInDoubt says whether sessions may be in doubt.
func (k *leaseKeeper) isInDoubt() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.anyInDoubt()
}
