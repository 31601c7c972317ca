package lock_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/lock"
)

func TestTimingValidate(t *testing.T) {
	if err := lock.DefaultTiming().Validate(); err != nil {
		t.Errorf("the default timing is refused: %v", err)
	}
	tests := []struct {
		name   string
		change func(*lock.Timing)
		want   []string // how each fault begins, in order
	}{
		{"tick", func(x *lock.Timing) { x.Tick = 0 }, []string{"tick"}},
		{"renew", func(x *lock.Timing) { x.Renew = -1 }, []string{"tick"}},
		{"doubt", func(x *lock.Timing) { x.Renew = x.Doubt/2 + 1 }, []string{"doubt"}},
		{"evidence", func(x *lock.Timing) { x.Evidence = 3850 * time.Millisecond }, []string{"evidence"}},
		{"lease", func(x *lock.Timing) { x.Lease = x.Evidence }, []string{"lease"}},
		{"ping", func(x *lock.Timing) { x.Ping = 0 }, []string{"ping"}},
		{"again", func(x *lock.Timing) { x.Again = 0 }, []string{"ping"}},
		{"reach", func(x *lock.Timing) { x.Reach = 2*x.Ping - 1 }, []string{"reach"}},
		{"refusals as far apart as evidence", func(x *lock.Timing) { x.Again = x.Evidence }, []string{"again"}},
		{"hand-off", func(x *lock.Timing) { x.HandOff = x.Doubt }, []string{"hand-off"}},
		{"everything", func(x *lock.Timing) {
			*x = lock.Timing{Renew: 2 * time.Second, Doubt: 3 * time.Second, Evidence: time.Second, Lease: time.Second, Again: time.Second}
		}, []string{"tick", "doubt", "evidence", "lease", "ping", "again", "hand-off"}},
	}
	for _, test := range tests {
		timing := lock.DefaultTiming()
		test.change(&timing)
		err := timing.Validate()
		if err == nil {
			t.Errorf("%s: no fault found in %+v", test.name, timing)
			continue
		}
		faults := strings.Split(err.Error(), "\n")
		if len(faults) != len(test.want) {
			t.Errorf("%s: faults are %q, want %d", test.name, faults, len(test.want))
			continue
		}
		for i, want := range test.want {
			if !strings.HasPrefix(faults[i], want) {
				t.Errorf("%s: fault %d is %q, want one about %s", test.name, i, faults[i], want)
			}
		}
	}
}

// robbedWhileHeld looks for a moment at which a judge whose clock runs at ratio times the owner's acts on silence or
// on evidence while the owner still believes that it holds. Both count from the same moment: the worst case, an arrival without delay.
func robbedWhileHeld(timing lock.Timing, ratio float64) (time.Duration, bool) {
	const step = 5 * time.Millisecond
	for passed := time.Duration(0); passed <= 2*timing.Lease; passed += step {
		silent := time.Duration(float64(passed) * ratio)
		acts := timing.Lapsed(silent) || timing.Judge(lock.Signals{Silent: silent, Gossip: true, Stream: lock.EndedByPeer, Ended: silent}) != lock.Living
		if acts && !timing.InDoubt(passed) {
			return passed, true
		}
	}
	return 0, false
}

// Whoever may be robbed must be in doubt before, whichever timing Validate lets through.
func TestDoubtComesBeforeTheJudge(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	span := func(most time.Duration) time.Duration { return time.Duration(random.Int64N(int64(most))) }
	timings := []lock.Timing{lock.DefaultTiming()}
	for tries := 0; len(timings) < 40; tries++ {
		x := lock.Timing{
			Renew: span(2 * time.Second), Doubt: span(6 * time.Second), Evidence: span(10 * time.Second),
			Lease: span(20 * time.Second), HandOff: span(20 * time.Second), Tick: span(time.Second),
			Ping: 20 * time.Second, Reach: time.Minute, Again: time.Millisecond,
		}
		if x.Validate() == nil {
			timings = append(timings, x)
		}
		if tries > 1_000_000 {
			t.Fatal("Validate refuses nearly every timing")
		}
	}
	for _, timing := range timings {
		for ratio := 1.0; ratio <= lock.ClockRatio; ratio += 0.02 {
			if passed, ok := robbedWhileHeld(timing, ratio); ok {
				t.Fatalf("at a ratio of %.2f an owner is robbed after %v while it holds: %+v", ratio, passed, timing)
			}
		}
		if passed, ok := robbedWhileHeld(timing, lock.ClockRatio); ok {
			t.Fatalf("at the full ratio an owner is robbed after %v while it holds: %+v", passed, timing)
		}
	}
	// The search itself finds a hole where there is one.
	if _, ok := robbedWhileHeld(lock.DefaultTiming(), 1.6); !ok {
		t.Error("with clocks that differ by 1.6 nobody is robbed: the search sees nothing")
	}
}

func TestLapsed(t *testing.T) {
	timing := lock.DefaultTiming()
	if timing.Lapsed(timing.Evidence - 1) {
		t.Error("a revoked owner lapses before evidence time")
	}
	if !timing.Lapsed(timing.Evidence) {
		t.Error("a revoked owner that was mute for evidence time does not lapse")
	}
}

func TestInDoubt(t *testing.T) {
	timing := lock.DefaultTiming()
	if timing.InDoubt(timing.Doubt - 1) {
		t.Error("in doubt too early")
	}
	if !timing.InDoubt(timing.Doubt) {
		t.Error("not in doubt when it must be")
	}
}
