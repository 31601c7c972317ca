package lock

import "time"

// Ground is the reason why an incarnation counts as gone.
type Ground uint8

const (
	Living   Ground = iota // it does not count as gone
	Goodbye                // it said so
	Proof                  // its own host proves that its process has ended
	Evidence               // it has been silent, and its stream, gossip or its process's next registration says that it is gone
	Silence                // it has been silent for a lease
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

// Stream is the state of the stream that an incarnation holds to a leader.
type Stream uint8

const (
	NoStream    Stream = iota // this leader held none
	OpenStream                // it is open, or was opened again
	EndedByPeer               // FIN or RST came from the peer, and no stream was opened since
	EndedHere                 // it ended otherwise: by a goodbye, a time-out, or a call that was cancelled
)

// Signals holds one leader's observations of an incarnation, all made by itself and in its own lead. A field without an
// observation stays zero, which counts towards Living.
type Signals struct {
	// Silent is the time since the incarnation was heard, or since this leader's opening command was applied, whichever is
	// less, minus the time by which the failure detector's own ticks came late.
	Silent         time.Duration
	Stream         Stream
	StreamEndedAgo time.Duration // time since the stream ended
	GossipDead     bool          // gossip says dead
	Replaced       bool          // its process registered again, and said that it had stopped using its sessions of before

	// Observations of its ping port.
	SameHost          bool          // the port's IP is the one that the stream came from
	Reached           bool          // this incarnation has answered there
	ReachedAgo        time.Duration // time since it last answered there
	Refused           int           // consecutive refusals of the port, up to now
	RefusedFor        time.Duration // time between the first and the last of these refusals
	RequestSince      bool          // a request of this incarnation came after the first of these refusals
	OtherAnswered     bool          // the last answer there was another incarnation's
	SuccessorAnswered bool          // the last answer there was that of the incarnation which replaced it
}

// FindGround is the failure detector's half of the lease argument: it returns the ground on which an incarnation of a
// timing class counts as gone, or Living. It never returns Goodbye, which only the game server itself says.
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

// isAbandoned says that the peer ended the stream and had time to open another one, but did not. The time is needed because
// after a partition heals the end of the old stream arrives before the new stream, and the silence is already long then.
func (t Timing) isAbandoned(s Signals) bool {
	return s.Stream == EndedByPeer && s.StreamEndedAgo >= 2*t.Renew
}

// ShowsProcessGone says whether the incarnation's own host proves that the incarnation is gone. There are two proofs. Its
// kernel refuses connections to its ping port, which counts only for a port that this leader has reached, since a firewall
// refuses too. Or its process answers on that port, which it holds for its whole life, as the incarnation that replaced
// this one.
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
