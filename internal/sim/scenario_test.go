package sim

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/profilenode/profilenode/client"
)

// open starts a game server that must be let in.
func open(w *World, name string) *Server {
	s := w.Server(name, 10*time.Second)
	if s == nil {
		w.Complain("", "%s is not let in", name)
	}
	return s
}

// openAll opens a session on each of the profiles.
func openAll(w *World, s *Server, keys []string) (sessions []*Session) {
	var mu sync.Mutex
	var opening sync.WaitGroup
	for _, key := range keys {
		opening.Go(func() {
			session, err := s.Start(key, 30*time.Second)
			if err != nil {
				w.Complain(key, "%s opens no session: %v", s.Name, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			sessions = append(sessions, session)
		})
	}
	opening.Wait()
	return sessions
}

// Without a quorum no profile changes its owner, and no session ends within its limit for doubt.
func TestWithoutAQuorumNoSessionEnds(t *testing.T) {
	for _, test := range []struct {
		name      string
		lose, end func(w *World)
	}{
		{"the nodes are cut from each other", (*World).SeparateNodes, (*World).Heal},
		{
			"two of three nodes are down",
			func(w *World) { w.Crash(0); w.Lose(1) },
			func(w *World) { w.Restart(0); w.Restart(1) },
		},
		{"the disks of all nodes stand still", func(w *World) { w.holdDisks(true) }, func(w *World) { w.holdDisks(false) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			Run(t, 1, Scenario{Nodes: 3, Profiles: 400, DoubtLimit: time.Minute, Autosave: time.Second, Ping: true}, func(w *World) {
				var sessions []*Session
				for i := range 4 {
					s := open(w, fmt.Sprint("g", i))
					if s == nil {
						return
					}
					sessions = append(sessions, openAll(w, s, w.profiles[100*i:100*(i+1)])...)
				}
				all := func(what string, is func(*Session) bool) bool {
					return w.Until(15*time.Second, what, func() bool {
						for _, s := range sessions {
							if !is(s) {
								return false
							}
						}
						return true
					})
				}
				if len(sessions) != 400 || !all("all to be active", func(s *Session) bool { return s.IsActive() }) {
					return
				}
				test.lose(w)
				for lost := w.Now(); w.Now()-lost < 50*time.Second; w.Sleep(500 * time.Millisecond) {
					for _, s := range sessions {
						if got := s.State(); got == client.StateOver || got == client.StateHeld && w.Now()-lost > 5*time.Second {
							w.Complain(s.record.Profile, "%v without a quorum: %v, %v", w.Now()-lost, got, s.Err())
						}
						s.Touch() // the game goes on
					}
				}
				test.end(w)
				if !all("all to be active again", func(s *Session) bool { return s.IsActive() }) {
					return
				}
				var saving sync.WaitGroup
				for _, s := range sessions {
					saving.Go(func() {
						if err := s.Save(5 * time.Second); err != nil {
							w.Complain(s.record.Profile, "it is not saved after the quorum is back: %v", err)
						}
					})
				}
				saving.Wait()
			})
		})
	}
}

func (w *World) holdDisks(hold bool) {
	for _, n := range w.joinedNodes() {
		w.holdDisk(n, hold)
	}
}

func (w *World) holdDisk(n *node, hold bool) {
	n.mu.Lock()
	p := n.process
	n.mu.Unlock()
	if hold {
		p.disk.holdWrites()
	} else {
		p.disk.releaseWrites()
	}
}

// An owner that heard nothing for the evidence time was robbed. When it hears again, the leader's disk stands still: what the
// leader proposes does not commit, so it confirms nothing. Its answers must not make the owner's session active beside the
// thief's, which the observer looks for.
func TestARobbedOwnerIsNotActiveWhileTheLeadersDiskStandsStill(t *testing.T) {
	Run(t, 1, Scenario{Nodes: 3, DoubtLimit: time.Minute, Autosave: -1, Ping: true}, func(w *World) {
		key := w.profiles[0]
		owner, thief, other := open(w, "g0"), open(w, "g1"), open(w, "g2")
		if owner == nil || thief == nil || other == nil {
			return
		}
		robbed, err := owner.Start(key, 5*time.Second)
		if err == nil {
			err = robbed.Save(5 * time.Second)
		}
		writing, otherErr := other.Start(w.profiles[1], 5*time.Second)
		if err = errors.Join(err, otherErr); err != nil {
			w.Complain(key, "the sessions do not begin: %v", err)
			return
		}
		leader := w.nodes[w.Leader()]
		w.Sleep(2 * time.Second)

		cut := w.Now()
		w.Isolate("g0")
		session, err := thief.Start(key, 10*time.Second, client.IfOwnedSteal)
		if silent := w.Now() - cut; err != nil || silent < w.Timing.Evidence {
			w.Complain(key, "stolen %v after the owner was cut off: %v", silent, err)
			return
		}
		w.holdDisk(leader, true)
		saved := make(chan error, 1)
		go func() { saved <- writing.Save(30 * time.Second) }() // a proposal that waits for the disk
		w.Sleep(1500 * time.Millisecond)
		w.network.HealAll()
		w.applyDefaultDelays()
		before := owner.unconfirmed.Load()
		w.Sleep(3 * time.Second) // not for so long that the leader gives up its leadership
		if n := owner.unconfirmed.Load() - before; n < 2 {
			w.Complain(key, "the owner heard %d answers that confirm nothing: nothing is shown", n)
		}
		if got := robbed.State(); got != client.StateInDoubt {
			w.Complain(key, "the owner while the leader confirms nothing: %v, %v, want in doubt", got, robbed.Err())
		}
		w.holdDisk(leader, false)
		if err := <-saved; err != nil {
			w.Complain(w.profiles[1], "it is not saved after the disk goes on: %v", err)
		}
		w.Until(5*time.Second, "the owner to know", func() bool { return robbed.State() == client.StateOver })
		w.Until(5*time.Second, "the thief's session to be held again", session.IsActive)
	})
}

// Who reaches a follower alone is told where the leader is; as soon as it can go there, it does, and not before.
func TestWhoReachesAFollowerIsSentToTheLeader(t *testing.T) {
	Run(t, 1, Scenario{Nodes: 3, DoubtLimit: time.Minute, Ping: true}, func(w *World) {
		leader := w.Leader()
		for i, n := range w.nodes {
			if i != (leader+1)%3 {
				w.network.Cut("g0.1", n.name)
			}
		}
		opened := make(chan *Server, 1)
		began := w.Now()
		go func() { opened <- w.Server("g0", 30*time.Second) }()
		w.Sleep(5 * time.Second)
		select {
		case <-opened:
			w.Complain("", "it is let in, or gives up, %v after the start while it reaches a follower alone", w.Now()-began)
			return
		default:
		}
		w.network.Heal("g0.1", w.nodes[leader].name)
		healed := w.Now()
		s := <-opened
		if s == nil || w.Now()-healed > 2*time.Second {
			w.Complain("", "let in %v, %v after it could reach the leader", s != nil, w.Now()-healed)
			return
		}
		session, err := s.Start(w.profiles[0], 2*time.Second)
		if err != nil {
			w.Complain("", "no session: %v", err)
			return
		}

		// The leader hands over to a node that it does not reach: it is in doubt, and held again once it does.
		for i, n := range w.nodes {
			if i != leader {
				w.network.Cut("g0.1", n.name)
			}
		}
		w.Transfer(leader)
		w.Until(5*time.Second, "another leader", func() bool { return w.Leader() >= 0 && w.Leader() != leader })
		w.Sleep(w.Timing.Doubt + time.Second)
		if got := session.State(); got != client.StateInDoubt {
			w.Complain(session.record.Profile, "beyond the leader's reach: %v, %v, want in doubt", got, session.Err())
		}
		w.Heal()
		w.Until(3*time.Second, "the session to be held again", session.IsActive)
	})
}

// Copies of every request, seconds and minutes late, to any node and in any order, while leaders change; and beside them
// copies that each node must refuse, in place of the honest one too.
func TestTheReorderingProxy(t *testing.T) {
	twice := 0
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			Run(t, seed, Scenario{Nodes: 3, ReorderingProxy: true, Ping: true, GrantsPage: 1}, func(w *World) {
				w.RunNemesis(3, 30*time.Second)
				w.proxy.mu.Lock()
				refused, misled, pages := w.proxy.refused, w.proxy.misled, w.proxy.pages
				w.proxy.mu.Unlock()
				for kind, times := range refused {
					if times == 0 {
						w.Complain("", "no copy with %v was refused: nothing is shown", forgery(kind))
					}
				}
				if misled == 0 {
					w.Complain("", "no attempt met another's refusal: nothing is shown")
				}
				twice += pages
				t.Logf("refused copies by kind: %v; attempts that met one: %d; pages that came twice: %d", refused, misled, pages)
			})
		})
	}
	if twice == 0 {
		t.Error("no page of a list of grants came twice: nothing is shown")
	}
}
