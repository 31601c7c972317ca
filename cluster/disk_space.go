package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/fsm"
)

const spacePeriod = time.Second // between two looks

// diskSpace is the free space on this node's disk. A disk that runs full in the midst of a write stops a node where it stands,
// and disks of one size run full together. So a node steps aside early, and stops by itself a little later; and while that
// would cost the majority, nothing new is let in but last saves and releases.
type diskSpace struct {
	freeBytes    atomic.Uint64 // bytes; 0: not known
	belowReserve atomic.Bool   // below the reserve
}

// freeBytes asks the disk; ok is false where it is not known.
func (n *Node) freeBytes() (bytes uint64, ok bool, err error) {
	if n.config.FreeBytes != nil {
		bytes, err = n.config.FreeBytes()
		return bytes, err == nil, err
	}
	fs, dir := n.config.FS, n.config.Dir
	if fs == nil {
		fs = vfs.Default
	}
	usage, err := fs.GetDiskUsage(dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return 0, false, nil
	}
	return usage.AvailBytes, err == nil, err
}

// measureSpace looks once. The error says that this node must not run on such a disk.
func (n *Node) measureSpace() error {
	free, ok, err := n.freeBytes()
	if err != nil {
		return fmt.Errorf("measure free space of data folder %s: %w", n.config.Dir, err)
	}
	if !ok {
		return nil
	}
	n.space.freeBytes.Store(free)
	enough := n.config.Reserve
	if n.space.belowReserve.Load() {
		enough += n.config.Reserve / 16 // snapshots come and go: a node at its reserve is not short in turns
	}
	n.space.belowReserve.Store(free < enough)
	if free < n.config.HardReserve {
		return fmt.Errorf("the disk of data folder %s has %s free, less than the hard reserve of %s: free some space and start this node again",
			n.config.Dir, formatMebibytes(free), formatMebibytes(n.config.HardReserve))
	}
	return nil
}

// explainIfFull says what to do where a disk refused to hold more: it filled up between two looks. Pebble's last words keep no
// more of an error than its text.
func (n *Node) explainIfFull(err error) error {
	if err == nil || strings.Contains(err.Error(), "free some space") {
		return err
	}
	for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			return fmt.Errorf("%w: the disk of data folder %s is full: free some space and start this node again", err, n.config.Dir)
		}
	}
	return err
}

// watchSpace looks again and again, steps aside below the reserve and stops below the hard one.
func (n *Node) watchSpace() {
	tick := time.NewTicker(spacePeriod)
	defer tick.Stop()
	for {
		select {
		case <-n.closing:
			return
		case <-tick.C:
		}
		was := n.space.belowReserve.Load()
		if err := n.measureSpace(); err != nil {
			n.fail(fmt.Errorf("%w: %w", ErrFailed, err))
			return
		}
		short := n.space.belowReserve.Load()
		if was && !short {
			n.log.Info("the disk of this node has space again", "free", formatMebibytes(n.space.freeBytes.Load()))
		}
		if short {
			n.giveUpLeadForSpace()
		}
	}
}

// giveUpLeadForSpace gives the lead to a voter that has space, if there is one: a leader writes as much as the others, and
// sends snapshots besides. Where none has, handing it round would not help.
func (n *Node) giveUpLeadForSpace() {
	l := n.leaderStateNow()
	if l == nil {
		return
	}
	to, ok := l.voterWithMostSpace()
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, drainLimit) // the lead's own ends on the way
	defer cancel()
	n.log.Info("hands the lead over for want of space", "to", string(to.ID))
	if err := n.waitForFuture(ctx, n.raftIfRunning().LeadershipTransferToServer(to.ID, to.Address)); err != nil {
		n.log.Warn("hand the lead over", "error", err)
	}
}

// voterWithMostSpace is the other voter above its reserve that has the most of the log.
func (l *leaderState) voterWithMostSpace() (raft.Server, bool) {
	var able []raft.Server
	last := map[raft.ServerID]uint64{}
	for _, s := range l.node.raftIfRunning().GetConfiguration().Configuration().Servers {
		h, ok := l.hellos.answerOf(string(s.ID))
		if ok && s.Suffrage == raft.Voter && !h.BelowReserve && h.ID != l.node.ID() {
			able = append(able, s)
			last[s.ID] = h.LastIndex
		}
	}
	if len(able) == 0 {
		return raft.Server{}, false
	}
	return slices.MaxFunc(able, func(a, b raft.Server) int { return cmp.Compare(last[a.ID], last[b.ID]) }), true
}

// compareSpace finds whether the voters above their reserve are a majority. Who did not answer is none of them: with it
// away, the nodes that are short are needed for every save, and would be filled until they stop.
func (l *leaderState) compareSpace(servers []raft.Server, answers map[string]helloAnswer) {
	voters, able, short := 0, 0, 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if h, ok := answers[string(s.ID)]; ok && h.BelowReserve {
			short++
		} else if ok {
			able++
		}
	}
	tight := short > 0 && able < voters/2+1
	if l.spaceTight.Swap(tight) != tight {
		if tight {
			l.node.log.Warn("refuses saves for want of space", "voters", voters, "below their reserve", short)
		} else {
			l.node.log.Info("saves are taken again", "voters", voters, "below their reserve", short)
		}
	}
}

// checkSpaceAdmits says whether a command may be proposed while space is scarce. Commands that bring new data wait; those that
// end a session, with its data, and all else goes on. It is a matter of this leader alone: apply knows nothing of it.
func (l *leaderState) checkSpaceAdmits(c *fsm.Command) error {
	if !l.spaceTight.Load() {
		return nil
	}
	if save := c.GetSave(); save != nil && !save.GetEnd() || c.GetSet() != nil || c.GetSend() != nil {
		return ErrNoSpace
	}
	return nil
}

// CheckSpaceAdmits says whether a command would be let in for its kind just now. It spares the log the parts of a save that
// would be refused behind them.
func (n *Node) CheckSpaceAdmits(c *fsm.Command) error {
	if l := n.leaderStateNow(); l != nil {
		return l.checkSpaceAdmits(c)
	}
	return nil
}

const savesRefusedText = "saves are refused, but those that end a session: the nodes whose disks have space left are no majority; free some space"

func (n *Node) shortSpaceText() string {
	return fmt.Sprintf("the disk of this node has %s free, less than its reserve of %s: free some space; at %s the node stops",
		formatMebibytes(n.space.freeBytes.Load()), formatMebibytes(n.config.Reserve), formatMebibytes(n.config.HardReserve))
}

func (n *Node) spaceAlarms() []Alarm {
	var alarms []Alarm
	if n.space.belowReserve.Load() {
		alarms = append(alarms, Alarm{Code: AlarmDiskLow, Text: n.shortSpaceText()})
	}
	l := n.leaderStateNow()
	if l == nil {
		return alarms
	}
	for _, h := range l.hellos.allAnswers() {
		if h.BelowReserve && h.ID != n.ID() {
			alarms = append(alarms, Alarm{
				Code: AlarmDiskLow, subject: h.ID,
				Text: fmt.Sprintf("the disk of node %s has %s free, less than its reserve: free some space there", h.ID, formatMebibytes(h.FreeBytes)),
			})
		}
	}
	if l.spaceTight.Load() {
		alarms = append(alarms, Alarm{Code: AlarmSavesRefused, Text: savesRefusedText})
	}
	return alarms
}

func formatMebibytes(bytes uint64) string { return fmt.Sprintf("%d MiB", bytes>>20) }
