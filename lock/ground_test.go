package lock_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/profilenode/profilenode/lock"
)

// proven returns signals that are just enough for proof.
func proven(t lock.Timing, d lock.Detector) lock.Signals {
	return lock.Signals{
		Stream: lock.EndedByPeer, StreamEndedAgo: 2 * t.Renew, SameHost: true, Reached: true, ReachedAgo: d.ReachFor, Refused: 2, RefusedFor: d.RefusalGap,
	}
}

func TestJudge(t *testing.T) {
	timing, detector := lock.DefaultTiming(), lock.DefaultDetector()
	with := func(change ...func(*lock.Signals)) lock.Signals {
		s := proven(timing, detector)
		for _, c := range change {
			c(&s)
		}
		return s
	}
	silent := func(d time.Duration) func(*lock.Signals) { return func(s *lock.Signals) { s.Silent = d } }
	stream := func(x lock.Stream) func(*lock.Signals) { return func(s *lock.Signals) { s.Stream = x } }
	another := func(s *lock.Signals) { s.Refused, s.RefusedFor, s.OtherAnswered = 0, 0, true }
	successor := func(s *lock.Signals) { s.Replaced, s.OtherAnswered, s.SuccessorAnswered = true, true, true }
	far := func(s *lock.Signals) { s.SameHost = false }
	unreached := func(s *lock.Signals) { s.Reached, s.ReachedAgo = false, 0 }
	stale := func(s *lock.Signals) { s.ReachedAgo = detector.ReachFor + 1 }
	tests := []struct {
		name string
		s    lock.Signals
		want lock.Ground
	}{
		{"nothing is known", lock.Signals{}, lock.Living},

		{"proof: refused twice", with(), lock.Proof},
		{"refused more than twice", with(func(s *lock.Signals) { s.Refused = 5 }), lock.Proof},
		{"proof needs no silence", with(silent(-time.Second)), lock.Proof},
		{"proof comes before silence", with(silent(timing.Lease)), lock.Proof},
		{"proof: another incarnation answers", with(another), lock.Proof},
		{"another answers, whatever came in between", with(another, func(s *lock.Signals) { s.RequestSince = true }), lock.Proof},
		{"refused once", with(func(s *lock.Signals) { s.Refused = 1 }), lock.Living},
		{"not refused", with(func(s *lock.Signals) { s.Refused = 0 }), lock.Living},
		{"refused twice too soon", with(func(s *lock.Signals) { s.RefusedFor = detector.RefusalGap - 1 }), lock.Living},
		{"a request in between", with(func(s *lock.Signals) { s.RequestSince = true }), lock.Living},
		{"never reached", with(unreached), lock.Living},
		{"never reached, and another answers", with(another, unreached), lock.Living},
		{"reached more than a minute ago", with(stale), lock.Living},
		{"reached more than a minute ago, and another answers", with(another, stale), lock.Living},
		{"the port of another host refuses", with(far), lock.Living},
		{"another answers on another host", with(another, far), lock.Living},
		{"the stream is open", with(stream(lock.OpenStream)), lock.Living},
		{"the stream is open, and another answers", with(another, stream(lock.OpenStream)), lock.Living},
		{"the stream ended here", with(stream(lock.EndedHere)), lock.Living},
		{"this leader held no stream", with(stream(lock.NoStream)), lock.Living},
		{"this leader held no stream, and another answers", with(another, stream(lock.NoStream)), lock.Living},
		{"its successor answers", with(successor, func(s *lock.Signals) { s.Refused = 0 }), lock.Proof},
		{"its stream is open, and its successor answers", with(successor, stream(lock.OpenStream)), lock.Proof},
		{"its stream ended here, and its successor answers", with(successor, stream(lock.EndedHere)), lock.Proof},
		{"its successor answers on another host", with(successor, far), lock.Living},
		{"never reached, and its successor answers", with(successor, unreached), lock.Living},
		{"reached more than a minute ago, and its successor answers", with(successor, stale), lock.Living},
		{"everything but proof, with evidence", with(unreached, silent(timing.Evidence)), lock.Evidence},

		{"evidence: its stream ended", lock.Signals{Stream: lock.EndedByPeer, StreamEndedAgo: 2 * timing.Renew, Silent: timing.Evidence}, lock.Evidence},
		{"its stream ended just now, after long silence", lock.Signals{Stream: lock.EndedByPeer, StreamEndedAgo: 2*timing.Renew - 1, Silent: timing.Lease - 1}, lock.Living},
		{"its stream ended just now, and gossip says dead", lock.Signals{Stream: lock.EndedByPeer, GossipDead: true, Silent: timing.Evidence}, lock.Evidence},
		{"evidence: gossip", lock.Signals{GossipDead: true, Silent: timing.Evidence}, lock.Evidence},
		{"evidence: it was replaced", lock.Signals{Replaced: true, Silent: timing.Evidence}, lock.Evidence},
		{"it was replaced, and its stream is open", lock.Signals{Replaced: true, Stream: lock.OpenStream, Silent: timing.Evidence}, lock.Evidence},
		{"it was replaced, heard too lately", lock.Signals{Replaced: true, Silent: timing.Evidence - 1}, lock.Living},
		{"it was replaced, freshly renewed", lock.Signals{Replaced: true}, lock.Living},
		{"gossip, and its stream is open", lock.Signals{GossipDead: true, Stream: lock.OpenStream, Silent: timing.Evidence}, lock.Evidence},
		{"evidence says so also after a lease", lock.Signals{GossipDead: true, Silent: timing.Lease}, lock.Evidence},
		{"its stream ended, heard too lately", lock.Signals{Stream: lock.EndedByPeer, StreamEndedAgo: timing.Evidence, Silent: timing.Evidence - 1}, lock.Living},
		{"gossip, heard too lately", lock.Signals{GossipDead: true, Silent: timing.Evidence - 1}, lock.Living},
		{"gossip, freshly renewed", lock.Signals{GossipDead: true}, lock.Living},
		{"gossip, and ticks that came late", lock.Signals{GossipDead: true, Silent: -time.Hour}, lock.Living},
		{"its stream was reopened", lock.Signals{Stream: lock.OpenStream, Silent: timing.Lease - 1}, lock.Living},
		{"its stream ended here", lock.Signals{Stream: lock.EndedHere, Silent: timing.Lease - 1}, lock.Living},
		{"this leader held no stream", lock.Signals{Silent: timing.Lease - 1}, lock.Living},
		{"refused for long, its stream is open", with(stream(lock.OpenStream), silent(timing.Lease-1)), lock.Living},
		{"refused for long, no stream here", with(stream(lock.NoStream), silent(timing.Lease-1)), lock.Living},

		{"silence", lock.Signals{Silent: timing.Lease}, lock.Silence},
		{"silence, its stream is open", lock.Signals{Stream: lock.OpenStream, Silent: time.Hour}, lock.Silence},
		{"a moment less", lock.Signals{Silent: timing.Lease - 1}, lock.Living},
	}
	for _, test := range tests {
		if got := detector.FindGround(timing, test.s); got != test.want {
			t.Errorf("%s: the expiry is %v, want %v", test.name, got, test.want)
		}
	}
}

// referenceGround checks the grounds one by one: one unmet condition rules a ground out. It shares no line with FindGround.
func referenceGround(t lock.Timing, d lock.Detector, s lock.Signals) lock.Ground {
	grounds := []struct {
		ground lock.Ground
		misses []bool
	}{
		{lock.Proof, []bool{
			!s.SuccessorAnswered && s.Stream == lock.NoStream,   // this leader held the stream itself
			!s.SuccessorAnswered && s.Stream == lock.OpenStream, // and saw it end
			!s.SuccessorAnswered && s.Stream == lock.EndedHere,  // FIN or RST from the peer, never our own time-out
			!s.Reached,                // it got this incarnation's answer on its ping port
			s.ReachedAgo > d.ReachFor, // within the last minute
			!s.SameHost,               // the ping IP is the stream's peer IP
			!s.SuccessorAnswered && !s.OtherAnswered && s.Refused < 2, // the port now refuses, twice, or another incarnation answers there
			!s.SuccessorAnswered && !s.OtherAnswered && s.RefusedFor < d.RefusalGap,
			!s.SuccessorAnswered && !s.OtherAnswered && s.RequestSince, // with no request in between
		}},
		{lock.Evidence, []bool{
			!s.GossipDead && !s.Replaced && s.Stream != lock.EndedByPeer, // memberlist says dead, it was replaced, or the stream ended so
			!s.GossipDead && !s.Replaced && s.StreamEndedAgo < 2*t.Renew, // and was not reopened, with time to
			s.Silent < t.Evidence, // and silence
		}},
		{lock.Silence, []bool{s.Silent < t.Lease}},
	}
	for _, g := range grounds {
		missed := false
		for _, miss := range g.misses {
			missed = missed || miss
		}
		if !missed {
			return g.ground
		}
	}
	return lock.Living
}

func TestJudgeAgainstItsTwin(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	timing, detector := lock.DefaultTiming(), lock.DefaultDetector()
	around := func(at ...time.Duration) time.Duration {
		return at[random.IntN(len(at))] + time.Duration(random.IntN(3)-1)
	}
	likely := func() bool { return random.IntN(4) > 0 }
	found := map[lock.Ground]int{}
	for range 200_000 {
		s := lock.Signals{
			Silent:         around(0, timing.Doubt, timing.Evidence, timing.Lease, time.Hour),
			Stream:         lock.EndedByPeer,
			StreamEndedAgo: around(0, 2*timing.Renew),
			GossipDead:     !likely(),
			SameHost:       likely(), Reached: likely(), ReachedAgo: around(0, detector.ReachFor),
			Refused: random.IntN(4), RefusedFor: around(0, detector.RefusalGap), RequestSince: !likely(), OtherAnswered: !likely(),
		}
		if !likely() {
			s.Replaced = true
			s.SuccessorAnswered = s.OtherAnswered && !likely()
		}
		if !likely() {
			s.Stream = lock.Stream(random.IntN(4))
		}
		got, want := detector.FindGround(timing, s), referenceGround(timing, detector, s)
		if got != want {
			t.Fatalf("the expiry on %+v is %v, its slow reading is %v", s, got, want)
		}
		found[got]++
	}
	for _, ground := range []lock.Ground{lock.Living, lock.Proof, lock.Evidence, lock.Silence} {
		if found[ground] < 1000 {
			t.Errorf("%v was found %d times only: the signals tried are not the interesting ones", ground, found[ground])
		}
	}
}

// Each condition of a proof is needed: without any one of them there is no proof.
func TestNothingOfAProofIsSpare(t *testing.T) {
	timing, detector := lock.DefaultTiming(), lock.DefaultDetector()
	takes := map[string]func(*lock.Signals){
		"stream": func(s *lock.Signals) { s.Stream = 0 }, "host": func(s *lock.Signals) { s.SameHost = false },
		"reached": func(s *lock.Signals) { s.Reached = false }, "since": func(s *lock.Signals) { s.ReachedAgo++ },
		"refused": func(s *lock.Signals) { s.Refused-- }, "spread": func(s *lock.Signals) { s.RefusedFor-- },
		"between": func(s *lock.Signals) { s.RequestSince = true },
	}
	for name, take := range takes {
		s := proven(timing, detector)
		take(&s)
		if got := detector.FindGround(timing, s); got != lock.Living {
			t.Errorf("a proof without %s: got %v, want living", name, got)
		}
	}
}

func TestGroundString(t *testing.T) {
	want := map[lock.Ground]string{
		lock.Living: "living", lock.Goodbye: "goodbye", lock.Proof: "proof", lock.Evidence: "evidence", lock.Silence: "silence",
	}
	for ground, name := range want {
		if got := ground.String(); got != name {
			t.Errorf("ground %d is called %q, want %q", ground, got, name)
		}
	}
}
