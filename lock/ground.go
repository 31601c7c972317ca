package lock

import "time"

// Ground is why an incarnation counts as gone.
type Ground uint8

const (
	Living   Ground = iota
	Goodbye         // it said so
	Proof           // its own host proves it
	Evidence        // its stream, gossip or its process's next registration says so, and it has been silent
	Silence         // it has been silent for a lease
)

func (g Ground) String() string {
	switch g {
	case Goodbye:
		return "goodbye"
	case Proof:
		return "proof"
	case Evidence:
		return "evidence"
	case Silence:
		return "silence"
	}
	return "living"
}

// Stream is what became of the stream that an incarnation held to a leader.
type Stream uint8

const (
	NoStream    Stream = iota // this leader held none
	OpenStream                // it is open, or was opened anew
	EndedByPeer               // FIN or RST came from the peer, and none was opened since
	EndedHere                 // it ended otherwise: by a goodbye, a time-out, or a call that was cancelled
)

// Signals is what one leader knows of an incarnation, all of it seen by itself and in its own lead. A field that it knows
// nothing of stays zero, which speaks for the living.
type Signals struct {
	Silent         time.Duration // since it was heard, or since this leader's opening command was applied, whichever is less, less the time by which the judge's own ticks came late
	Stream         Stream
	StreamEndedAgo time.Duration // since the stream ended
	GossipDead     bool          // gossip says dead
	Replaced       bool          // its process registered anew, and said that it had stopped using its sessions

	// Of its ping port.
	SameHost          bool          // the port's IP is the one that the stream came from
	Reached           bool          // this incarnation answered there once
	ReachedAgo        time.Duration // since it last did
	Refused           int           // times running that the port refused, up to now
	RefusedFor        time.Duration // between the first and the last of them
	RequestSince      bool          // a request of this incarnation came since the first of them
	OtherAnswered     bool          // at last another incarnation answered there
	SuccessorAnswered bool          // at last the incarnation that replaced it answered there
}

// FindGround is the judge's half: the ground on which an incarnation of a timing class counts as gone, or Living. Goodbye is
// not found, it is said.
func (d Detector) FindGround(t Timing, s Signals) Ground {
	switch {
	case d.ShowsProcessGone(s):
		return Proof
	case s.Silent >= t.Evidence && (s.GossipDead || s.Replaced || t.isAbandoned(s)):
		return Evidence
	case s.Silent >= t.Lease:
		return Silence
	}
	return Living
}

// isAbandoned says that its peer ended the stream and opened no other, though there was time to. After a cut has healed
// the end of the old stream comes before the new one, and by then the silence is long.
func (t Timing) isAbandoned(s Signals) bool {
	return s.Stream == EndedByPeer && s.StreamEndedAgo >= 2*t.Renew
}

// ShowsProcessGone says whether the incarnation's own host shows that its process is gone. Only the kernel's refusal does, and only
// of a port that this leader is known to reach: a firewall refuses too. Or its own process does, that goes on as the
// incarnation which replaced this one: it answers as that one on the port that it holds for its whole life.
func (d Detector) ShowsProcessGone(s Signals) bool {
	reached := s.Reached && s.ReachedAgo <= d.ReachFor
	switch {
	case !s.SameHost || !reached:
		return false
	case s.SuccessorAnswered:
		return true
	case s.Stream != EndedByPeer:
		return false
	}
	return s.OtherAnswered || s.Refused >= 2 && s.RefusedFor >= d.RefusalGap && !s.RequestSince
}
