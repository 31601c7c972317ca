//go:build unix

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// crashMoment is the act of a node during which it ended.
type crashMoment string

const (
	inAppend   crashMoment = "append"   // it ran, and saves were under way
	inCut      crashMoment = "log cut"  // it had logged less than cutWindow ago that it cuts its log
	inMaking   crashMoment = "snapshot" // a snapshot of its own was begun and not complete
	inInstall  crashMoment = "install"  // a snapshot of another node was arriving, or being put in place
	inStart    crashMoment = "start"    // it was not yet a follower
	cutWindow              = 50 * time.Millisecond
	momentWait             = 10 * time.Second // for one of these to come
	behindWait             = time.Minute      // for the others to cut the entries that a node lacks: some 600 on a slow machine
)

// allEnds is the number of rounds with full disks from which on a run must have seen every cause of a stop.
const allEnds = 20

// allMoments are the moments that each run must have hit.
func allMoments() []crashMoment { return []crashMoment{inAppend, inCut, inMaking, inInstall, inStart} }

// momentsHit tells from its log and its folder what a node was doing when it ended at a time: several things, maybe.
func (n *nodeProcess) momentsHit(at time.Time, saving bool) (in []crashMoment) {
	log := n.logSince(n.began)
	received := log.lastOf(codeSnapshotReceived) > log.lastOf(codeSnapshotInstalled)
	if log.lastOf(codeFollows) < 0 {
		if received { // on a busy machine a snapshot may have come before the node says that it follows
			in = append(in, inInstall)
		}
		return append(in, inStart)
	}
	if saving {
		in = append(in, inAppend)
	}
	if cut := log.lastOf(codeLogCut); cut >= 0 && at.Sub(log.timeAt(cut)) < cutWindow {
		in = append(in, inCut)
	}
	making := log.lastOf(codeSnapshotBegins) > max(log.lastOf(codeSnapshotComplete), log.lastOf(codeSnapshotFailed))
	if making {
		in = append(in, inMaking)
	}
	if n.isInstalling(making) || received {
		in = append(in, inInstall)
	}
	return in
}

// isInstalling says that a snapshot of another node is half there. making says that the node may be making one of its own,
// whose half looks the same.
func (n *nodeProcess) isInstalling(making bool) bool {
	half, _ := filepath.Glob(filepath.Join(n.Folder, "snapshots", "[0-9]*.tmp", "data", "*"))
	live, _ := filepath.Glob(filepath.Join(n.Folder, "tables", "[0-9]*"))
	return !making && len(half) > 0 || len(live) > 1
}

// waitForInstall returns once a snapshot is coming in, or after momentWait.
func (n *nodeProcess) waitForInstall(ctx context.Context) {
	pollFor(ctx, momentWait, func() bool { return n.isInstalling(n.logSince(n.began).lastOf(codeSnapshotBegins) >= 0) })
}

// noteMoments counts the moments that a fault has hit.
func (t *crashRun) noteMoments(n *nodeProcess, at time.Time, saving bool) {
	for _, in := range n.momentsHit(at, saving) {
		t.result.Hits[in]++
	}
}

// missedMoments is an error if the run missed a moment or a cause of a stop that it must see.
func (t *crashRun) missedMoments() error {
	for _, m := range allMoments() {
		if t.result.Hits[m] == 0 && t.settings.kills+t.settings.power > 0 {
			return fmt.Errorf("no node ended in the %s: the run proves nothing of it", m)
		}
	}
	if t.settings.full < allEnds {
		return nil
	}
	for _, e := range []exitKind{endHard, endLog, endTables} {
		if t.result.Ends[e] == 0 {
			return fmt.Errorf("no node on a full disk stopped at the %s: the run proves nothing of it", e)
		}
	}
	return nil
}
