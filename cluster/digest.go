package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/cluster/internal/tables"
)

const (
	comparePeriod         = time.Second // the compared index is one period old, so that the other nodes have applied it too
	unusableTransferLimit = 2 * time.Second
)

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

// digestComparison compares the digests of this node's tables with those of the other voters, which come from the same
// log. A node draws conclusions about itself only. Its fields but alarm are used by one goroutine.
type digestComparison struct {
	digests *tables.Digests
	alarm   atomic.Pointer[string] // how the nodes' tables differ; nil: no difference is known

	chosen   uint64    // index that is compared once it is comparePeriod old
	chosenAt time.Time // when it was chosen
	asked    uint64    // index that the round under way asks for; 0: none
	ours     uint64    // this node's digest there
	settled  uint64    // the last index at which all voters were equal
}

// chooseIndex returns the index for which the next round asks; 0: none.
func (d *digestComparison) chooseIndex(now time.Time) uint64 {
	d.asked = 0
	if now.Sub(d.chosenAt) < comparePeriod {
		return 0
	}
	index := d.chosen
	d.chosen, d.chosenAt = d.digests.LastIndex(), now
	if ours, ok := d.digests.At(index); ok && index != d.settled {
		d.asked, d.ours = index, ours
	}
	return d.asked
}

// compareRound compares the digests of one round. index is that of the compared entry; 0: none was asked for.
func (d *digestComparison) compareRound(round *peerwire.HelloRound) (found digestFinding, index uint64) {
	if d.asked == 0 {
		return digestsUncompared, 0
	}
	var voters []string
	digests := map[string]uint64{round.Own.ID: d.ours}
	for _, s := range round.Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		id := string(s.ID)
		voters = append(voters, id)
		// A node without a digest is down, has not applied the entry yet, or has forgotten its digest.
		if h := round.Members[id]; h.DigestAt == d.asked {
			digests[id] = h.Digest
		}
	}
	found = classifyDigests(round.Own.ID, voters, digests)
	d.noteFinding(found, d.asked, digests)
	if found == digestsEqual && len(digests) >= len(voters) {
		d.settled = d.asked
	}
	return found, d.asked
}

// noteFinding raises or ends the alarm. A comparison with no other digest changes neither.
func (d *digestComparison) noteFinding(found digestFinding, index uint64, answers map[string]uint64) {
	switch found {
	case digestsUncompared, ownDigestDiffers:
		return
	case digestsEqual:
		d.alarm.Store(nil)
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
	d.alarm.Store(&alarm)
}
