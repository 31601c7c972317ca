package cluster

import (
	"fmt"
	"strings"
	"time"

	"github.com/profilenode/profilenode/lock"
)

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
