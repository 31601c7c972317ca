//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// crashMoment is what a node was doing when it ended.
type crashMoment string

const (
	inAppend   crashMoment = "append"   // it ran, and saves were under way
	inCut      crashMoment = "log cut"  // it had said less than cutWindow ago that it cuts its log
	inMaking   crashMoment = "snapshot" // one of its own was begun and not complete
	inInstall  crashMoment = "install"  // one of another node's was coming in, or being put in place
	inStart    crashMoment = "start"    // it was not yet a follower
	cutWindow              = 50 * time.Millisecond
	momentWait             = 10 * time.Second // for one of these to come
	behindWait             = time.Minute      // for the others to cut what a node lacks: some 600 entries on a slow machine
)

// allEnds is how many rounds that fill disks must have met everything that a full disk does.
const allEnds = 20

// allMoments are what each run must have hit.
func allMoments() []crashMoment { return []crashMoment{inAppend, inCut, inMaking, inInstall, inStart} }

// logSince is what a node's log holds of the life that began at from.
func (n *nodeProcess) logSince(from int64) []byte {
	file, err := os.Open(n.Log)
	if err != nil {
		return nil
	}
	defer file.Close()
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return nil
	}
	text, _ := io.ReadAll(file) // what can be read will do
	return text
}

func (n *nodeProcess) logBytes() int64 {
	info, err := os.Stat(n.Log)
	if err != nil {
		return 0
	}
	return info.Size()
}

// momentsHit says what a node was in when it ended at the time at, by its log and its folder. It may be in several things at a
// time.
func (n *nodeProcess) momentsHit(at time.Time, saving bool) (in []crashMoment) {
	text := n.logSince(n.began)
	after := func(line string) int { return bytes.LastIndex(text, []byte(line)) }
	if after("entering follower state") < 0 {
		return []crashMoment{inStart}
	}
	if saving {
		in = append(in, inAppend)
	}
	if cut := after("compacting logs"); cut >= 0 && at.Sub(lineTime(text, cut)) < cutWindow {
		in = append(in, inCut)
	}
	making := after("starting snapshot up to") > max(after("snapshot complete up to"), after("failed to take snapshot"))
	if making {
		in = append(in, inMaking)
	}
	if n.isInMoment(making) || after("copied to local snapshot") > after("Installed remote snapshot") {
		in = append(in, inInstall)
	}
	return in
}

// isInMoment says that a snapshot of another node's is half there.
func (n *nodeProcess) isInMoment(making bool) bool {
	half, _ := filepath.Glob(filepath.Join(n.Folder, "snapshots", "[0-9]*.tmp", "data", "*"))
	live, _ := filepath.Glob(filepath.Join(n.Folder, "tables", "[0-9]*"))
	return !making && len(half) > 0 || len(live) > 1
}

// lineTime is when the line around a place in a log was written.
func lineTime(text []byte, place int) time.Time {
	line := text[bytes.LastIndexByte(text[:place], '\n')+1:]
	stamp, _, _ := strings.Cut(strings.TrimPrefix(string(line[:min(len(line), 64)]), "time="), " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return time.Time{}
	}
	return at
}

// waitForLine returns once a node says a line, or after momentWait.
func (n *nodeProcess) waitForLine(ctx context.Context, line string) {
	from := n.logBytes()
	for until := time.Now().Add(momentWait); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if n.logBytes() > from && bytes.Contains(n.logSince(from), []byte(line)) {
			return
		}
	}
}

// waitForInstall returns once a snapshot is coming in, or after momentWait.
func (n *nodeProcess) waitForInstall(ctx context.Context) {
	for until := time.Now().Add(momentWait); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if n.isInMoment(bytes.LastIndex(n.logSince(n.began), []byte("starting snapshot up to")) >= 0) {
			return
		}
	}
}

// noteMoments counts what a fault has hit.
func (t *crashRun) noteMoments(n *nodeProcess, at time.Time, saving bool) {
	for _, in := range n.momentsHit(at, saving) {
		t.verdict.Hits[in]++
	}
}

// missedMoments is an error where a run that must hit everything did not.
func (t *crashRun) missedMoments() error {
	for _, m := range allMoments() {
		if t.verdict.Hits[m] == 0 && t.settings.kills+t.settings.power > 0 {
			return fmt.Errorf("no node ended in the %s: the run proves nothing of it", m)
		}
	}
	if t.settings.full < allEnds {
		return nil
	}
	for _, e := range []exitKind{endHard, endLog, endTables} {
		if t.verdict.Ends[e] == 0 {
			return fmt.Errorf("no node on a full disk stopped at the %s: the run proves nothing of it", e)
		}
	}
	return nil
}
