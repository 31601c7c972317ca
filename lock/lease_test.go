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
	slow := lock.Timing{Renew: 5 * time.Second, Doubt: 20 * time.Second, Evidence: 25 * time.Second, Lease: 40 * time.Second, HandOff: time.Minute}
	if err := slow.Validate(); err != nil {
		t.Errorf("a class with 20 s of doubt is refused: %v", err)
	}
	tests := []struct {
		name   string
		change func(*lock.Timing)
		want   []string // how each fault begins, in order
	}{
		{"renew", func(x *lock.Timing) { x.Renew = lock.LeastRenew - time.Millisecond }, []string{"renew"}},
		{"below zero", func(x *lock.Timing) { x.Renew = -time.Second }, []string{"renew"}},
		{"beyond an hour", func(x *lock.Timing) { x.Lease = time.Hour + time.Millisecond }, []string{"lease"}},
		{"a sum that overflows", func(x *lock.Timing) { x.Doubt, x.Evidence = 1<<62, 1 }, []string{"doubt", "doubt", "evidence"}},
		{"parts of a millisecond", func(x *lock.Timing) { x.HandOff++ }, []string{"hand-off"}},
		{"doubt", func(x *lock.Timing) { x.Renew = x.Doubt/2 + time.Millisecond }, []string{"doubt"}},
		{"evidence", func(x *lock.Timing) { x.Evidence = 4100 * time.Millisecond }, []string{"evidence"}},
		{"lease", func(x *lock.Timing) { x.Lease = x.Evidence }, []string{"lease"}},
		{"hand-off", func(x *lock.Timing) { x.HandOff = x.Doubt }, []string{"hand-off"}},
		{"everything", func(x *lock.Timing) {
			*x = lock.Timing{Renew: 2 * time.Second, Doubt: 3 * time.Second, Evidence: time.Second, Lease: time.Second}
		}, []string{"doubt", "evidence", "lease", "hand-off"}},
		{"nothing", func(x *lock.Timing) { *x = lock.Timing{} }, []string{"renew", "evidence", "lease", "hand-off"}},
	}
	for _, test := range tests {
		timing := lock.DefaultTiming()
		test.change(&timing)
		wantFaults(t, test.name, timing.Validate(), test.want)
	}
}

func TestDetectorValidate(t *testing.T) {
	if err := lock.DefaultDetector().Validate(); err != nil {
		t.Errorf("the default detector is refused: %v", err)
	}
	tests := []struct {
		name   string
		change func(*lock.Detector)
		want   []string
	}{
		{"no tick", func(x *lock.Detector) { x.TickPeriod = 0 }, []string{"tick"}},
		{"a tick that no class counts with", func(x *lock.Detector) { x.TickPeriod = lock.MaxTick + 1 }, []string{"tick"}},
		{"ping", func(x *lock.Detector) { x.PingPeriod = 0 }, []string{"ping"}},
		{"again", func(x *lock.Detector) { x.RefusalGap = 0 }, []string{"ping"}},
		{"reach", func(x *lock.Detector) { x.ReachFor = 2*x.PingPeriod - 1 }, []string{"reach"}},
		{"refusals as far apart as evidence", func(x *lock.Detector) { x.RefusalGap = time.Second }, []string{"again"}},
	}
	for _, test := range tests {
		detector := lock.DefaultDetector()
		test.change(&detector)
		wantFaults(t, test.name, detector.Validate(), test.want)
	}
}

func wantFaults(t *testing.T, name string, err error, want []string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no fault is found", name)
		return
	}
	faults := strings.Split(err.Error(), "\n")
	if len(faults) != len(want) {
		t.Errorf("%s: faults are %q, want %d", name, faults, len(want))
		return
	}
	for i, begin := range want {
		if !strings.HasPrefix(faults[i], begin) {
			t.Errorf("%s: fault %d is %q, want one about %s", name, i, faults[i], begin)
		}
	}
}

// expiredWhileHeld searches for a moment at which a failure detector, its clock running at ratio times the owner's, acts on
// silence or on evidence while the owner still believes that it holds. Both count from the same moment, which is the worst
// case: the renewal arrives without delay.
func expiredWhileHeld(timing lock.Timing, ratio float64) (time.Duration, bool) {
	const step = 5 * time.Millisecond
	for passed := time.Duration(0); passed <= 2*timing.Lease; passed += step {
		silent := time.Duration(float64(passed) * ratio)
		acts := timing.LapseIsDue(silent) || lock.DefaultDetector().FindGround(timing, lock.Signals{Silent: silent, GossipDead: true, Stream: lock.EndedByPeer, StreamEndedAgo: silent}) != lock.Living
		if acts && !timing.InDoubt(passed) {
			return passed, true
		}
	}
	return 0, false
}

// An owner is in doubt before it can expire, under every timing that Validate accepts.
func TestDoubtComesBeforeTheJudge(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	span := func(most time.Duration) time.Duration {
		return time.Duration(random.Int64N(int64(most))).Truncate(time.Millisecond)
	}
	timings := []lock.Timing{lock.DefaultTiming()}
	for tries := 0; len(timings) < 40; tries++ {
		x := lock.Timing{
			Renew: span(2 * time.Second), Doubt: span(6 * time.Second), Evidence: span(10 * time.Second),
			Lease: span(20 * time.Second), HandOff: span(20 * time.Second),
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
			if passed, ok := expiredWhileHeld(timing, ratio); ok {
				t.Fatalf("at a ratio of %.2f an owner expires after %v while it holds: %+v", ratio, passed, timing)
			}
		}
		if passed, ok := expiredWhileHeld(timing, lock.ClockRatio); ok {
			t.Fatalf("at the full ratio an owner expires after %v while it holds: %+v", passed, timing)
		}
	}
	// The search finds a fault where there is one.
	if _, ok := expiredWhileHeld(lock.DefaultTiming(), 1.6); !ok {
		t.Error("with clocks that differ by 1.6 no owner expires while it holds: the search finds nothing")
	}
}

func TestLapsed(t *testing.T) {
	timing := lock.DefaultTiming()
	if timing.LapseIsDue(timing.Evidence - 1) {
		t.Error("a revoked owner lapses before evidence time")
	}
	if !timing.LapseIsDue(timing.Evidence) {
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

// An owner's last save is over before the leader revokes, also when a new leader leaves it half of the hand-off time.
func TestAnOwnersLastSaveIsOverBeforeItsHandOffTime(t *testing.T) {
	timing := lock.DefaultTiming()
	for _, test := range []struct{ pending, want time.Duration }{
		{0, 7 * time.Second}, {time.Second, 6 * time.Second}, {timing.HandOff / 2, 2 * time.Second}, {timing.HandOff, time.Second},
	} {
		if got := timing.LastSaveLimit(test.pending); got != test.want {
			t.Errorf("asked %v ago it has %v, want %v", test.pending, got, test.want)
		}
	}
}
