package cluster

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/profilenode/profilenode/lock"
)

// AlarmCode names a fault, for programs. The text that goes with it is for people and may change.
type AlarmCode string

// The codes of alarms: each is something to page on.
const (
	AlarmNodeStopped      AlarmCode = "NODE_STOPPED"      // this node has stopped itself
	AlarmNoCluster        AlarmCode = "NO_CLUSTER"        // this node is in no cluster yet
	AlarmTablesUnreadable AlarmCode = "TABLES_UNREADABLE" // this node cannot read its own tables
	AlarmDiskLow          AlarmCode = "DISK_LOW"          // a node's disk is below its reserve
	AlarmDiskHangs        AlarmCode = "DISK_HANGS"        // a node's disk does not answer
	AlarmNodeBehind       AlarmCode = "NODE_BEHIND"       // a member has not applied for long what its leader has
	AlarmQuorumAtRisk     AlarmCode = "QUORUM_AT_RISK"    // a voter does not answer: the cluster bears fewer failures
	AlarmSavesRefused     AlarmCode = "SAVES_REFUSED"     // for want of space on too many disks
	AlarmTablesDiffer     AlarmCode = "TABLES_DIFFER"     // the nodes' tables differ
	AlarmFolderCopied     AlarmCode = "FOLDER_COPIED"     // two processes answer as one node
	AlarmRowsDiffer       AlarmCode = "ROWS_DIFFER"       // rows of the nodes' tables differ that were written alike; a row, until it is cleared
	AlarmOtherCluster     AlarmCode = "OTHER_CLUSTER"     // a node of another cluster answers at a listed address
	AlarmClockOff         AlarmCode = "CLOCK_OFF"         // a node's clock is far from the median
	AlarmClocksSet        AlarmCode = "CLOCKS_SET"        // the cluster's time moved by more than the time that went by
	AlarmSettingsDiffer   AlarmCode = "SETTINGS_DIFFER"   // a node's tick or ping settings are not the leader's
	AlarmSnapshotLate     AlarmCode = "SNAPSHOT_LATE"     // this node cannot take a snapshot that is due
	AlarmRolledBack       AlarmCode = "ROLLED_BACK"       // the cluster has lost entries that it had acknowledged; a row, until it is cleared

	AlarmSnapshotNotInstalled AlarmCode = "SNAPSHOT_NOT_INSTALLED" // transfers of a snapshot fail in a row; at the sender and at the receiver

	AlarmConnectionsHigh    AlarmCode = "CONNECTIONS_HIGH"    // raised by Config.Alarms: clients have most of the connections open that this process allows
	AlarmCertificateExpires AlarmCode = "CERTIFICATE_EXPIRES" // raised by Config.Alarms: the process around this node reads the files
)

// NoticeDown is the code of a notice: a fact to read, not to page on. The whole cluster was down, stopped
// or without a leader for a while.
const NoticeDown AlarmCode = "WAS_DOWN"

// AlarmCodes are all of them, notices too.
func AlarmCodes() []AlarmCode {
	return []AlarmCode{
		AlarmNodeStopped, AlarmNoCluster, AlarmTablesUnreadable, AlarmDiskLow, AlarmDiskHangs, AlarmNodeBehind, AlarmQuorumAtRisk,
		AlarmSavesRefused, AlarmTablesDiffer, AlarmRowsDiffer, AlarmFolderCopied, AlarmOtherCluster, AlarmClockOff, AlarmClocksSet,
		AlarmSettingsDiffer, AlarmRolledBack, AlarmSnapshotLate, AlarmSnapshotNotInstalled,
		AlarmConnectionsHigh, AlarmCertificateExpires, NoticeDown,
	}
}

// Notice says whether the code is of a notice, and not of an alarm.
func (c AlarmCode) Notice() bool { return c == NoticeDown }

// Alarm is one thing that an operator must know: an alarm, or a notice.
type Alarm struct {
	Code  AlarmCode
	Text  string    // the fault and the remedy
	Since time.Time // when this node first saw it

	subject string // the thing that it is about, where one code may stand for several things at once
}

// alarmBoard finds the alarms of one node, remembers since when each stands, and logs each when it begins and ends.
type alarmBoard struct {
	node *Node

	mu    sync.Mutex
	since map[alarmKey]Alarm
}

type alarmKey struct {
	code    AlarmCode
	subject string
}

// update stamps the alarms that stand now, and says which have begun and which have ended since it was last called.
func (b *alarmBoard) update(active []Alarm, now time.Time) (begun, ended []Alarm) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.since
	b.since = make(map[alarmKey]Alarm, len(active))
	for i := range active {
		a := &active[i]
		key := alarmKey{a.Code, a.subject}
		old, known := was[key]
		switch {
		case known:
			a.Since = old.Since
		case a.Since.IsZero():
			a.Since = now
		}
		if !known {
			begun = append(begun, *a)
		}
		b.since[key] = *a
		delete(was, key)
	}
	ended = slices.SortedFunc(maps.Values(was), func(x, y Alarm) int {
		return cmp.Or(cmp.Compare(x.Code, y.Code), cmp.Compare(x.subject, y.subject))
	})
	return begun, ended
}

// noteAlarms gives each alarm its time, and logs those that have begun or ended, each once.
func (b *alarmBoard) noteAlarms(active []Alarm) []Alarm {
	n := b.node
	begun, ended := b.update(active, n.config.Now())
	for _, a := range begun {
		if !a.isLoggedHere() {
			continue
		}
		level, kind := slog.LevelWarn, "alarm"
		if a.Code.Notice() {
			level, kind = slog.LevelInfo, "notice"
		}
		n.log.Log(context.Background(), level, kind+": "+a.Text, "code", a.Code)
	}
	for _, a := range ended {
		if a.isLoggedHere() {
			n.log.Info("an alarm or notice stands here no longer", "code", a.Code, "since", a.Since)
		}
	}
	return active
}

// isLoggedHere says whether an alarm's beginning and end are logged here: not where the same is logged as it happens, or by the
// node that it is about.
func (a Alarm) isLoggedHere() bool {
	return a.Code != AlarmNodeStopped && a.Code != AlarmNoCluster && (a.Code != AlarmDiskLow && a.Code != AlarmDiskHangs || a.subject == "")
}

// watchAlarms looks often enough that each alarm is logged, whether or not the status is asked for.
func (b *alarmBoard) watchAlarms() {
	const every = time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-b.node.lifecycle.closing.Done():
			return
		case <-tick.C:
			b.noteAlarms(b.standingAlarms(nil))
		}
	}
}

// standingAlarms returns the alarms that stand now, without their times. unreadable is the reason why the tables cannot be
// read; nil: they can.
func (b *alarmBoard) standingAlarms(unreadable error) []Alarm {
	n := b.node
	var active []Alarm
	if err := n.Err(); err != nil {
		active = append(active, Alarm{Code: AlarmNodeStopped, Text: "this node has stopped: " + err.Error()})
	}
	if n.config.Alarms != nil {
		active = append(active, n.config.Alarms()...)
	}
	if n.raftIfRunning() == nil {
		if waits := n.membership.waitReason.Load(); waits != nil {
			active = append(active, Alarm{Code: AlarmNoCluster, Text: "waits to be in a cluster: " + *waits})
		}
		return active
	}
	kept, err := n.tables.ReadAlarms()
	if unreadable == nil && err != nil {
		unreadable = err
	}
	if unreadable != nil {
		active = append(active, Alarm{Code: AlarmTablesUnreadable, Text: "the tables cannot be read: " + unreadable.Error()})
	}
	for _, row := range kept {
		active = append(active, Alarm{Code: AlarmCode(row.Code), Text: row.Text, Since: time.UnixMilli(row.SinceMS)})
	}
	active = append(active, b.spaceAlarms()...)
	active = append(active, n.hungDisk.alarms()...)
	active = append(active, n.schedule.alarms()...)
	if differ := n.membership.digests.alarm.Load(); differ != nil {
		active = append(active, Alarm{Code: AlarmTablesDiffer, Text: *differ})
	}
	if copied := n.membership.copyAlarm.Load(); copied != nil {
		active = append(active, Alarm{Code: AlarmFolderCopied, Text: *copied})
	}
	if strange := n.membership.strangerAlarm.Load(); strange != nil {
		active = append(active, Alarm{Code: AlarmOtherCluster, Text: *strange})
	}
	if l := n.leadership.now(); l != nil {
		active = append(active, l.clock.alarms()...)
		active = append(active, l.calendar.alarms()...)
		active = append(active, l.settingsAlarms()...)
		active = append(active, l.behindAlarms()...)
		active = append(active, l.quorumAlarms()...)
	}
	return active
}

// behindAlarms names the members that are far behind this leader. One that did not answer in the last round is not among
// them: that it does not answer is known otherwise.
func (l *leaderState) behindAlarms() []Alarm {
	behind := l.behind.Load()
	if behind == nil {
		return nil
	}
	var alarms []Alarm
	for _, b := range *behind {
		alarms = append(alarms, Alarm{
			Code: AlarmNodeBehind, subject: b.ID,
			Text: fmt.Sprintf("node %s at %s has applied the log up to entry %d, and this leader was at entry %d %v ago: "+
				"look at its disk, its processor and the network to it; until it catches up, it cannot stand in for another node",
				b.ID, b.Address, b.Applied, b.want, behindFor),
		})
	}
	return alarms
}

// quorumAlarms names the voters that do not answer raft, and says what the cluster can still bear.
func (l *leaderState) quorumAlarms() (alarms []Alarm) {
	silence := l.silence.Load()
	if silence == nil {
		return nil
	}
	for _, v := range silence.FindUnreachable(l.node.membership.configuredServers()) {
		alarms = append(alarms, Alarm{Code: AlarmQuorumAtRisk, subject: v.ID, Text: v.Text})
	}
	return alarms
}

// settingsAlarms names the members with other tick or ping settings than this leader. Each node looks for lost game servers
// with its own settings while it leads, so with different ones a change of the lead changes how soon they are found.
func (l *leaderState) settingsAlarms() []Alarm {
	var alarms []Alarm
	for _, h := range l.node.membership.hellos.Last().SortedMembers() {
		differences := describeDetectorDifferences(h.Detector, l.node.config.Detector)
		if len(differences) == 0 {
			continue
		}
		alarms = append(alarms, Alarm{
			Code: AlarmSettingsDiffer, subject: h.ID,
			Text: fmt.Sprintf("node %s at %s has other settings than the leader: %s: give every node the same, and restart those that differ",
				h.ID, h.Address, strings.Join(differences, ", ")),
		})
	}
	return alarms
}

// describeDetectorDifferences names each setting that differs, with its value here and there.
func describeDetectorDifferences(theirs, ours lock.Detector) (differences []string) {
	for _, setting := range []struct {
		name         string
		theirs, ours time.Duration
	}{
		{"tick", theirs.TickPeriod, ours.TickPeriod},
		{"ping", theirs.PingPeriod, ours.PingPeriod},
		{"ping-reach", theirs.ReachFor, ours.ReachFor},
		{"ping-again", theirs.RefusalGap, ours.RefusalGap},
	} {
		if setting.theirs != setting.ours {
			differences = append(differences, fmt.Sprintf("%s %v, not %v", setting.name, setting.theirs, setting.ours))
		}
	}
	return differences
}

const savesRefusedText = "saves are refused, but those that end a session: the nodes whose disks have space left are no majority; free some space"

func lowSpaceText(free uint64, c Config) string {
	return fmt.Sprintf("the disk of this node has %s free, less than its reserve of %s: free some space; at %s the node stops",
		formatMebibytes(free), formatMebibytes(c.Reserve), formatMebibytes(c.HardReserve))
}

func (b *alarmBoard) spaceAlarms() []Alarm {
	n := b.node
	var alarms []Alarm
	if n.space.belowReserve.Load() {
		text := lowSpaceText(n.space.freeBytes.Load(), n.config)
		if n.space.fewInodes.Load() {
			text = fmt.Sprintf("the disk of this node can hold %d more files (inodes), however much space is free: delete files there that are not this node's", n.space.freeInodes.Load())
		}
		alarms = append(alarms, Alarm{Code: AlarmDiskLow, Text: text})
	}
	l := n.leadership.now()
	if l == nil {
		return alarms
	}
	for _, h := range n.membership.hellos.Last().SortedMembers() {
		if h.BelowReserve && h.ID != n.ID() {
			alarms = append(alarms, Alarm{
				Code: AlarmDiskLow, subject: h.ID,
				Text: fmt.Sprintf("the disk of node %s has %s free, less than its reserve, or too few inodes: free some there", h.ID, formatMebibytes(h.FreeBytes)),
			})
		}
	}
	if l.spaceTight.Load() {
		alarms = append(alarms, Alarm{Code: AlarmSavesRefused, Text: savesRefusedText})
	}
	return alarms
}
