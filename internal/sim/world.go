// Package sim runs real nodes and real game servers in one process and in virtual time, over a network in memory, on disks
// that forget unsynced data, and compares the answers that game servers got with the log.
//
// Run makes a World for a seed; a test's function injects faults, or lets RunNemesis do so. When it returns, every fault is
// undone, and package check and the observer report the violations. The same seed has the same schedule of faults and
// operations; goroutines of one virtual instant may still run in another order, so a seed that failed may have to be run a
// few times. fault_kinds.go has the faults that RunNemesis injects, fault.go and fault_node.go those that a test injects by
// hand; docs/hazards.md names a test for each hazard.
package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/internal/memnet"
	"github.com/profilenode/profilenode/internal/sim/check"
	"github.com/profilenode/profilenode/lock"
)

// Scenario is the setting of a World. A zero is drawn from the seed.
type Scenario struct {
	Nodes           int           // 3 to 5
	Spares          int           // nodes that may join later; 0: none
	Profiles        int           // 2 to 4
	DoubtLimit      time.Duration // of the game servers
	Autosave        time.Duration
	Timing          lock.Timing   // the timing class of the game servers; zero: the default one
	Heartbeat       time.Duration // of raft, and its election time-out and leader lease; 0: the default
	Jitter          time.Duration // by which each thing sent may take longer, drawn for each; 0: none
	ReorderingProxy bool          // every call goes through a proxy that keeps copies
	Bulk            int           // bytes of every eighth change's data, which go into the log in parts; 0: none
	Ping            bool          // game servers hold a ping port
	Gossip          bool          // nodes and game servers gossip with memberlist
	Walled          bool          // a firewall refuses n0 in the name of every game server, always
	Replaces        bool          // a game server that is started again names the incarnation that it had before
	GrantsPage      int           // grants in one page of a list; 0: the default, which is never filled
	Upgrade         bool          // nodes that are restarted, or join, are of a newer build
}

// World is a cluster, game servers, and a network between them.
type World struct {
	Seed   uint64
	Timing lock.Timing
	Rand   *rand.Rand // for the function that Run was given; nothing else draws from it

	scenario Scenario
	network  *memnet.Network
	began    time.Time
	nodes    []*node
	profiles []string
	ending   sync.WaitGroup // of crashed nodes, which close in the background
	observer *observer

	mu        sync.Mutex
	servers   map[string]*Server // by name; the present process
	processes []*Server          // all that were ever started
	skews     map[string]*clock  // by host
	still     map[string]bool    // hosts that are frozen
	struck    map[string]int     // how often each kind of fault was injected
	history   check.History
	log       []logLine
	found     []check.Violation
	proxy     *reorderingProxy
}

const store = "sim"

// timingClass is that of all game servers.
const timingClass = "sim"

// Report is the result of a run.
type Report struct {
	Seed       uint64
	Violations []check.Violation
	Log        []string // the lines about them
	Sessions   int
	Saves      int // acknowledged
	Unknown    int // operations without an outcome
	Faults     int
	Struck     map[string]int // how often RunNemesis tried each fault
	Virtual    time.Duration
}

// Run makes a world, calls f with it, undoes the faults, and fails t if there was a violation.
func Run(t *testing.T, seed uint64, scenario Scenario, f func(w *World)) {
	t.Helper()
	if r := runWorld(t, seed, scenario, f); len(r.Violations) > 0 {
		t.Error(r.String("go test ./internal/sim -run '^" + t.Name() + "$'"))
	}
}

func runWorld(t *testing.T, seed uint64, scenario Scenario, f func(w *World)) (r Report) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(seed, scenario)
		defer func() { r = w.makeReport() }()
		defer w.closeAll()
		if !w.startNodes() {
			return
		}
		f(w)
		w.repairAll()
	})
	return r
}

func newWorld(seed uint64, s Scenario) *World {
	draw := rand.New(rand.NewPCG(seed, 1))
	nodes, profiles, doubt := 3+draw.IntN(5)/3*2, 2+draw.IntN(3), []time.Duration{-1, 5 * time.Second, 60 * time.Second}[draw.IntN(3)]
	autosave := []time.Duration{-1, 500 * time.Millisecond, 3 * time.Second}[draw.IntN(3)]
	set := func(to *int, drawn int) {
		if *to == 0 {
			*to = drawn
		}
	}
	set(&s.Nodes, nodes)
	set(&s.Profiles, profiles)
	if s.DoubtLimit == 0 {
		s.DoubtLimit = doubt
	}
	if s.Autosave == 0 {
		s.Autosave = autosave
	}
	if s.Timing == (lock.Timing{}) {
		s.Timing = lock.DefaultTiming()
	}
	w := &World{
		Seed: seed, Timing: s.Timing, Rand: rand.New(rand.NewPCG(seed, 2)),
		scenario: s, network: memnet.New(), began: time.Now(),
		servers: map[string]*Server{}, skews: map[string]*clock{}, still: map[string]bool{}, struck: map[string]int{},
	}
	for i := range s.Profiles {
		w.profiles = append(w.profiles, fmt.Sprint("p", i))
	}
	for i := range s.Nodes + s.Spares {
		w.nodes = append(w.nodes, newNode(w, i, rand.New(rand.NewPCG(seed, 100+uint64(i)))))
	}
	if s.ReorderingProxy {
		w.proxy = newReorderingProxy(w, rand.New(rand.NewPCG(seed, 3)))
	}
	return w
}

// startNodes starts every node and waits until there is a leader.
func (w *World) startNodes() bool {
	w.applyDefaultDelays()
	for _, n := range w.founders() {
		n.start()
	}
	w.observer = startObserver(w)
	if !w.Until(30*time.Second, "the cluster to begin", func() bool { return w.Leader() >= 0 }) {
		return false
	}
	return w.setUpPolicies()
}

// founders are the nodes that begin the cluster.
func (w *World) founders() []*node { return w.nodes[:w.scenario.Nodes] }

// joinedNodes are the nodes that were ever started, whether they run or not.
func (w *World) joinedNodes() (members []*node) {
	for _, n := range w.nodes {
		if n.hasJoined() {
			members = append(members, n)
		}
	}
	return members
}

// Now is the time since the world began.
func (w *World) Now() time.Duration { return time.Since(w.began) }

// Sleep lets time pass.
func (w *World) Sleep(d time.Duration) { time.Sleep(d) }

// Until waits for a condition, and reports a violation if it does not hold in time.
func (w *World) Until(limit time.Duration, what string, holds func() bool) bool {
	for until := time.Now().Add(limit); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			w.Complain("", "waited %v for %s, which did not come", limit, what)
			return false
		}
	}
	return true
}

// Complain reports a violation, of the first twenty of a run.
func (w *World) Complain(profile, format string, args ...any) {
	v := check.Violation{Profile: profile, What: fmt.Sprintf("at %v: ", w.Now().Round(time.Millisecond)) + fmt.Sprintf(format, args...)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.found) < 20 {
		w.found = append(w.found, v)
	}
}

// Leader is the number of the node that can confirm its leadership now; -1: none.
func (w *World) Leader() int {
	for _, n := range w.nodes {
		running := n.runningNode()
		if running == nil {
			continue
		}
		if _, self := running.Leader(); !self {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		_, err := running.ConfirmLeadership(ctx)
		cancel()
		if err == nil {
			return n.number
		}
	}
	return -1
}

// leadingNode is the node that leads; nil: none does.
func (w *World) leadingNode() *cluster.Node {
	if i := w.Leader(); i >= 0 {
		return w.Node(i)
	}
	return nil
}

// Node is a node that runs; nil: it does not.
func (w *World) Node(i int) *cluster.Node { return w.nodes[i].runningNode() }

// closeAll ends every process. A bubble that is left with a goroutine in it ends the test process.
func (w *World) closeAll() {
	w.mu.Lock()
	processes := w.processes
	w.mu.Unlock()
	for _, s := range processes {
		s.Kill()
	}
	if w.observer != nil {
		w.observer.stopObserving()
	}
	for _, n := range w.nodes {
		n.stopProcess(false)
	}
	w.ending.Wait()
	if w.proxy != nil {
		w.proxy.close()
	}
	if w.scenario.Gossip {
		time.Sleep(time.Minute) // until the probes under way have ended by themselves
	}
}
