package sim

import (
	"fmt"
	"testing"
	"time"
)

// openFleet opens twelve game servers, the first of which have a session each.
func openFleet(w *World) (fleet []*Server, sessions []*Session) {
	for i := range 12 {
		s := open(w, fmt.Sprintf("g%d", i))
		if s == nil {
			return nil, nil
		}
		fleet = append(fleet, s)
		if i < len(w.profiles) {
			sessions = append(sessions, openAll(w, s, w.profiles[i:i+1])...)
		}
	}
	return fleet, sessions
}

// countEnded returns how many game servers the node has ended, and how many are alive.
func countEnded(w *World, at int) (ended, alive int) {
	view, err := w.Node(at).View()
	if err != nil {
		w.Complain("", "read the tables: %v", err)
		return 0, 0
	}
	defer view.Close()
	servers, err := view.Servers()
	if err != nil {
		w.Complain("", "read the game servers: %v", err)
	}
	for _, s := range servers {
		switch {
		case s.Tool:
		case s.Alive:
			alive++
		default:
			ended++
		}
	}
	return ended, alive
}

// No game server reaches the leader, as with a firewall on its client port, and every node does. Another node leads soon, and no
// game server is expired.
func TestALeaderThatGameServersDoNotReachHandsOver(t *testing.T) {
	Run(t, 1, Scenario{Nodes: 3, DoubtLimit: time.Minute, Autosave: -1, Ping: true}, func(w *World) {
		fleet, sessions := openFleet(w)
		w.Sleep(3 * time.Second)
		leader := w.Leader()
		for _, s := range fleet {
			w.network.CutOneWay(s.process, w.nodes[leader].name)
		}
		w.Until(15*time.Second, "another node to lead", func() bool { return w.Leader() >= 0 && w.Leader() != leader })
		for _, session := range sessions {
			if err := session.Save(10 * time.Second); err != nil {
				w.Complain(session.record.Profile, "not saved under the other leader: %v", err)
			}
		}
		w.Sleep(20 * time.Second)
		if ended, alive := countEnded(w, w.Leader()); ended > 0 || alive != len(fleet) {
			w.Complain("", "%d game servers were ended and %d are alive, want all %d", ended, alive, len(fleet))
		}
		w.network.HealAll()
	})
}

// Game servers reach no node: the first leader asks the others, which reach none either, and they expire.
func TestAFleetThatReachesNoNodeExpires(t *testing.T) {
	Run(t, 1, Scenario{Nodes: 3, DoubtLimit: 10 * time.Second, Autosave: -1, Ping: true}, func(w *World) {
		fleet, _ := openFleet(w)
		w.Sleep(3 * time.Second)
		leader := w.Leader()
		for _, s := range fleet {
			for i := range w.nodes {
				w.network.CutOneWay(s.process, w.nodes[i].name)
			}
		}
		w.Until(14*time.Second, "all of them to be expired", func() bool { ended, _ := countEnded(w, leader); return ended == len(fleet) })
		if w.Leader() != leader {
			w.Complain("", "node %d leads, and %d did", w.Leader(), leader)
		}
		w.network.HealAll()
	})
}
