package check

import (
	"slices"
	"strings"
	"testing"

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

var corruptions = slices.Concat(corruptionsOfSaves, corruptionsOfOwners)

func TestEachCorruptionIsFoundByItsChecker(t *testing.T) {
	for _, c := range corruptions {
		t.Run(c.name, func(t *testing.T) {
			spoiled := 0
			for seed := range uint64(16) {
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
					return v.Checker == c.checker && strings.Contains(v.Text, c.text) && (c.invariant == "" || v.Invariant == c.invariant)
				}) {
					var text strings.Builder
					r.WriteText(&text)
					t.Fatalf("seed %d: want a violation of %s by the checker %q that says %q:\n%s", seed, c.invariant, c.checker, c.text, text.String())
				}
			}
			if spoiled < 6 {
				t.Errorf("of 16 histories only %d had something to spoil", spoiled)
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
