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
