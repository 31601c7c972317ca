package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

const (
	digestsKept            = 1 << 14     // entries with a remembered digest: some seconds of the fastest log
	comparePeriod          = time.Second // the compared index is one period old, so that the other nodes have applied it too
	condemnedTransferLimit = 2 * time.Second
)

// digests holds the digests of this node's tables after each of the last entries. Every entry is kept, since nodes divide
// the log into batches differently.
type digests struct {
	mu     sync.Mutex
	ring   [digestsKept]struct{ index, digest uint64 } // the entry at an index is at that index modulo digestsKept
	newest uint64
}

func (d *digests) addDigest(index, digest uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := &d.ring[index%digestsKept]
	k.index, k.digest = index, digest
	d.newest = max(d.newest, index)
}

// resetTo forgets all digests, because the tables were replaced, and adds that of the new tables.
func (d *digests) resetTo(index, digest uint64) {
	d.mu.Lock()
	clear(d.ring[:])
	d.newest = 0
	d.mu.Unlock()
	if index > 0 {
		d.addDigest(index, digest)
	}
}

// digestAt returns the digest after an entry. ok is false if the entry is not applied here, holds no commands, or is too
// old.
func (d *digests) digestAt(index uint64) (digest uint64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.ring[index%digestsKept]
	if k.index != index || index == 0 {
		return 0, false
	}
	return k.digest, true
}

func (d *digests) lastIndex() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.newest
}

// digestFinding is a node's conclusion from all voters' digests at one index.
type digestFinding uint8

const (
	digestsUncompared digestFinding = iota // no other node gave a digest
	digestsEqual
	otherDigestDiffers // another node differs from the majority: it finds that out itself
	ownDigestDiffers   // a majority of the voters has one digest, and this node's is another
	noDigestMajority   // digests differ and none has a majority: it is not known which tables are right
)

// classifyDigests compares digests by node id. answers holds the digest of each voter that answered and this node's own,
// even if it is no voter.
func classifyDigests(self string, voters []string, answers map[string]uint64) digestFinding {
	if len(answers) < 2 {
		return digestsUncompared
	}
	counts, distinct := map[uint64]int{}, map[uint64]bool{}
	for id, digest := range answers {
		distinct[digest] = true
		if slices.Contains(voters, id) {
			counts[digest]++
		}
	}
	if len(distinct) == 1 {
		return digestsEqual
	}
	for digest, count := range counts {
		if count < len(voters)/2+1 {
			continue
		}
		if answers[self] == digest {
			return otherDigestDiffers
		}
		return ownDigestDiffers
	}
	return noDigestMajority
}

// compareDigests checks periodically that this node's tables equal those of the other voters, which come from the same
// log. A node draws conclusions about itself only: no node stops because another one says that it differs.
func (n *Node) compareDigests() {
	asking := nodeConns{}
	defer asking.close()
	tick := time.NewTicker(comparePeriod)
	defer tick.Stop()
	var chosen, settled uint64
	for {
		select {
		case <-n.closing:
			return
		case <-tick.C:
		}
		r := n.raftIfRunning()
		if r == nil {
			continue
		}
		index := chosen
		chosen = n.replica.digests.lastIndex()
		ours, ok := n.replica.digests.digestAt(index)
		if !ok || index == settled {
			continue
		}
		voters, answers := n.askDigests(r, asking, index)
		answers[n.ID()] = ours
		found := classifyDigests(n.ID(), voters, answers)
		if found == ownDigestDiffers {
			n.markFolderUnusable(index)
			return
		}
		n.noteDigests(found, index, answers)
		if found == digestsEqual && len(answers) >= len(voters) {
			settled = index
		}
	}
}

// askDigests asks the other voters for the digest of their tables after one entry.
func (n *Node) askDigests(r *raft.Raft, asking nodeConns, index uint64) (voters []string, answers map[string]uint64) {
	ctx, cancel := context.WithTimeout(n.ctx, helloTimeout)
	defer cancel()
	servers := r.GetConfiguration().Configuration().Servers
	servers = slices.DeleteFunc(slices.Clone(servers), func(s raft.Server) bool { return s.Suffrage != raft.Voter })
	for _, s := range servers {
		voters = append(voters, string(s.ID))
	}
	answers = map[string]uint64{}
	var mu sync.Mutex
	asking.askEach(n, servers, func(s raft.Server, a *peerwire.Conn) {
		digest, err := a.AskDigest(ctx, index)
		if err != nil {
			return // it is down, has not applied the entry yet, or has forgotten its digest
		}
		mu.Lock()
		defer mu.Unlock()
		answers[string(s.ID)] = digest
	})
	return voters, answers
}

// noteDigests raises or ends the alarm. A comparison with no other digest changes neither.
func (n *Node) noteDigests(found digestFinding, index uint64, answers map[string]uint64) {
	if found == digestsUncompared {
		return
	}
	if found == digestsEqual {
		n.digestAlarm.Store(nil)
		return
	}
	var each []string
	for id, digest := range answers {
		each = append(each, fmt.Sprintf("%s has %016x", id, digest))
	}
	slices.Sort(each)
	alarm := fmt.Sprintf("the tables of the nodes differ after entry %d (%s): ", index, strings.Join(each, ", "))
	if found == noDigestMajority {
		alarm += "no majority agrees, so it is not known which is right; stop the game servers, keep every data folder, and compare them"
	} else {
		alarm += "the odd one stops by itself; if it does not, stop it, empty its data folder and start it again"
	}
	n.digestAlarm.Store(&alarm)
}

// markFolderUnusable stops this node for good, because its tables differ from the majority's. The reason is written to
// node.json first, so that no start after a crash serves these tables again.
func (n *Node) markFolderUnusable(index uint64) {
	own := n.currentIdentity()
	own.UnusableReason = fmt.Sprintf("after entry %d its tables differed from those of a majority of the voters", index)
	if err := n.takeIdentity(own); err != nil {
		n.log.Error("mark the data folder as unusable", "error", err)
	}
	if n.leaderStateNow() != nil {
		hand, cancel := context.WithTimeout(n.ctx, condemnedTransferLimit)
		defer cancel()
		if err := n.transferLeadership(hand); err != nil {
			n.log.Warn("hand the lead over", "error", err)
		}
	}
	n.fail(errFolderUnusable(n.folder.dir, own.UnusableReason))
}

// errFolderUnusable is the error with which a node with wrong tables stops, and with which its folder is refused at every
// later start. Right tables come only from another node, to a new id: the old id may have acknowledged entries on the
// basis of the wrong ones.
func errFolderUnusable(dir, why string) error {
	return fmt.Errorf("%w: data folder %s is condemned: %s; empty the folder and start it again, and it joins under a new id and gets its tables from the other nodes", ErrFailed, dir, why)
}
