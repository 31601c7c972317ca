package check

import (
	"cmp"
	"container/heap"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// generator makes histories of a store that keeps every guarantee. Workers ask for operations, which take effect at one moment
// between call and return, or, of those whose outcome is unknown, at any time after the call or never.
type generator struct {
	keys, workers, operations int
	unknown                   float64 // share of the operations
	messages, lists           bool

	random   *rand.Rand
	now      time.Duration
	queue    momentQueue
	asked    int
	events   []history.Event
	profiles map[string]*storedProfile
	unique   int
	faults   int
}

// storedProfile is a profile of the simulated store.
type storedProfile struct {
	revision int64
	doc      *history.Doc
	past     []*history.Doc // by revision
	loads    uint64
	owner    *gameSession
	waiting  []string
}

// gameSession is a session of a worker.
type gameSession struct {
	name, key string
	process   string
	doc       history.Doc // as the game has it
	loads     uint64
	token     uint64
	over      bool
}

// worker asks for one operation at a time.
type worker struct {
	name     string
	next     uint64
	sessions map[string]*gameSession
}

type moment struct {
	at    time.Duration
	order int
	act   func()
}

type momentQueue []moment

func (q momentQueue) Len() int { return len(q) }
func (q momentQueue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].at, q[j].at), cmp.Compare(q[i].order, q[j].order)) < 0
}
func (q momentQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *momentQueue) Push(x any)   { *q = append(*q, x.(moment)) }
func (q *momentQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// generate makes a history.
func (g *generator) generate(seed uint64) (history.Header, []history.Event) {
	g.random = rand.New(rand.NewPCG(seed, 7))
	g.profiles = map[string]*storedProfile{}
	for i := range g.workers {
		w := &worker{name: fmt.Sprintf("g%d.%d", i%3+1, i), sessions: map[string]*gameSession{}}
		g.after(g.some(5), func() { g.work(w) })
	}
	g.after(20*time.Millisecond, g.fault)
	for g.queue.Len() > 0 {
		m := heap.Pop(&g.queue).(moment)
		g.now = m.at
		m.act()
	}
	g.now += time.Millisecond
	for key, p := range g.profiles {
		if p.owner != nil {
			g.add(history.Event{Type: history.Info, Action: history.Active, Key: key, Session: p.owner.name, Process: p.owner.process})
		}
	}
	for i := range g.keys {
		key := fmt.Sprint("p", i)
		p := g.profileOf(key)
		waiting, _ := json.Marshal(p.waiting)
		g.now += time.Microsecond
		g.add(history.Event{Type: history.Info, Action: history.Final, Key: key, Revision: p.revision, Doc: p.doc, Detail: string(waiting)})
	}
	return history.Header{Seed: int64(seed)}, g.events
}

func (g *generator) profileOf(key string) *storedProfile {
	p := g.profiles[key]
	if p == nil {
		p = &storedProfile{past: []*history.Doc{nil}}
		g.profiles[key] = p
	}
	return p
}

// after does an act later; acts at one time keep their order.
func (g *generator) after(d time.Duration, act func()) {
	g.unique++
	heap.Push(&g.queue, moment{g.now + d, g.unique, act})
}

// some is a random time of up to n milliseconds.
func (g *generator) some(n int) time.Duration {
	return time.Duration(1+g.random.IntN(n*1000)) * time.Microsecond
}

func (g *generator) chance(part float64) bool { return g.random.Float64() < part }

func (g *generator) name(prefix string) string {
	g.unique++
	return fmt.Sprint(prefix, g.unique)
}

func (g *generator) add(e history.Event) {
	e.Time = g.now
	if e.Doc != nil {
		d := *e.Doc
		d.Applied, d.List = slices.Clone(d.Applied), slices.Clone(d.List)
		e.Doc = &d
	}
	g.events = append(g.events, e)
}

func (g *generator) fault() {
	if g.asked >= g.operations {
		return
	}
	g.faults++
	name := fmt.Sprint("n", g.faults%3)
	g.add(history.Event{Type: history.Info, Action: history.Fault, Name: "kill", Node: name, Phase: history.Begin})
	g.after(10*time.Millisecond, func() {
		g.add(history.Event{Type: history.Info, Action: history.Fault, Name: "kill", Node: name, Phase: history.Heal})
	})
	g.after(100*time.Millisecond, g.fault)
}

// work asks for one operation, and for the next one when it returned.
func (g *generator) work(w *worker) {
	if g.asked >= g.operations {
		return
	}
	g.asked++
	key := fmt.Sprint("p", g.random.IntN(g.keys))
	s := w.sessions[key]
	switch n := g.random.IntN(20); {
	case n < 3:
		g.ask(w, history.Event{Action: history.Get, Key: key, Stale: n == 0}, nil)
	case n < 5 && g.messages:
		g.ask(w, history.Event{Action: history.Send, Key: key, Body: g.name("m")}, nil)
	case n == 5 && (g.profileOf(key).owner == nil || g.chance(0.2)):
		d := &history.Doc{Writer: g.name("set"), Seq: 1}
		p := g.profileOf(key)
		if p.doc != nil {
			d.Applied, d.List = p.doc.Applied, p.doc.List
		}
		if g.lists {
			d.List = append(slices.Clone(d.List), g.asked)
		}
		g.ask(w, history.Event{Action: history.Set, Key: key, Doc: d, Expected: p.revision}, nil)
	case s == nil && g.profileOf(key).owner != nil && g.chance(1-1/float64(g.workers)):
		g.ask(w, history.Event{Action: history.Get, Key: key}, nil)
	case s == nil:
		s = &gameSession{name: g.name("s"), key: key, process: w.name}
		g.ask(w, history.Event{Action: history.Start, Key: key, Session: s.name, Steal: g.chance(0.2)}, s)
	case s.over && n < 12:
		d := s.doc
		d.Writer, d.Seq = s.name+"-zombie", g.asked
		g.ask(w, history.Event{Action: history.Zombie, Key: key, Session: s.name, Doc: &d, Lost: "steal", Current: n < 8}, s)
	default:
		e := history.Event{Action: history.Save, Key: key, Session: s.name}
		if n == 19 {
			e.Action = history.End
		}
		if n != 19 || g.chance(0.5) {
			g.change(s)
			d := s.doc
			e.Doc = &d
		}
		g.ask(w, e, s)
	}
}

// change is a change of the game's: its own, and the messages that wait.
func (g *generator) change(s *gameSession) {
	if s.doc.Writer != s.name {
		s.doc.Writer, s.doc.Seq = s.name, 0
	}
	s.doc.Seq++
	s.doc.Applied = slices.Clone(s.doc.Applied)
	if p := g.profileOf(s.key); !s.over {
		for _, body := range p.waiting {
			if !slices.Contains(s.doc.Applied, body) {
				s.doc.Applied = append(s.doc.Applied, body)
			}
		}
	}
	if g.lists {
		s.doc.List = append(slices.Clone(s.doc.List), g.asked)
	}
}

// ask writes the invocation, lets the operation take effect later, and completes it.
func (g *generator) ask(w *worker, e history.Event, s *gameSession) {
	w.next++
	e.Type, e.Process, e.Op = history.Invoke, w.name, w.next
	g.add(e)
	done := history.Event{Type: history.Info, Process: e.Process, Op: e.Op, Action: e.Action, Key: e.Key, Error: "no answer"}
	base := g.profileOf(e.Key).revision
	if !g.chance(g.unknown) {
		took, rest := g.some(3), g.some(3)
		g.after(took, func() {
			g.takeEffect(w, &e, &done, s)
			g.after(rest, func() {
				g.add(done)
				g.after(g.some(2), func() { g.work(w) })
			})
		})
		return
	}
	if g.chance(0.6) { // it happens, perhaps long after the caller gave up
		g.after(g.some(30), func() {
			p := g.profileOf(e.Key)
			ignored := done
			if e.Action == history.Set || e.Action == history.Send || p.revision == base {
				g.takeEffect(w, &e, &ignored, s)
			}
		})
	}
	g.after(g.some(6), func() {
		if g.chance(0.9) {
			g.add(done)
		}
		w.name, w.next = w.name+"x", 0 // its operation is open: what follows is of another process
		g.after(g.some(2), func() { g.work(w) })
	})
}
