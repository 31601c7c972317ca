package sim

import (
	"testing"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/lock"
)

// One bound for each ground on which an owner loses a profile: sooner than the least it would be robbed while it believes,
// later than its bound. The observer looks every 10 ms whether it is active while another one's grant
// is in force.
func TestTheObserver(t *testing.T) {
	t.Run("default class", func(t *testing.T) {
		testTheObserver(t, lock.DefaultTiming())
	})
	t.Run("a class with 20 s of doubt", func(t *testing.T) {
		testTheObserver(t, lock.Timing{
			Renew: 5 * time.Second, Doubt: 20 * time.Second, Evidence: 25 * time.Second, Lease: 40 * time.Second, HandOff: 40 * time.Second,
		})
	})
}

func testTheObserver(t *testing.T, timing lock.Timing) {
	tests := []struct {
		name        string
		gossip      bool                                            // game servers and nodes gossip
		walled      bool                                            // n0 leads, and a firewall refuses it in the owner's name from the first
		act         func(w *World, owner *Server, session *Session) // the fault that hits the owner
		when        client.IfOwned                                  // how the heir asks for the profile
		ground      lock.Ground                                     // on which the owner's incarnation ends; Living: it does not
		least, most time.Duration                                   // until the heir has it; most 0: those of the ground
	}{
		{
			name: "goodbye", act: func(_ *World, owner *Server, _ *Session) { owner.Close(time.Second) },
			ground: lock.Goodbye, most: 50 * time.Millisecond,
		},
		{
			name: "proof", act: func(_ *World, owner *Server, _ *Session) { owner.Kill() },
			ground: lock.Proof, least: lock.DefaultDetector().RefusalGap, most: 500 * time.Millisecond,
		},
		{name: "evidence: gossip says dead", act: func(w *World, owner *Server, _ *Session) { w.reportAllDead(); owner.Lose() }, ground: lock.Evidence},
		{name: "evidence: a cut, and gossip says dead", act: func(w *World, owner *Server, _ *Session) { w.reportAllDead(); w.Isolate(owner.Name) }, ground: lock.Evidence},
		{name: "evidence: killed behind a firewall", walled: true, act: func(_ *World, owner *Server, _ *Session) { owner.Kill() }, ground: lock.Evidence},
		{name: "evidence: a lost host", gossip: true, act: func(_ *World, owner *Server, _ *Session) { owner.Lose() }, ground: lock.Evidence},
		{
			name: "evidence: a cut from everything", gossip: true, act: func(w *World, owner *Server, _ *Session) {
				w.network.Isolate(owner.process, w.allHosts()...)
			},
			ground: lock.Evidence,
		},
		{ // another game server still reaches it, and says so
			name: "silence: a cut from the nodes alone", gossip: true, act: func(w *World, owner *Server, _ *Session) { w.Isolate(owner.Name) },
			ground: lock.Silence,
		},
		{name: "silence: a lost host", act: func(_ *World, owner *Server, _ *Session) { owner.Lose() }, ground: lock.Silence},
		{name: "silence: a cut", act: func(w *World, owner *Server, _ *Session) { w.Isolate(owner.Name) }, ground: lock.Silence},
		{name: "silence: a stopped process", act: func(w *World, owner *Server, _ *Session) { w.Stop(owner.Name) }, ground: lock.Silence},
		{
			name: "silence: cut off both ways", act: func(w *World, owner *Server, _ *Session) {
				for _, n := range w.nodes {
					w.CutOneWay(n.name, owner.Name)
					w.CutOneWay(owner.Name, n.name)
				}
			},
			ground: lock.Silence,
		},
		{
			name: "hand-off", act: func(*World, *Server, *Session) {},
			most: 50 * time.Millisecond,
		},
		{
			name: "hand-off, and what it is told is lost", act: func(w *World, _ *Server, _ *Session) { w.loseAllEvents() },
			most: timing.Renew + 2*time.Second + 100*time.Millisecond, // asked with its next renewal; the heir looks every 2 s
		},
		{
			name: "steal", act: func(*World, *Server, *Session) {}, when: client.IfOwnedSteal,
			most: 50 * time.Millisecond,
		},
		{
			name: "steal, and what it is told is lost", act: func(w *World, _ *Server, _ *Session) { w.loseAllEvents() }, when: client.IfOwnedSteal,
			most: timing.Renew + 2*time.Second + 100*time.Millisecond,
		},
		{
			name: "steal from one that hears nothing", act: func(w *World, owner *Server, _ *Session) {
				for _, n := range w.nodes {
					w.CutOneWay(n.name, owner.Name)
				}
			},
			when: client.IfOwnedSteal, least: timing.Doubt, most: timing.Evidence + 1500*time.Millisecond,
		},
		{
			name: "steal from one that is cut off", act: func(w *World, owner *Server, _ *Session) { w.Isolate(owner.Name) }, when: client.IfOwnedSteal,
			least: timing.Doubt, most: timing.Evidence + 1500*time.Millisecond,
		},
	}
	for _, test := range tests {
		switch {
		case test.most > 0:
		case test.ground == lock.Evidence:
			test.least, test.most = timing.Evidence-timing.Renew, timing.Evidence+1500*time.Millisecond
		case test.ground == lock.Silence:
			test.least, test.most = timing.Lease-timing.Renew, timing.Lease+2*time.Second
		}
		for _, rate := range []float64{1 / lock.ClockRatio, 1, lock.ClockRatio} {
			t.Run(test.name, func(t *testing.T) {
				scenario := Scenario{Nodes: 3, Profiles: 2, DoubtLimit: time.Minute, Autosave: -1, Ping: true, Gossip: test.gossip, Walled: test.walled, Timing: timing}
				Run(t, 1, scenario, func(w *World) {
					if test.walled {
						w.Until(30*time.Second, "n0 to lead", func() bool {
							if at := w.Leader(); at > 0 {
								w.Crash(at)
								w.Sleep(2 * time.Second)
								w.Restart(at)
							}
							return w.Leader() == 0
						})
					}
					owner, heir := open(w, "owner"), open(w, "heir")
					w.Skew("owner", 0, rate)
					session, err := owner.Start("p0", time.Second)
					if err != nil {
						w.Complain("p0", "no session: %v", err)
						return
					}
					w.Sleep(10*time.Second + 300*time.Millisecond)
					if !session.IsActive() {
						w.Complain("p0", "it is %v before anything befalls it", session.State())
					}
					incarnation := w.ownerOf("p0")
					at := w.Now()
					test.act(w, owner, session)
					if _, err := heir.Start("p0", timing.Lease+20*time.Second, test.when); err != nil {
						w.Complain("p0", "the heir: %v", err)
						return
					}
					if took := w.Now() - at; took < test.least || took > test.most {
						w.Complain("p0", "at a rate of %.2f the heir has it after %v, want %v to %v", rate, took, test.least, test.most)
					}
					if got := w.groundOf(incarnation); got != test.ground {
						w.Complain("p0", "the owner's incarnation has ended by %v, want %v", got, test.ground)
					}
					w.Sleep(2 * time.Second)
				})
			})
		}
	}
}

func (w *World) reportAllDead() {
	for i := range w.nodes {
		w.ReportAllDead(i)
	}
}

func (w *World) loseAllEvents() {
	for i := range w.nodes {
		w.LoseEvents(i)
	}
}

// leaders is the node that leads.
func (w *World) leaders() (leader *cluster.Node) {
	w.Until(20*time.Second, "a leader", func() bool {
		leader = w.leadingNode()
		return leader != nil
	})
	return leader
}

func (w *World) ownerOf(key string) (inc lock.Incarnation) {
	view, err := w.leaders().View()
	if err != nil {
		w.Complain(key, "%v", err)
		return 0
	}
	defer view.Close()
	row, err := view.Grant(store, key)
	if err != nil {
		w.Complain(key, "%v", err)
	}
	return row.Owner
}

func (w *World) groundOf(inc lock.Incarnation) lock.Ground {
	view, err := w.leaders().View()
	if err != nil {
		w.Complain("", "%v", err)
		return 0
	}
	defer view.Close()
	row, _, err := view.Server(inc)
	if err != nil {
		w.Complain("", "%v", err)
	}
	return row.Ground
}
