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
	"github.com/profilenode/profilenode/fsm"
)

const (
	comparePeriod         = time.Second // the compared index is one period old, so that the other nodes have applied it too
	unusableTransferLimit = 2 * time.Second

	rangeBytes    = 8 << 20         // bytes of rows that are compared at a time
	rangePause    = 5 * time.Second // between two ranges: with it a leader uses about one percent of a core, and compares 130 GB in a day
	rangeWait     = 2 * time.Minute // how long a leader waits for the sums of the other nodes
	passPeriod    = 24 * time.Hour  // from the beginning of one pass through all rows to that of the next
	scrubAfter    = time.Minute     // after a leadership has begun; a change of leader has other work first
	shownKeyBytes = 40              // of a key in an alarm, whose text is limited
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

// compareRanges has all nodes compare the rows of their tables, a range at a time and all of them once a day, for one leadership. A
// node whose rows differ is not stopped: an operator decides, since no row says which node is right.
func (l *leaderState) compareRanges() {
	pause := time.NewTimer(scrubAfter)
	defer pause.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-pause.C:
		}
		if err := l.compareNextRange(); err != nil && l.ctx.Err() == nil {
			l.node.log.Warn("compare the rows of the nodes", "error", err)
		}
		pause.Reset(rangePause)
	}
}

// compareNextRange compares the next range of rows, if a pass is under way or due.
func (l *leaderState) compareNextRange() error {
	view, err := l.node.tables.OpenView()
	if err != nil {
		return err
	}
	defer func() { _ = view.Close() }()
	at, err := view.Comparison()
	if err != nil {
		return err
	}
	now, ok := l.clock.peekTimestamp()
	if ran := time.Duration(now-at.StartedMS) * time.Millisecond; !ok || len(at.Next) == 0 && at.StartedMS > 0 && ran < passPeriod {
		return nil
	}
	to, err := view.FindRangeEnd(at.Next, rangeBytes)
	if err != nil {
		return err
	}
	result, err := l.queue.proposeAndWait(l.ctx, fsm.NewCommand(nil, &fsm.CompareRange{From: at.Next, To: to}))
	if err != nil || result.Code != fsm.OK {
		return err // superseded: the leader before had it compared
	}
	sums := l.gatherSums(result.Index)
	if text := describeSums(sums, result.Index, at.Next, to); text != "" {
		l.node.log.Error(text, "code", "ROWS_DIFFER")
		_, err = l.proposePatiently(l.ctx, fsm.NewCommand(nil, &fsm.RaiseAlarm{Code: string(AlarmRowsDiffer), Text: text}))
	}
	return err
}

// gatherSums returns the sums of the rows after an entry, by node id, once every node that answers has one, or after rangeWait.
func (l *leaderState) gatherSums(index uint64) map[string]uint64 {
	for until := time.Now().Add(rangeWait); ; {
		round, ok := l.node.membership.hellos.AwaitRound(l.ctx)
		sums := map[string]uint64{}
		if !ok {
			return sums
		}
		for id, h := range round.Members {
			if h.ScrubbedAt == index {
				sums[id] = h.ScrubSum
			}
		}
		if len(sums) == len(round.Members) || time.Now().After(until) {
			return sums
		}
	}
}

// describeSums returns the text of an alarm about rows that differ, "" if they do not.
func describeSums(sums map[string]uint64, index uint64, from, to []byte) string {
	distinct := map[uint64]bool{}
	var each []string
	for id, sum := range sums {
		distinct[sum] = true
		each = append(each, fmt.Sprintf("%s has %016x", id, sum))
	}
	if len(distinct) < 2 {
		return ""
	}
	slices.Sort(each)
	return fmt.Sprintf("the rows of the nodes with keys from %s to %s differ after entry %d, although they were written alike (%s): "+
		"stop the odd node, keep its data folder, and start it with an empty one; if none is odd, keep every folder and compare them",
		showKey(from, "the first"), showKey(to, "the last"), index, strings.Join(each, ", "))
}

func showKey(key []byte, empty string) string {
	if len(key) == 0 {
		return empty
	}
	return fmt.Sprintf("%q", key[:min(len(key), shownKeyBytes)])
}
