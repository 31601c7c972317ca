package cluster_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
)

func TestNodesWithOtherPingSettingsRaiseAnAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		odd := (c.Leader() + 1) % 3
		settingsTexts := func() (found []string) {
			for _, a := range c.Nodes[c.Leader()].Status().Alarms {
				if a.Code == cluster.AlarmSettingsDiffer {
					found = append(found, a.Text)
				}
			}
			return found
		}
		time.Sleep(3 * time.Second) // several rounds of questions
		if texts := settingsTexts(); len(texts) > 0 {
			t.Errorf("nodes with the same settings raise %q", texts)
		}
		c.Kill(odd)
		c.Reopen(odd, func(config *cluster.Config) {
			config.Detector.PingPeriod, config.Detector.TickPeriod = 7*time.Second, 100*time.Millisecond
		})
		c.Until("the leader to say which settings differ", func() bool {
			texts := settingsTexts()
			return len(texts) == 1 && strings.Contains(texts[0], c.Nodes[odd].ID()) &&
				strings.Contains(texts[0], "ping 7s, not 20s") && strings.Contains(texts[0], "tick 100ms, not 250ms") && !strings.Contains(texts[0], "ping-reach")
		})
		c.Kill(odd)
		c.Reopen(odd, func(config *cluster.Config) { config.Detector = cluster.DefaultConfig().Detector })
		c.Until("the alarm to end", func() bool { return len(settingsTexts()) == 0 })
	})
}
