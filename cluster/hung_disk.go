package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/datafolder"
	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

// A disk that hangs makes the node not ready within 2 s, also an idle one: hangNoticed, hangPeriod and probePeriod together.
const (
	hangNoticed     = 1250 * time.Millisecond // an operation of the disk that takes longer makes the node not ready
	hangPeriod      = 100 * time.Millisecond  // how often the running operations are looked at
	probePeriod     = 400 * time.Millisecond  // of writes to a disk that is otherwise idle
	hangRepeatPause = 2 * time.Second         // between two attempts of a leader to give up its leadership
)

// ErrDiskHangs is in the error of a node that stopped because its disk does not answer.
var ErrDiskHangs = errors.New("the disk does not answer")

// hungDisk notices a disk that hangs: an operation neither returns nor fails. Raft does not: the heartbeats of a leader go
// on while nothing commits, so no other node takes over.
//
// A leader whose disk hangs gives up its leadership, but only while enough other voters to elect one of them have just
// said that their disks work. Otherwise, as where one storage stall is under all disks or another node restarts, giving up
// would make an outage longer than the stall: then the leader raises an alarm, stays, and looks again.
type hungDisk struct {
	node       *Node
	operations disk.Operations
	probing    atomic.Bool
	probeError atomic.Bool            // the last probe failed
	unable     atomic.Pointer[string] // why this leader does not give up its leadership; nil: it has not had to
}

// describeHang returns an error if an operation of the disk has not returned for longer than after.
func (h *hungDisk) describeHang(after time.Duration) error {
	oldest, ok := h.operations.Oldest()
	if !ok || time.Since(oldest.Began) < after {
		return nil
	}
	return fmt.Errorf("%w: to %s has not returned for %v", ErrDiskHangs, oldest.Name, time.Since(oldest.Began).Round(100*time.Millisecond))
}

// watchOperations looks at the running operations until the node stops.
func (h *hungDisk) watchOperations() {
	n := h.node
	tick := time.NewTicker(hangPeriod)
	defer tick.Stop()
	var tried time.Time
	for {
		select {
		case <-n.lifecycle.closing.Done():
			return
		case <-tick.C:
		}
		h.probeIfIdle()
		if h.describeHang(n.config.DiskHangLimit) == nil || n.leadership.now() == nil {
			h.unable.Store(nil)
			continue
		}
		if time.Since(tried) >= hangRepeatPause {
			h.giveUpLeadership()
			tried = time.Now()
		}
	}
}

// probeIfIdle writes to a disk to which nothing else was written for a while. A hang would otherwise be noticed only by
// the first save, and a follower could not say that its disk works.
func (h *hungDisk) probeIfIdle() {
	folder := h.node.folder
	last, idle := h.operations.IdleSince()
	if folder.FS == nil || !idle || time.Since(last) < probePeriod || !h.probing.CompareAndSwap(false, true) {
		return
	}
	// Nothing waits for the goroutine: on a disk that hangs it does not end.
	go func() {
		defer h.probing.Store(false)
		defer h.operations.Begin("write a probe")()
		err := disk.WriteProbe(folder.FS, folder.PathOf(datafolder.ProbeFile))
		if failed := err != nil; h.probeError.Swap(failed) != failed && failed {
			h.node.log.Warn("a probe of the disk failed", "error", err)
		}
	}()
}

// giveUpLeadership hands the leadership over, if other voters can elect one of them. If raft cannot do that, because its
// main loop waits for the disk, the node stops: the followers see closed connections, and elect.
func (h *hungDisk) giveUpLeadership() {
	n := h.node
	able, needed := h.countWorkingVoters()
	if able < needed {
		why := fmt.Sprintf("%d of the other voters answer and have a disk that works, and %d are needed to elect another leader", able, needed)
		h.unable.Store(&why)
		return
	}
	h.unable.Store(nil)
	hang := h.describeHang(n.config.DiskHangLimit)
	if hang == nil {
		return // the disk has answered while the voters were asked, as all do where one stall ends
	}
	n.log.Error("this leader gives up its leadership", "code", "DISK_HANGS", "error", hang)
	hand, cancel := context.WithTimeout(n.lifecycle.running, drainLimit)
	defer cancel()
	if err := n.leadership.transferLeadership(hand); err == nil || n.leadership.now() == nil {
		return
	}
	n.fail(fmt.Errorf("%w: %w, and raft waits for it: look at the disk, and start this node again", ErrFailed, hang))
}

// countWorkingVoters asks the other voters, and returns how many say that their disks work, and how many it takes to elect
// a leader without this node's vote.
func (h *hungDisk) countWorkingVoters() (able, needed int) {
	n := h.node
	round, ok := n.membership.askMembers(n.lifecycle.running)
	if !ok {
		round = &peerwire.HelloRound{}
	}
	voters := 0
	for _, s := range n.raftIfRunning().GetConfiguration().Configuration().Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if answer, ok := round.Members[string(s.ID)]; ok && answer.ID != n.ID() && !answer.DiskHangs {
			able++
		}
	}
	return able, voters/2 + 1
}

// alarms are those of this node's disk, and, on the leader, of the other nodes' disks.
func (h *hungDisk) alarms() []Alarm {
	n := h.node
	var alarms []Alarm
	if hang := h.describeHang(hangNoticed); hang != nil {
		text := fmt.Sprintf("the disk of this node hangs (%v): look at the disk, its controller or its network", hang)
		if why := h.unable.Load(); why != nil {
			text += "; this node leads and stays: " + *why
		}
		alarms = append(alarms, Alarm{Code: AlarmDiskHangs, Text: text})
	}
	if n.leadership.now() == nil {
		return alarms
	}
	for _, answer := range n.membership.hellos.Last().SortedMembers() {
		if answer.DiskHangs && answer.ID != n.ID() {
			alarms = append(alarms, Alarm{
				Code: AlarmDiskHangs, subject: answer.ID,
				Text: fmt.Sprintf("the disk of node %s at %s hangs: look at the disk there", answer.ID, answer.Address),
			})
		}
	}
	return alarms
}
