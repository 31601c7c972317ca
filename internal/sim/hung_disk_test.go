package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/cluster"
)

// alarmText is the text of a node's alarm about its own disk, empty while there is none.
func alarmText(n *cluster.Node) string {
	alarms := n.Status().Alarms
	i := slices.IndexFunc(alarms, func(a cluster.Alarm) bool {
		return a.Code == cluster.AlarmDiskHangs && strings.Contains(a.Text, "this node")
	})
	if i < 0 {
		return ""
	}
	return alarms[i].Text
}

// alarmsAbout are the codes of a node's alarms whose text names another node.
func alarmsAbout(n *cluster.Node, other string) (codes []cluster.AlarmCode) {
	for _, a := range n.Status().Alarms {
		if strings.Contains(a.Text, other) {
			codes = append(codes, a.Code)
		}
	}
	return codes
}

// openHeld opens a game server with a session on each profile.
func openHeld(w *World) (*Server, []*Session) {
	s := open(w, "g0")
	if s == nil {
		return nil, nil
	}
	sessions := openAll(w, s, w.profiles)
	for _, session := range sessions {
		if err := session.Save(5 * time.Second); err != nil {
			w.Complain(session.record.Profile, "not saved before the fault: %v", err)
		}
	}
	return s, sessions
}

// A leader whose disk hangs, with a save under way or idle, is followed by another within ten seconds, and no session ends.
func TestALeaderWhoseDiskHangsIsFollowedByAnother(t *testing.T) {
	for _, test := range []struct {
		name   string
		saving bool
	}{{"while a save is under way", true}, {"while nothing is written", false}} {
		t.Run(test.name, func(t *testing.T) {
			Run(t, 1, Scenario{Nodes: 3, DoubtLimit: time.Minute, Autosave: -1, Ping: true}, func(w *World) {
				_, sessions := openHeld(w)
				w.Sleep(3 * time.Second)
				leader := w.Leader()
				hung := w.nodes[leader]
				node := hung.runningNode()
				began := w.Now()
				w.holdDisk(hung, true)
				saved := make(chan error, 1)
				if test.saving {
					go func() { saved <- sessions[0].Save(30 * time.Second) }()
				}
				w.Sleep(4 * time.Second)
				if node.DiskHang() == nil || alarmText(node) == "" {
					w.Complain("", "after 4s the node says %v, and its alarm %q: want both", node.DiskHang(), alarmText(node))
				}
				w.Until(10*time.Second-(w.Now()-began), "another node to lead", func() bool { return w.Leader() >= 0 && w.Leader() != leader })
				if test.saving {
					if err := <-saved; err != nil {
						w.Complain("", "the save under way: %v", err)
					}
				}
				for _, session := range sessions {
					if err := session.Save(10 * time.Second); err != nil {
						w.Complain(session.record.Profile, "not saved after the change of the leader: %v", err)
					}
				}
				w.holdDisk(hung, false)
				w.Crash(leader) // a node that could not hand over has stopped itself
				w.Restart(leader)
			})
		})
	}
}

// A leader whose disk hangs stays where no other node could lead: giving up would make the outage longer. It says why, and
// goes on once the disk answers.
func TestALeaderWhoseDiskHangsStaysWhereNoOtherCouldLead(t *testing.T) {
	for _, test := range []struct {
		name  string
		nodes int
		also  func(w *World, leader int) (undo func())
	}{
		{"a follower is down", 3, func(w *World, leader int) func() {
			down := (leader + 1) % 3
			w.Crash(down)
			return func() { w.Restart(down) }
		}},
		{"all disks hang", 3, func(w *World, _ int) func() {
			w.holdDisks(true)
			return func() { w.holdDisks(false) }
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			Run(t, 1, Scenario{Nodes: test.nodes, DoubtLimit: time.Minute, Autosave: -1, Ping: true}, func(w *World) {
				_, sessions := openHeld(w)
				leader := w.Leader()
				hung := w.nodes[leader]
				node := hung.runningNode()
				term := node.Status().Term
				undo := test.also(w, leader)
				w.holdDisk(hung, true)
				saved := make(chan error, 1)
				go func() { saved <- sessions[0].Save(time.Minute) }()
				w.Sleep(15 * time.Second)
				if text := alarmText(node); !strings.Contains(text, "leads and stays") {
					w.Complain("", "the alarm says %q, want that it leads and stays", text)
				}
				w.holdDisk(hung, false)
				undo()
				if err := <-saved; err != nil {
					w.Complain("", "the save under way: %v", err)
				}
				if w.Leader() != leader || node.Status().Term != term || node.Err() != nil {
					w.Complain("", "the leader is n%d, in term %d, and was n%d, in term %d: %v", w.Leader(), node.Status().Term, leader, term, node.Err())
				}
				w.Until(5*time.Second, "the alarm to end", func() bool { return alarmText(node) == "" })
				for _, session := range sessions {
					if session.State() == client.StateOver {
						w.Complain(session.record.Profile, "the session is over: %v", session.Err())
					}
				}
			})
		})
	}
}

// A follower whose disk hangs holds up no save. The leader says so at once, and after a while that the follower is far
// behind, until it has caught up. One that is down is not behind, and has time to catch up once it has started.
func TestTheLeaderSaysThatAFollowerIsBehind(t *testing.T) {
	Run(t, 1, Scenario{Nodes: 3, DoubtLimit: time.Minute, Autosave: -1, Ping: true}, func(w *World) {
		_, sessions := openHeld(w)
		w.Sleep(time.Minute) // the leader knows what it had applied before
		leader := w.nodes[w.Leader()].runningNode()
		follower := (w.Leader() + 1) % 3
		slow := w.nodes[follower]
		id := slow.runningNode().ID()
		saveFor := func(span time.Duration, want ...cluster.AlarmCode) {
			for until := w.Now() + span; w.Now() < until; w.Sleep(time.Second) {
				if err := sessions[0].Save(5 * time.Second); err != nil {
					w.Complain(sessions[0].record.Profile, "not saved: %v", err)
				}
			}
			if got := alarmsAbout(leader, id); !slices.Equal(got, want) {
				w.Complain("", "the leader's alarms about the follower are %v, want %v", got, want)
			}
		}
		saveFor(5 * time.Second)
		w.holdDisk(slow, true)
		saveFor(28*time.Second, cluster.AlarmDiskHangs)
		saveFor(7*time.Second, cluster.AlarmDiskHangs, cluster.AlarmNodeBehind)
		w.holdDisk(slow, false)
		w.Until(5*time.Second, "the alarms to end", func() bool { return len(alarmsAbout(leader, id)) == 0 })
		w.Crash(follower)
		saveFor(40*time.Second, cluster.AlarmQuorumAtRisk)
		w.Restart(follower)
		saveFor(10 * time.Second)
	})
}
