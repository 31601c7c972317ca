package check

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

func mustCheck(t *testing.T, h history.Header, events []history.Event, options Options) *Result {
	t.Helper()
	r, err := Check(h, events, options)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSoundHistoriesAreValid(t *testing.T) {
	landed, unknown, zombies := 0, 0, 0
	for seed := range uint64(60) {
		g := &generator{keys: 3, workers: 6, operations: 400, unknown: 0.15, messages: seed%2 == 0, lists: seed%3 == 0}
		header, events := g.generate(seed)
		r := mustCheck(t, header, events, Options{})
		if r.Validity != Valid {
			var text strings.Builder
			r.WriteText(&text)
			t.Fatalf("seed %d: %s", seed, text.String())
		}
		landed += r.Statistics.LandedUnknown
		unknown += r.Statistics.UnknownWrites
		zombies += r.Statistics.Outcomes[history.Zombie].Fail
	}
	if landed == 0 || landed == unknown || zombies == 0 {
		t.Errorf("%d of %d unknown writes landed, %d zombies: the generator does not make what is to be checked", landed, unknown, zombies)
	}
}

// completionsOf are the places of the acknowledged completions of an action.
func completionsOf(events []history.Event, a history.Action, accept func(e *history.Event) bool) (places []int) {
	for i := range events {
		if e := &events[i]; e.Action == a && (e.Type == history.OK || e.IsObservation()) && (accept == nil || accept(e)) {
			places = append(places, i)
		}
	}
	return places
}

// invocationOf is the place of the invocation that the event at i completes.
func invocationOf(events []history.Event, i int) int {
	return slices.IndexFunc(events, func(e history.Event) bool {
		return e.Type == history.Invoke && e.Process == events[i].Process && e.Op == events[i].Op
	})
}

// docAt is what is stored as a revision of a key by the events' own account.
func docAt(events []history.Event, key string, revision int64) *history.Doc {
	for i := range events {
		e := &events[i]
		if e.Key == key && e.Revision == revision && e.Doc != nil && (e.Type == history.OK || e.Action == history.Final) {
			return e.Doc
		}
	}
	return nil
}

func written(e *history.Event) bool { return e.Doc != nil && e.Revision > 1 }

// corruption spoils a history in one way. It returns false if the history has nothing to spoil.
type corruption struct {
	name      string
	checker   string // must find it
	invariant string
	spoil     func(e []history.Event) bool
}

var corruptions = []corruption{
	{"a stale read of other data", "revisions", "I2", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Get, written) {
			if e[invocationOf(e, i)].Stale {
				e[i].Doc.Seq += 100
				return true
			}
		}
		return false
	}},
	{"a hole in the revisions", "revisions", "I7", func(e []history.Event) bool {
		f := completionsOf(e, history.Final, func(e *history.Event) bool { return e.Revision > 4 })
		if len(f) == 0 {
			return false
		}
		for i := range e {
			if e[i].Key != e[f[0]].Key {
				continue
			}
			if e[i].Revision > 4 {
				e[i].Revision += 30
			}
			if e[i].Action == history.Set && e[i].Expected > 4 {
				e[i].Expected += 30
			}
		}
		return true
	}},
	{"a linearizable read of the past", "revisions", "I2", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Get, written) {
			d := docAt(e, e[i].Key, e[i].Revision-2)
			if at := invocationOf(e, i); d != nil && !e[at].Stale && e[i].Revision > 8 {
				known := int64(0)
				for k := range e[:at] {
					if e[k].Key == e[i].Key && e[k].Type == history.OK {
						known = max(known, e[k].Revision)
					}
				}
				if known < e[i].Revision {
					continue
				}
				e[i].Revision, e[i].Doc = e[i].Revision-2, d
				return true
			}
		}
		return false
	}},
	{"a save of a session that was replaced", "revisions", "I3", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Save, nil) {
			at := invocationOf(e, i)
			var others []string // granted on this key before
			for k := range e[:at] {
				if e[k].Action == history.Start && e[k].Type == history.OK && e[k].Key == e[i].Key && e[k].Session != e[at].Session {
					others = append(others, e[k].Session)
				}
			}
			if len(others) > 0 {
				e[at].Session = others[0]
				return true
			}
		}
		return false
	}},
	{"a start that loaded the past", "lost saves", "", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Start, written) {
			d := docAt(e, e[i].Key, e[i].Revision-1)
			if d != nil && grantedBefore(e, e[i].Doc.Writer, e[i].Loads) {
				e[i].Revision, e[i].Doc = e[i].Revision-1, d
				return true
			}
		}
		return false
	}},
	{"an acknowledged save that is lost", "lost saves", "I2", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Final, written) {
			told := func(o history.Event) bool {
				return o.Type == history.OK && o.Key == e[i].Key && o.Revision == e[i].Revision
			}
			if d := docAt(e, e[i].Key, e[i].Revision-1); d != nil && slices.ContainsFunc(e, told) {
				e[i].Revision, e[i].Doc = e[i].Revision-1, d
				return true
			}
		}
		return false
	}},
	{"a refused save that landed", "lost saves", "I11", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Save, nil) {
			d := e[invocationOf(e, i)].Doc
			if f := completionsOf(e, history.Get, func(e *history.Event) bool { return e.Doc != nil && idOf(e.Doc) == idOf(d) }); len(f) > 0 {
				e[i].Type, e[i].Revision = history.Fail, 0
				return true
			}
		}
		return false
	}},
	{"data that nobody wrote", "lost saves", "I11", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Get, written) {
			e[i].Doc.Writer = "nobody"
			return true
		}
		return false
	}},
	{"a save that landed twice", "lost saves", "I4", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Final, written) {
			if d := docAt(e, e[i].Key, e[i].Revision-1); d != nil {
				e[i].Revision, e[i].Doc = e[i].Revision+1, d
				return true
			}
		}
		return false
	}},
	{"an acknowledged raw save of a lost session", "fenced writes", "I3", func(e []history.Event) bool {
		for i := range e {
			if e[i].Action == history.Zombie && e[i].Type == history.Fail {
				e[i].Type = history.OK
				return true
			}
		}
		return false
	}},
	{"data of a lost session", "fenced writes", "I3", func(e []history.Event) bool {
		for i := range e {
			if e[i].Action == history.Zombie && e[i].Type == history.Invoke {
				for _, k := range completionsOf(e, history.Get, written) {
					if e[k].Key == e[i].Key {
						e[k].Doc.Writer, e[k].Doc.Seq = e[i].Doc.Writer, e[i].Doc.Seq
						return true
					}
				}
			}
		}
		return false
	}},
	{"a save acknowledged under an older grant", "fenced writes", "I3", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Save, nil) {
			at := invocationOf(e, i)
			for k := range e[:at] {
				if e[k].Action == history.Start && e[k].Type == history.OK && e[k].Key == e[i].Key && e[k].Session != e[at].Session && e[k].Loads == 1 {
					e[at].Session = e[k].Session
					return true
				}
			}
		}
		return false
	}},
	{"one grant for two", "owners", "I1", func(e []history.Event) bool {
		s := completionsOf(e, history.Start, nil)
		for _, i := range s {
			for _, k := range s {
				if i != k && e[i].Key == e[k].Key {
					e[k].Loads = e[i].Loads
					return true
				}
			}
		}
		return false
	}},
	{"one token for two", "owners", "I1", func(e []history.Event) bool {
		s := completionsOf(e, history.Start, nil)
		for _, i := range s {
			for _, k := range s {
				if i != k && e[i].Key == e[k].Key {
					e[k].Token = e[i].Token
					return true
				}
			}
		}
		return false
	}},
	{"grants that go back in time", "owners", "I1", func(e []history.Event) bool {
		s := completionsOf(e, history.Start, nil)
		for _, i := range s {
			for _, k := range s {
				if e[i].Key == e[k].Key && i < invocationOf(e, k) {
					e[i].Loads, e[k].Loads = e[k].Loads, e[i].Loads
					e[i].Token, e[k].Token = e[k].Token, e[i].Token
					return true
				}
			}
		}
		return false
	}},
	{"a session that stays active", "owners", "I8", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Active, nil) {
			for _, k := range completionsOf(e, history.Start, nil) {
				if k > i && e[k].Key == e[i].Key && e[k].Session != e[i].Session && grantedBefore(e, e[i].Session, e[k].Loads) {
					e[i].Time = e[k].Time + time.Microsecond
					return true
				}
			}
		}
		return false
	}},
	{"a message that is lost", "messages", "I5", spoilFinal(func(f *history.Event) bool {
		if f.Doc == nil || len(f.Doc.Applied) == 0 {
			return false
		}
		f.Doc.Applied = nil
		return true
	})},
	{"a message that was applied twice", "messages", "I5", spoilFinal(func(f *history.Event) bool {
		if f.Doc == nil || len(f.Doc.Applied) == 0 {
			return false
		}
		f.Doc.Applied = append(f.Doc.Applied, f.Doc.Applied[0])
		return true
	})},
	{"a message that was applied and waits", "messages", "I5", spoilFinal(func(f *history.Event) bool {
		if f.Doc == nil || len(f.Doc.Applied) == 0 {
			return false
		}
		f.Detail = fmt.Sprintf("[%q]", f.Doc.Applied[0])
		return true
	})},
	{"messages out of order", "messages", "I5", spoilFinal(func(f *history.Event) bool {
		if f.Doc == nil || len(f.Doc.Applied) < 12 {
			return false
		}
		slices.Reverse(f.Doc.Applied)
		return true
	})},
	{"a refused message that is there", "messages", "I5", func(e []history.Event) bool {
		for i := range e {
			if e[i].Action == history.Send && e[i].Type == history.Fail {
				for _, k := range completionsOf(e, history.Final, nil) {
					if e[k].Key == e[i].Key {
						e[k].Detail = fmt.Sprintf("[%q]", e[invocationOf(e, i)].Body)
						return true
					}
				}
			}
		}
		return false
	}},
	{"an effect that was there and is gone", "messages", "I5", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Get, func(e *history.Event) bool { return written(e) && len(e.Doc.Applied) > 0 }) {
			if d := docAt(e, e[i].Key, e[i].Revision-1); d != nil && len(d.Applied) > 0 {
				e[i].Doc.Applied = e[i].Doc.Applied[1:]
				return true
			}
		}
		return false
	}},
	{"a list that lost a value", "appends", "I2", spoilFinal(func(f *history.Event) bool {
		if f.Doc == nil || len(f.Doc.List) < 3 {
			return false
		}
		f.Doc.List = slices.Delete(f.Doc.List, 1, 2)
		return true
	})},
	{"a list with a value twice", "appends", "I2", spoilFinal(func(f *history.Event) bool {
		if f.Doc == nil || len(f.Doc.List) < 3 {
			return false
		}
		f.Doc.List = append(f.Doc.List, f.Doc.List[0])
		return true
	})},
	{"a list with a value that nobody appended", "appends", "I2", spoilFinal(func(f *history.Event) bool {
		if f.Doc == nil || len(f.Doc.List) < 3 {
			return false
		}
		f.Doc.List = append(f.Doc.List, -1)
		return true
	})},
}

// grantedBefore says that a session has a grant below the given one.
func grantedBefore(e []history.Event, session string, loads uint64) bool {
	return slices.ContainsFunc(e, func(e history.Event) bool {
		return e.Action == history.Start && e.Type == history.OK && e.Session == session && e.Loads < loads
	})
}

// spoilFinal spoils the first final read that has something to spoil.
func spoilFinal(spoil func(f *history.Event) bool) func(e []history.Event) bool {
	return func(e []history.Event) bool {
		return slices.ContainsFunc(completionsOf(e, history.Final, nil), func(i int) bool { return spoil(&e[i]) })
	}
}

func TestEachCorruptionIsFoundByItsChecker(t *testing.T) {
	for _, c := range corruptions {
		t.Run(c.name, func(t *testing.T) {
			spoiled := 0
			for seed := range uint64(30) {
				g := &generator{keys: 2, workers: 5, operations: 300, unknown: 0.05, messages: c.checker == "messages", lists: c.checker == "appends"}
				header, events := g.generate(seed)
				if !c.spoil(events) {
					continue
				}
				spoiled++
				r := mustCheck(t, header, events, Options{})
				if r.Validity != Invalid {
					t.Fatalf("seed %d: the run is %s", seed, r.Validity)
				}
				if !slices.ContainsFunc(r.Violations, func(v Violation) bool {
					return v.Checker == c.checker && (c.invariant == "" || v.Invariant == c.invariant)
				}) {
					var text strings.Builder
					r.WriteText(&text)
					t.Fatalf("seed %d: want a violation of %s by the checker %q:\n%s", seed, c.invariant, c.checker, text.String())
				}
			}
			if spoiled < 10 {
				t.Errorf("of 30 histories only %d had something to spoil", spoiled)
			}
		})
	}
}

// TestLinearizabilityFindsWhatReordersTheState spoils what is in the model's state, and asks for the search alone.
func TestLinearizabilityFindsWhatReordersTheState(t *testing.T) {
	pages := t.TempDir()
	for _, c := range corruptions {
		switch c.name {
		case "a linearizable read of the past", "a save of a session that was replaced", "an acknowledged save that is lost", "one grant for two",
			"grants that go back in time", "a start that loaded the past", "data that nobody wrote", "a hole in the revisions":
		default:
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			spoiled := 0
			for seed := range uint64(12) {
				g := &generator{keys: 2, workers: 5, operations: 300, unknown: 0.05}
				header, events := g.generate(seed)
				if !c.spoil(events) {
					continue
				}
				spoiled++
				h, err := NewHistory(header, events, Options{Pages: pages})
				if err != nil {
					t.Fatal(err)
				}
				found := checkLinearizability(h)
				if c.name == "data that nobody wrote" && len(found) == 0 {
					continue // it was a stale read
				}
				if len(found) != 1 || found[0].Undecided || found[0].Page == "" {
					t.Fatalf("seed %d: found %v", seed, found)
				}
			}
			if spoiled < 6 {
				t.Errorf("of 12 histories only %d had something to spoil", spoiled)
			}
		})
	}
}
