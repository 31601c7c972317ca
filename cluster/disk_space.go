package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/fsm"
)

const (
	spacePeriod = time.Second // how often the free space is measured

	// A disk without inodes takes no new file, however many bytes are free. These stand beside the reserves of bytes; on a
	// small file system a twentieth and a hundredth of its inodes do.
	inodeReserve     = 10_000
	inodeHardReserve = 1_000
)

// diskSpace is the free space on this node's disk. A disk that fills up in the middle of a write stops a node at once,
// and disks of one size fill up together. So a node below its reserve gives up leadership, and a node below the hard
// reserve stops by itself while its disk can still be written. When no majority is above its reserve, only the last saves
// of sessions are accepted.
type diskSpace struct {
	freeBytes    atomic.Uint64 // 0: not known
	freeInodes   atomic.Uint64 // 0: none, or not known
	fewInodes    atomic.Bool   // freeInodes is below the reserve of inodes
	belowReserve atomic.Bool   // freeBytes is below Config.Reserve, or fewInodes
}

// measureFreeBytes measures the free space. ok is false where it cannot be known, as in memory.
func measureFreeBytes(c Config) (bytes uint64, ok bool, err error) {
	if c.FreeBytes != nil {
		bytes, err = c.FreeBytes()
		return bytes, err == nil, err
	}
	fs, dir := c.FS, c.Dir
	if fs == nil {
		fs = vfs.Default
	}
	usage, err := fs.GetDiskUsage(dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return 0, false, nil
	}
	return usage.AvailBytes, err == nil, err
}

// measure measures once. It returns an error if this node must not run on such a disk.
func (d *diskSpace) measure(c Config) error {
	free, ok, err := measureFreeBytes(c)
	if err != nil {
		return fmt.Errorf("measure free space of data folder %s: %w", c.Dir, err)
	}
	if err := d.measureInodes(c); err != nil {
		return err
	}
	if !ok {
		d.belowReserve.Store(d.fewInodes.Load())
		return nil
	}
	d.freeBytes.Store(free)
	enough := c.Reserve
	if d.belowReserve.Load() {
		enough += c.Reserve / 16 // hysteresis: snapshots come and go, and a node at its reserve must not raise and end its alarm in turns
	}
	d.belowReserve.Store(free < enough || d.fewInodes.Load())
	if free < c.HardReserve {
		return &diskFullError{cause: "HARD_RESERVE", error: fmt.Errorf(
			"the disk of data folder %s has %s free, less than the hard reserve of %s: free some space and start this node again",
			c.Dir, formatMebibytes(free), formatMebibytes(c.HardReserve))}
	}
	return nil
}

// measureInodes measures the free inodes. It returns an error if this node must not run with so few.
func (d *diskSpace) measureInodes(c Config) error {
	var free, total uint64
	switch {
	case c.FreeInodes != nil:
		free, total = c.FreeInodes()
	case c.Dir != "" && c.FS == nil:
		free, total, _ = disk.Inodes(c.Dir)
	}
	d.freeInodes.Store(free)
	d.fewInodes.Store(total > 0 && free < min(inodeReserve, total/20))
	if hard := min(inodeHardReserve, total/100); total > 0 && free < hard {
		return &diskFullError{cause: "HARD_RESERVE", error: fmt.Errorf(
			"the disk of data folder %s can hold %d more files (inodes), less than the hard reserve of %d: delete files there that are not this node's, and start this node again",
			c.Dir, free, hard)}
	}
	return nil
}

// watch measures periodically until n stops. Below the reserve n gives up leadership; below the hard reserve it stops.
func (d *diskSpace) watch(n *Node) {
	tick := time.NewTicker(spacePeriod)
	defer tick.Stop()
	for {
		select {
		case <-n.lifecycle.closing.Done():
			return
		case <-tick.C:
		}
		was := d.belowReserve.Load()
		if err := d.measure(n.config); err != nil {
			n.fail(fmt.Errorf("%w: %w", ErrFailed, err))
			return
		}
		short := d.belowReserve.Load()
		if was && !short {
			n.log.Info("the disk of this node has space again", "free", formatMebibytes(d.freeBytes.Load()))
		}
		if l := n.leadership.now(); l != nil && short {
			l.giveUpLeadForSpace()
		}
	}
}

// giveUpLeadForSpace transfers leadership to a voter above its reserve, if there is one: a leader writes as much as the
// others and sends snapshots besides. If no voter is above its reserve, a transfer would not help.
func (l *leaderState) giveUpLeadForSpace() {
	n := l.node
	to, ok := l.voterWithMostSpace()
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(n.lifecycle.running, drainLimit) // not l.ctx, which ends during the transfer
	defer cancel()
	n.log.Info("transfers leadership because its disk is below the reserve", "to", string(to.ID))
	if err := n.lifecycle.waitForFuture(ctx, n.raftIfRunning().LeadershipTransferToServer(to.ID, to.Address)); err != nil {
		n.log.Warn("hand the lead over", "error", err)
	}
}

// voterWithMostSpace returns the other voter above its reserve with the longest log: raft has to send it the least.
func (l *leaderState) voterWithMostSpace() (raft.Server, bool) {
	var able []raft.Server
	last, hellos := map[raft.ServerID]uint64{}, l.node.membership.hellos.Last().Members
	for _, s := range l.node.raftIfRunning().GetConfiguration().Configuration().Servers {
		h, ok := hellos[string(s.ID)]
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

// compareSpace decides whether saves are refused: when fewer than a majority of the voters are above their reserve. A
// voter that did not answer is not counted as above it: without that voter, every save needs the nodes that are short of
// space, and would fill them until they stop.
func (l *leaderState) compareSpace(servers []raft.Server, answers map[string]peerwire.Hello) {
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
			l.node.log.Warn("refuses saves: too few voters are above their reserve of disk space", "voters", voters, "below their reserve", short)
		} else {
			l.node.log.Info("saves are taken again", "voters", voters, "below their reserve", short)
		}
	}
}

// checkSpaceAdmits returns ErrNoSpace for a command that brings new data while space is short. Saves that end a session,
// and all other commands, are accepted. Only the leader checks this, before the log: apply does not depend on it.
func (l *leaderState) checkSpaceAdmits(c *fsm.Command) error {
	if !l.spaceTight.Load() {
		return nil
	}
	if save := c.GetSave(); save != nil && !save.GetEnd() || c.GetSet() != nil || c.GetSend() != nil {
		return ErrNoSpace
	}
	return nil
}

func formatMebibytes(bytes uint64) string { return fmt.Sprintf("%d MiB", bytes>>20) }
