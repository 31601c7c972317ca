package client

import (
	"bytes"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
)

// toldIndex is the highest index of the log that any node told this client of under one cluster id and epoch. A told index
// is committed, so a cluster has been rolled back if its log ends before it. It outlives registrations; a new epoch, in
// which indexes begin elsewhere, begins a new one. An answer counts for the one that was present when its request was sent,
// so a late answer of an older epoch never counts for a newer one.
type toldIndex struct {
	cluster []byte
	epoch   uint64
	index   atomic.Uint64
}

// noteIndex takes an index that a node told.
func (t *toldIndex) noteIndex(index uint64) {
	for {
		was := t.index.Load()
		if index <= was || t.index.CompareAndSwap(was, index) {
			return
		}
	}
}

func (t *toldIndex) highestIndex() uint64 { return t.index.Load() }

// noteHeader reads the index from an answer's reply header, where it has one.
func (t *toldIndex) noteHeader(answer proto.Message) {
	if headed, ok := answer.(interface{ GetHeader() *profilev1.ReplyHeader }); ok {
		t.noteIndex(headed.GetHeader().GetIndex())
	}
}

// toldIndexFor is the one of a cluster and epoch; it begins a new one if either is not the present one's.
func (k *clusterLink) toldIndexFor(cluster []byte, epoch uint64) *toldIndex {
	now := k.told.Load()
	if now.epoch == epoch && bytes.Equal(now.cluster, cluster) {
		return now
	}
	next := &toldIndex{cluster: cluster, epoch: epoch}
	k.told.Store(next)
	return next
}
