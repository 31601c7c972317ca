//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// restart kills nodes, one right after the other, waits a little, and starts them in any order.
func (t *trial) restart(victims []*node, down time.Duration) error {
	if err := t.end(victims); err != nil {
		return err
	}
	t.sleep(down)
	for _, i := range t.random.Perm(len(victims)) {
		if err := t.cluster.start(victims[i]); err != nil {
			return err
		}
	}
	return nil
}

// end kills nodes and notes what each was in.
func (t *trial) end(victims []*node) error {
	for _, n := range victims {
		at, saving := time.Now(), t.writers.saving()
		if err := n.kill(); err != nil {
			return err
		}
		t.note(n, at, saving)
	}
	return nil
}

func (t *trial) killOne(context.Context) error { return t.restart(t.some(1), time.Second) }
func (t *trial) killTwo(context.Context) error { return t.restart(t.some(2), time.Second) }
func (t *trial) killAll(context.Context) error { return t.restart(t.some(nodes), time.Second) }

func (t *trial) killLeader(ctx context.Context) error {
	n, _ := t.cluster.leader(ctx)
	if n == nil {
		n = t.some(1)[0]
	}
	return t.restart([]*node{n}, time.Second)
}

// killStopped lets the others go on without a node that is as if asleep.
func (t *trial) killStopped(context.Context) error {
	victims := t.some(1)
	if err := victims[0].stop(); err != nil {
		return err
	}
	t.sleep(3 * time.Second)
	if t.random.IntN(3) == 0 { // it wakes to a world that has gone on, and dies on the way
		if err := resume(victims[0]); err != nil {
			return err
		}
		t.sleep(100 * time.Millisecond)
	}
	return t.restart(victims, time.Second)
}

// killStarting kills within 50 ms of a start, a few times over.
func (t *trial) killStarting(context.Context) error {
	victims := t.some(1 + t.random.IntN(nodes))
	for range 1 + t.random.IntN(4) {
		if err := t.restart(victims, 100*time.Millisecond); err != nil {
			return err
		}
		t.sleep(50 * time.Millisecond)
	}
	return t.restart(victims, 100*time.Millisecond)
}

// aim tries until a node has ended in a moment, and sooner each time: the moment may have been over.
func (t *trial) aim(at moment, delay time.Duration, try func(delay time.Duration) error) error {
	for hit := t.verdict.Hits[at]; t.verdict.Hits[at] == hit && delay > time.Millisecond; delay /= 2 {
		if err := try(delay); err != nil {
			return err
		}
	}
	return nil
}

// killMaking kills while a snapshot is made: flushed and linked, written down, listed.
func (t *trial) killMaking(ctx context.Context) error {
	victim := t.some(1)[0]
	return t.aim(inMaking, 20*time.Millisecond, func(delay time.Duration) error {
		victim.waitFor(ctx, "starting snapshot up to")
		t.sleep(delay)
		return t.restart([]*node{victim}, time.Second)
	})
}

// killCutting kills while the log is cut behind a snapshot, or just after: the cut is not synced.
func (t *trial) killCutting(ctx context.Context) error {
	victim := t.some(1)[0]
	return t.aim(inCut, 5*time.Millisecond, func(delay time.Duration) error {
		victim.waitFor(ctx, "compacting logs")
		t.sleep(delay)
		return t.restart([]*node{victim}, time.Second)
	})
}

// killInstalling kills a node while it takes a snapshot in: twice, the second time while it takes it in again.
func (t *trial) killInstalling(ctx context.Context) error {
	victim := t.some(1)[0]
	return t.aim(inInstall, 50*time.Millisecond, func(delay time.Duration) error {
		if err := t.leaveBehind(ctx, victim); err != nil {
			return err
		}
		for range 2 {
			victim.waitForInstall(ctx)
			t.sleep(delay)
			if err := t.restart([]*node{victim}, 50*time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	})
}

// leaveBehind keeps a node down until the others have cut what it lacks, and starts it.
func (t *trial) leaveBehind(ctx context.Context, victim *node) error {
	if err := t.end([]*node{victim}); err != nil {
		return err
	}
	_, behind := t.cluster.leader(ctx)
	for deadline := time.Now().Add(behindWait); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(pause) {
		if _, now := t.cluster.leader(ctx); now != nil && behind != nil && now.GetSnapshot() > behind.GetLast()+600 { // 512 entries stay at least
			break
		}
	}
	return t.cluster.start(victim)
}

// wipe takes a follower's folder away, only while all are level: an acknowledged save needs two. It comes back as another
// node.
func (t *trial) wipe(ctx context.Context) error {
	t.writers.gate.Lock()
	defer t.writers.gate.Unlock()
	if err := t.cluster.waitCaughtUp(ctx, t.settings.caughtUp); err != nil {
		return err
	}
	leader, _ := t.cluster.leader(ctx)
	victim := t.some(1)[0]
	for victim == leader {
		victim = t.some(1)[0]
	}
	old, err := victim.status(ctx)
	if err != nil {
		return err
	}
	if err := victim.kill(); err != nil {
		return err
	}
	if err := os.RemoveAll(victim.data); err != nil {
		return err
	}
	t.wiped = true
	if err := t.cluster.start(victim); err != nil {
		return err
	}
	if err := t.cluster.waitCaughtUp(ctx, t.settings.caughtUp); err != nil {
		return err
	}
	s, err := victim.status(ctx)
	if err == nil && s.GetId() == old.GetId() {
		err = fmt.Errorf("%s came back without its folder under its old id", victim.name)
	}
	return err
}

func (t *trial) cutOne(ctx context.Context) error { return t.cut(ctx, t.some(1)) }
func (t *trial) cutTwo(ctx context.Context) error { return t.cut(ctx, t.some(2)) }
func (t *trial) cutAll(ctx context.Context) error { return t.cut(ctx, t.some(nodes)) }

// cut ends nodes together with everything on their disks that was not synced: at any moment, or while one of them makes a
// snapshot, or cuts its log.
func (t *trial) cut(ctx context.Context, victims []*node) error {
	switch t.random.IntN(3) {
	case 0:
		victims[0].waitFor(ctx, "starting snapshot up to")
	case 1:
		victims[0].waitFor(ctx, "compacting logs")
	}
	t.sleep(20 * time.Millisecond)
	at, saving := time.Now(), t.writers.saving()
	for _, n := range victims {
		if err := n.stop(); err != nil {
			return err
		}
	}
	for _, n := range victims {
		t.note(n, at, saving)
		if err := errors.Join(n.disk.cut(), n.kill(), n.disk.remount()); err != nil {
			return err
		}
	}
	t.sleep(500 * time.Millisecond)
	for _, n := range victims {
		if err := t.cluster.start(n); err != nil {
			return err
		}
	}
	return nil
}
