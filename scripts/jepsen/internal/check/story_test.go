package check

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// story is a short history, written by hand. Times are in seconds.
type story struct {
	events []history.Event
	op     uint64
}

// tell adds an operation from one second to another. done says what came of it; without a type it stayed open.
func (s *story) tell(from, to float64, process string, invocation, done history.Event) {
	s.op++
	invocation.Type, invocation.Process, invocation.Op, invocation.Time = history.Invoke, process, s.op, seconds(from)
	s.events = append(s.events, invocation)
	if done.Type != "" {
		done.Action, done.Key, done.Process, done.Op, done.Time = invocation.Action, invocation.Key, process, s.op, seconds(to)
		s.events = append(s.events, done)
	}
}

func (s *story) start(from float64, process, session string, loads uint64, revision int64, d *history.Doc) {
	s.tell(from, from+0.1, process, history.Event{Action: history.Start, Key: "p", Session: session},
		history.Event{Type: history.OK, Session: session, Loads: loads, Revision: revision, Doc: d})
}

func (s *story) save(from, to float64, process, session string, seq int, revision int64) {
	s.tell(from, to, process, history.Event{Action: history.Save, Key: "p", Session: session, Doc: doc(session, seq)}, history.Event{Type: history.OK, Revision: revision})
}

func (s *story) observe(at float64, e history.Event) {
	e.Type, e.Time = history.Info, seconds(at)
	s.events = append(s.events, e)
}

func (s *story) fault(from, to float64, name string) {
	s.observe(from, history.Event{Action: history.Fault, Name: name, Phase: history.Begin})
	s.observe(to, history.Event{Action: history.Fault, Name: name, Phase: history.Heal})
}

func (s *story) final(at float64, revision int64, d *history.Doc) {
	s.observe(at, history.Event{Action: history.Final, Key: "p", Revision: revision, Doc: d})
}

func (s *story) check(t *testing.T, header history.Header, options Options) *Result {
	t.Helper()
	slices.SortStableFunc(s.events, func(a, b history.Event) int { return int(a.Time - b.Time) })
	return mustCheck(t, header, s.events, options)
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

func doc(writer string, seq int) *history.Doc { return &history.Doc{Writer: writer, Seq: seq} }

// mustBe compares a result with what is expected: each text in one violation, and no violation besides.
func mustBe(t *testing.T, r *Result, want Validity, texts ...string) {
	t.Helper()
	var got strings.Builder
	r.WriteText(&got)
	if r.Validity != want || len(r.Violations) != len(texts) {
		t.Fatalf("want %s by %q, got %s", want, texts, got.String())
	}
	for _, text := range texts {
		if !strings.Contains(got.String(), text) {
			t.Errorf("want %q in %s", text, got.String())
		}
	}
}

func TestAKeyWithoutItsFinalReadIsUnknown(t *testing.T) {
	s := &story{}
	s.start(1, "g1", "a", 1, 0, nil)
	s.save(2, 3, "g1", "a", 1, 1)
	mustBe(t, s.check(t, history.Header{}, Options{}), Unknown, "there is no final read of it")
	s.final(2.5, 1, doc("a", 1))
	mustBe(t, s.check(t, history.Header{}, Options{}), Unknown, "is not the last")
	s.final(4, 1, doc("a", 1))
	mustBe(t, s.check(t, history.Header{}, Options{}), Valid)
}

func TestARunThatDidTooLittleFails(t *testing.T) {
	s := &story{}
	s.start(1, "g1", "a", 1, 0, nil)
	s.save(2, 3, "g1", "a", 1, 1)
	s.fault(1, 2, "kill")
	s.observe(1, history.Event{Action: history.Fault, Name: "cut", Phase: history.Skipped, Detail: "no TUN"})
	s.final(4, 1, doc("a", 1))
	enough := Minimum{
		Operations: 2, Keys: 1, Seconds: 4, Acknowledged: map[history.Action]int{history.Save: 1}, Faults: map[string]int{"kill": 1, "": 1},
		Counts: map[string]Count{"packets that were dropped": {Seen: 7, Least: 1}},
	}
	r := s.check(t, history.Header{}, Options{Minimum: enough})
	mustBe(t, r, Valid)
	if r.Statistics.Skipped["cut"] != "no TUN" || r.Statistics.Faults["cut"] != 0 {
		t.Errorf("the fault that was skipped is not counted as such: %+v", r.Statistics)
	}
	more := Minimum{
		Operations: 3, Keys: 2, Seconds: 5, Unknown: 1, Acknowledged: map[history.Action]int{history.Save: 2}, Faults: map[string]int{"cut": 1, "": 2},
		Counts: map[string]Count{"packets that were dropped": {Seen: 0, Least: 1}},
	}
	mustBe(t, s.check(t, history.Header{}, Options{Minimum: more}), Invalid, "2 operations,", "1 keys", "4 seconds", "0 operations of unknown outcome",
		"1 acknowledged operations of the kind save", "0 faults cut", "1 faults  that", "0 packets that were dropped")
}

func TestRecovery(t *testing.T) {
	bound := Options{Recovery: map[string]time.Duration{"kill": 5 * time.Second}}
	run := func(second, disturbing float64) *Result {
		s := &story{}
		s.start(1, "g1.1", "a", 1, 0, nil)
		s.save(2, 2.5, "g1.1", "a", 1, 1)
		s.fault(3, 4, "kill")
		if disturbing > 0 {
			s.fault(disturbing, disturbing+1, "cut")
		}
		s.save(3.5, second, "g1.2", "a", 2, 2)
		s.final(30, 2, doc("a", 2))
		return s.check(t, history.Header{}, bound)
	}
	r := run(6, 0)
	mustBe(t, r, Valid)
	if got := r.Statistics.Recoveries; len(got) != 1 || len(got[0].Times) != 1 || got[0].Times[0] != 2*time.Second || got[0].Quantile(0.5) != 2*time.Second {
		t.Errorf("recoveries %+v, want one of 2s", got)
	}
	mustBe(t, run(11, 0), Invalid, "g1 saved 7s after the end of kill at 4s; the bound is 5s")
	r = run(11, 5)
	mustBe(t, r, Valid)
	if got := r.Statistics.Recoveries; len(got) != 2 || got[1].Disturbed != 1 {
		t.Errorf("recoveries %+v, want one that was disturbed", got)
	}
	s := &story{} // it asks and is never answered
	s.start(1, "g1.1", "a", 1, 0, nil)
	s.fault(3, 4, "kill")
	s.tell(3.5, 0, "g1.2", history.Event{Action: history.Save, Key: "p", Session: "a", Doc: doc("a", 1)}, history.Event{})
	s.final(30, 0, nil)
	mustBe(t, s.check(t, history.Header{}, bound), Invalid, "g1 never saved after the end of kill at 4s")
	s = &story{} // it asks for nothing
	s.start(1, "g1.1", "a", 1, 0, nil)
	s.fault(3, 4, "kill")
	s.final(30, 0, nil)
	r = s.check(t, history.Header{}, bound)
	mustBe(t, r, Valid)
	if got := r.Statistics.Recoveries; len(got) != 1 || got[0].Idle != 1 {
		t.Errorf("recoveries %+v, want one that was idle", got)
	}
}

func TestCoins(t *testing.T) {
	total := int64(10)
	run := func(left, received int64, sent history.Type, waiting string) *Result {
		s := &story{}
		with := func(writer string, seq int, coins int64) *history.Doc {
			return &history.Doc{Writer: writer, Seq: seq, Coins: coins}
		}
		s.tell(1, 2, "g1", history.Event{Action: history.Set, Key: "p", Doc: with("s1", 1, 10)}, history.Event{Type: history.OK, Revision: 1})
		s.tell(3, 8, "g1", history.Event{Action: history.Send, Key: "q", Body: "m+4"}, history.Event{Type: sent})
		s.tell(4, 5, "g1", history.Event{Action: history.Set, Key: "p", Expected: 1, Doc: with("s2", 1, left)}, history.Event{Type: history.OK, Revision: 2})
		s.tell(6, 7, "g2", history.Event{Action: history.Set, Key: "q", Doc: with("s3", 1, received)}, history.Event{Type: history.OK, Revision: 1})
		s.final(20, 2, with("s2", 1, left))
		s.observe(20, history.Event{Action: history.Final, Key: "q", Revision: 1, Doc: with("s3", 1, received), Detail: waiting})
		return s.check(t, history.Header{Coins: &total}, Options{})
	}
	mustBe(t, run(6, 0, history.OK, `["m+4"]`), Valid)
	mustBe(t, run(6, 0, history.Info, `[]`), Valid) // its sender does not know whether to take them back
	mustBe(t, run(9, 0, history.OK, `["m+4"]`), Invalid, "there are 13 coins, 3 more")
	mustBe(t, run(5, 0, history.OK, `["m+4"]`), Invalid, "there are 9 coins, 1 fewer")
	mustBe(t, run(5, 0, history.Info, `[]`), Invalid, "there are 5 coins, 5 fewer than there were, and at most 4")
}

func TestSessionsThatSaveByThemselves(t *testing.T) {
	run := func(autosave bool, spoil func(s *story)) *Result {
		s := &story{}
		s.start(1, "g1", "a", 1, 0, nil)
		s.save(2, 3, "g1", "a", 2, 2) // #1 was an autosave
		s.tell(4, 5, "g3", history.Event{Action: history.Get, Key: "p"}, history.Event{Type: history.OK, Revision: 3, Doc: doc("a", 3)})
		s.save(6, 7, "g1", "a", 4, 5)
		s.tell(7, 8, "g1", history.Event{Action: history.End, Key: "p", Session: "a", Doc: doc("a", 5)}, history.Event{Type: history.OK, Revision: 6})
		s.start(9, "g2", "b", 2, 6, doc("a", 6))
		s.tell(10, 11, "g2", history.Event{Action: history.Save, Key: "p", Session: "b", Doc: doc("b", 1)}, history.Event{Type: history.Info})
		s.final(20, 8, doc("b", 4))
		if spoil != nil {
			spoil(s)
		}
		return s.check(t, history.Header{Autosave: autosave}, Options{})
	}
	mustBe(t, run(true, nil), Valid)
	if r := run(false, nil); r.Validity != Invalid {
		t.Errorf("without autosaves the run is %s", r.Validity)
	}
	for name, spoil := range map[string]func(s *story){
		"a read of an earlier change":            func(s *story) { s.events[5].Doc = doc("a", 1) },
		"a read of another session's change":     func(s *story) { s.events[5].Doc = doc("b", 3) },
		"a load of less than was saved":          func(s *story) { s.events[11].Revision = 5; s.events[11].Doc = doc("a", 4) },
		"a load of an earlier change":            func(s *story) { s.events[11].Doc = doc("a", 4) },
		"a final read of the session before":     func(s *story) { s.events[14].Doc = doc("a", 9) },
		"a save that goes back behind a read":    func(s *story) { s.events[7].Revision = 2 },
		"a save of a session that was replaced":  func(s *story) { s.save(12, 13, "g1", "a", 9, 9) },
		"a final read of less than was answered": func(s *story) { s.events[14].Revision = 5; s.events[14].Doc = doc("a", 4) },
	} {
		if r := run(true, spoil); r.Validity != Invalid {
			t.Errorf("%s: the run is %s", name, r.Validity)
		}
	}
}

// TestUnknownWrites: what becomes of a write of unknown outcome is shown by what others see.
func TestUnknownWrites(t *testing.T) {
	unknown := history.Event{Type: history.Info}
	run := func(rest func(s *story)) *Result {
		s := &story{}
		s.start(1, "g1", "a", 1, 0, nil)
		s.save(2, 3, "g1", "a", 1, 1)
		s.tell(4, 5, "g1", history.Event{Action: history.Save, Key: "p", Session: "a", Doc: doc("a", 2)}, unknown)
		rest(s)
		return s.check(t, history.Header{}, Options{})
	}
	mustBe(t, run(func(s *story) { s.final(20, 1, doc("a", 1)) }), Valid)
	r := run(func(s *story) { s.final(20, 2, doc("a", 2)) })
	mustBe(t, r, Valid)
	if r.Statistics.LandedShare() != 1 {
		t.Errorf("%d of %d landed", r.Statistics.LandedUnknown, r.Statistics.UnknownWrites)
	}
	mustBe(t, run(func(s *story) { // it landed, nobody saw it, and the next one came upon it
		s.save(6, 7, "g1", "a", 3, 3)
		s.final(20, 3, doc("a", 3))
	}), Valid)
	if r := run(func(s *story) { // the one that landed after a later one of its session
		s.save(6, 7, "g1", "a", 3, 2)
		s.final(20, 3, doc("a", 2))
	}); r.Validity != Invalid || !slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Invariant == "I4" }) {
		t.Errorf("a late save: %+v", r)
	}
	if r := run(func(s *story) { // the one that landed after what a later owner loaded
		s.start(6, "g2", "b", 2, 1, doc("a", 1))
		s.final(20, 2, doc("a", 2))
	}); r.Validity != Invalid || !slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Invariant == "I4" }) {
		t.Errorf("a save after a later owner's load: %+v", r)
	}
	if r := run(func(s *story) { // two revisions that one unknown write cannot both have made
		s.save(6, 7, "g1", "a", 3, 4)
		s.final(20, 4, doc("a", 3))
	}); r.Validity != Invalid || !slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Invariant == "I7" }) {
		t.Errorf("a hole: %+v", r)
	}
}
