//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// killAndRestart kills nodes, one right after the other, waits a little, and starts them in any order.
func (t *crashRun) killAndRestart(victims []*nodeProcess, down time.Duration) error {
	if err := t.killNodes(victims); err != nil {
		return err
	}
	t.sleepUpTo(down)
	for _, i := range t.random.Perm(len(victims)) {
		if err := victims[i].startProcess(); err != nil {
			return err
		}
	}
	return nil
}

// killNodes kills nodes and notes the moment at which each ended.
func (t *crashRun) killNodes(victims []*nodeProcess) error {
	for _, n := range victims {
		at, saving := time.Now(), t.writers.saving.Load() > 0
		if err := n.Kill(); err != nil {
			return err
		}
		t.noteMoments(n, at, saving)
	}
	return nil
}

func killNodesAtRandom(count int) func(*crashRun, context.Context) error {
	return func(t *crashRun, _ context.Context) error { return t.killAndRestart(t.pickNodes(count), time.Second) }
}

func (t *crashRun) killLeader(ctx context.Context) error {
	n, _ := t.cluster.findLeader(ctx)
	if n == nil {
		n = t.pickNodes(1)[0]
	}
	return t.killAndRestart([]*nodeProcess{n}, time.Second)
}

// killStopped pauses a node for a while, as a machine that sleeps would, and kills it.
func (t *crashRun) killStopped(context.Context) error {
	victims := t.pickNodes(1)
	if err := victims[0].Pause(); err != nil {
		return err
	}
	t.sleepUpTo(3 * time.Second)
	if t.random.IntN(3) == 0 { // it continues, behind the others, and is killed while it catches up
		if err := victims[0].Continue(); err != nil {
			return err
		}
		t.sleepUpTo(100 * time.Millisecond)
	}
	return t.killAndRestart(victims, time.Second)
}

// killStarting kills nodes within 50 ms of their start, a few times in a row.
func (t *crashRun) killStarting(context.Context) error {
	victims := t.pickNodes(1 + t.random.IntN(nodes))
	for range 1 + t.random.IntN(4) {
		if err := t.killAndRestart(victims, 100*time.Millisecond); err != nil {
			return err
		}
		t.sleepUpTo(50 * time.Millisecond)
	}
	return t.killAndRestart(victims, 100*time.Millisecond)
}

// aimAtMoment tries until a node has ended at the moment, with a shorter delay each time: the moment may have been over.
func (t *crashRun) aimAtMoment(at crashMoment, delay time.Duration, try func(delay time.Duration) error) error {
	for hit := t.result.Hits[at]; t.result.Hits[at] == hit && delay > time.Millisecond; delay /= 2 {
		if err := try(delay); err != nil {
			return err
		}
	}
	return nil
}

// killAtEvent kills a node up to a delay after it has logged an event: while it makes a snapshot, or while it cuts its log
// behind one, or just after, when the cut is not synced.
func killAtEvent(at crashMoment, code string, delay time.Duration) func(*crashRun, context.Context) error {
	return func(t *crashRun, ctx context.Context) error {
		victim := t.pickNodes(1)[0]
		return t.aimAtMoment(at, delay, func(delay time.Duration) error {
			victim.waitForEvent(ctx, code)
			t.sleepUpTo(delay)
			return t.killAndRestart([]*nodeProcess{victim}, time.Second)
		})
	}
}

// killInstalling kills a node while it installs a snapshot of another, and once more when it does so again.
func (t *crashRun) killInstalling(ctx context.Context) error {
	victim := t.pickNodes(1)[0]
	return t.aimAtMoment(inInstall, 50*time.Millisecond, func(delay time.Duration) error {
		if err := t.leaveBehind(ctx, victim); err != nil {
			return err
		}
		for range 2 {
			victim.waitForInstall(ctx)
			t.sleepUpTo(delay)
			if err := t.killAndRestart([]*nodeProcess{victim}, 50*time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	})
}

// leaveBehind keeps a node down until the others have cut the entries that it lacks, and starts it.
func (t *crashRun) leaveBehind(ctx context.Context, victim *nodeProcess) error {
	if err := t.killNodes([]*nodeProcess{victim}); err != nil {
		return err
	}
	_, behind := t.cluster.findLeader(ctx)
	pollFor(ctx, behindWait, func() bool {
		_, now := t.cluster.findLeader(ctx)
		return now != nil && behind != nil && now.GetSnapshot() > behind.GetLast()+600 // 512 entries stay at least
	})
	return victim.startProcess()
}

// wipeAndRejoin removes a follower's folder, while all nodes are level, since an acknowledged save needs two of them. The
// follower comes back under another id.
func (t *crashRun) wipeAndRejoin(ctx context.Context) error {
	t.writers.gate.Lock()
	defer t.writers.gate.Unlock()
	if err := t.cluster.waitCaughtUp(ctx, t.settings.caughtUp); err != nil {
		return err
	}
	leader, _ := t.cluster.findLeader(ctx)
	victim := t.pickNodes(1)[0]
	for victim == leader {
		victim = t.pickNodes(1)[0]
	}
	old, err := victim.askStatus(ctx)
	if err != nil {
		return err
	}
	if err := victim.Kill(); err != nil {
		return err
	}
	if err := os.RemoveAll(victim.Folder); err != nil {
		return err
	}
	t.wiped = true
	if err := victim.startProcess(); err != nil {
		return err
	}
	if err := t.cluster.waitCaughtUp(ctx, t.settings.caughtUp); err != nil {
		return err
	}
	s, err := victim.askStatus(ctx)
	if err == nil && s.GetId() == old.GetId() {
		err = fmt.Errorf("%s came back without its folder under its old id", victim.name)
	}
	return err
}

func cutPowerOfSome(count int) func(*crashRun, context.Context) error {
	return func(t *crashRun, ctx context.Context) error { return t.cutPower(ctx, t.pickNodes(count)) }
}

// cutPower ends nodes and loses the bytes on their disks that were not synced: at any time, or while one of them makes a snapshot
// or cuts its log.
func (t *crashRun) cutPower(ctx context.Context, victims []*nodeProcess) error {
	switch t.random.IntN(3) {
	case 0:
		victims[0].waitForEvent(ctx, codeSnapshotBegins)
	case 1:
		victims[0].waitForEvent(ctx, codeLogCut)
	}
	t.sleepUpTo(20 * time.Millisecond)
	at, saving := time.Now(), t.writers.saving.Load() > 0
	for _, n := range victims {
		if err := n.Pause(); err != nil {
			return err
		}
	}
	for _, n := range victims {
		t.noteMoments(n, at, saving)
		if err := errors.Join(n.disk.CutPower(), n.Kill(), n.disk.Restore()); err != nil {
			return err
		}
	}
	t.sleepUpTo(500 * time.Millisecond)
	for _, n := range victims {
		if err := n.startProcess(); err != nil {
			return err
		}
	}
	return nil
}
