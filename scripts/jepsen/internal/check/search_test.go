package check

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// rawSteps are the steps of a profile without patches: an unknown operation may take effect at any time or never.
func (h *History) rawSteps(p *profile) []timedStep {
	var steps []timedStep
	for _, o := range p.operations {
		switch {
		case o.Type == history.Fail, o.Invocation.Stale, o.Action() == history.Send, o.Action() == history.Zombie:
			continue
		case o.Type != history.OK && o.Action() == history.Get:
			continue
		}
		steps = append(steps, timedStep{step: h.stepOf(o), call: o.Call, end: o.Return})
	}
	f := p.final
	return append(steps, timedStep{step: step{action: history.Get, revision: f.Revision, doc: docStateOf(f.Doc)}, call: f.Time, end: f.Time})
}

func withoutStaleReads(events []history.Event) []history.Event {
	type name struct {
		process string
		op      uint64
	}
	stale := map[name]bool{}
	for i := range events {
		if events[i].Stale {
			stale[name{events[i].Process, events[i].Op}] = true
		}
	}
	return slices.DeleteFunc(events, func(e history.Event) bool { return !e.IsObservation() && stale[name{e.Process, e.Op}] })
}

// spoilAtRandom changes one number or document of an acknowledged operation.
func spoilAtRandom(events []history.Event, r *rand.Rand) {
	for range 100 {
		e := &events[r.IntN(len(events))]
		if e.Type != history.OK && e.Action != history.Final {
			continue
		}
		other := &events[r.IntN(len(events))]
		switch r.IntN(6) {
		case 0:
			e.Revision++
		case 1:
			if e.Revision == 0 {
				continue
			}
			e.Revision--
		case 2:
			if e.Doc == nil || other.Doc == nil {
				continue
			}
			e.Doc = other.Doc
		case 3:
			if e.Action != history.Start {
				continue
			}
			e.Loads = uint64(r.IntN(6))
		case 4: // it was over earlier than it was
			if e.Action == history.Final {
				continue
			}
			i := slices.IndexFunc(events, func(o history.Event) bool { return o.Type == history.Invoke && o.Process == e.Process && o.Op == e.Op })
			e.Time = events[i].Time + (e.Time-events[i].Time)/8
		case 5:
			if other.Type != history.OK || other.Action != e.Action {
				continue
			}
			e.Revision, other.Revision, e.Doc, other.Doc = other.Revision, e.Revision, other.Doc, e.Doc
		}
		return
	}
}

// TestBothSearchersAgree compares the two searchers, and the patched steps with the raw ones, on small histories of one key.
// There each search is complete within milliseconds.
func TestBothSearchersAgree(t *testing.T) {
	counts := map[string]int{}
	for seed := range uint64(4000) {
		g := &generator{keys: 1, workers: 4, operations: 24, unknown: 0.2}
		header, events := g.generate(seed)
		events = withoutStaleReads(events) // what they show is in the patches alone
		if seed%4 > 0 {
			spoilAtRandom(events, rand.New(rand.NewPCG(seed, 9)))
		}
		h, err := NewHistory(header, events, Options{})
		if err != nil {
			t.Fatal(err)
		}
		p := h.profiles["p0"]
		m := profileModel{}
		patched, raw := h.patch(p), h.rawSteps(p)
		got := [3]bool{
			searchLinearization(m, patched, time.Minute).decision == linearizable,
			searchLinearization(m, raw, time.Minute).decision == linearizable,
			porcupine.CheckOperations(m.porcupineModel(), porcupineOperations(patched)),
		}
		if got[0] != got[1] || got[0] != got[2] {
			for i := range p.operations {
				t.Log(p.operations[i])
			}
			t.Fatalf("seed %d: by the searcher %t, by it without patches %t, by porcupine %t", seed, got[0], got[1], got[2])
		}
		if seed%4 == 0 && !got[0] {
			t.Fatalf("seed %d: a sound history is not linearizable", seed)
		}
		counts[fmt.Sprint(got[0])]++
	}
	if counts["false"] < 400 || counts["true"] < 1200 {
		t.Errorf("%v: too few of one kind to compare", counts)
	}
}

// TestAnUnknownStepWaitsForItsEffect: a step that changes nothing yet may do so later, so the rule of steps without effect is not
// for it.
func TestAnUnknownStepWaitsForItsEffect(t *testing.T) {
	a, b := docState{docID: docID{"a", 1}}, docState{docID: docID{"b", 1}}
	for name, steps := range map[string][]timedStep{
		"a set over a revision that is not there yet": {
			{step: step{action: history.Set, expected: 1, doc: a, unknown: true}, call: 0, end: history.Never},
			{step: step{action: history.Set, expected: history.AnyRevision, doc: b, revision: 1}, call: 1, end: 2},
			{step: step{action: history.Get, doc: a, revision: 2}, call: 3, end: 4},
		},
		"a save of a session whose start was not answered": {
			{step: step{action: history.Save, session: "a", doc: a, unknown: true}, call: 0, end: history.Never},
			{step: step{action: history.Start, session: "a", unknown: true}, call: 1, end: history.Never},
			{step: step{action: history.Get, doc: a, revision: 1}, call: 3, end: 4},
		},
	} {
		if r := searchLinearization(profileModel{}, steps, time.Minute); r.decision != linearizable {
			t.Errorf("%s: the searcher says %v at %v", name, r.decision, r.stuck)
		}
		if !porcupine.CheckOperations(profileModel{}.porcupineModel(), porcupineOperations(steps)) {
			t.Errorf("%s: porcupine finds no order", name)
		}
	}
}

// TestManyClientsOfOneKey is what porcupine cannot decide: each read that is under way doubles its work.
func TestManyClientsOfOneKey(t *testing.T) {
	g := &generator{keys: 1, workers: 40, operations: 3000, unknown: 0.02}
	header, events := g.generate(1)
	h, err := NewHistory(header, events, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r := searchLinearization(profileModel{}, h.patch(h.profiles["p0"]), time.Minute); r.decision != linearizable {
		t.Errorf("the searcher says %v after %d steps, at %v", r.decision, r.placed, r.stuck)
	}
}

func TestASearchOutOfTimeIsUndecided(t *testing.T) {
	g := &generator{keys: 1, workers: 10, operations: 3000, unknown: 0.02}
	header, events := g.generate(1)
	h, err := NewHistory(header, events, Options{TimePerKey: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	found := checkLinearizability(h)
	if len(found) != 1 || !found[0].Undecided {
		t.Errorf("found %v, want one key undecided", found)
	}
}

// BenchmarkCheck checks 100,000 operations on 100 keys, of which 5 % have an unknown outcome.
func BenchmarkCheck(b *testing.B) {
	g := &generator{keys: 100, workers: 200, operations: 100_000, unknown: 0.05, messages: true}
	header, events := g.generate(1)
	b.ResetTimer()
	for b.Loop() {
		r, err := Check(header, events, Options{})
		if err != nil || r.Validity != Valid {
			b.Fatal(r, err)
		}
	}
}
