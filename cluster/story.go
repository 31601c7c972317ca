package cluster

import (
	"fmt"
	"time"

	"github.com/profilenode/profilenode/lock"
)

// story is what an operator wants to know of a verdict.
type story struct {
	name, where string
	sessions    int
	ground      lock.Ground
	signals     lock.Signals
	silent      time.Duration
}

// tell writes down why an incarnation counts as gone.
func (j *judge) tell(inc lock.Incarnation) {
	j.mu.Lock()
	s, ok := j.stories[inc]
	delete(j.stories, inc)
	j.mu.Unlock()
	if !ok {
		return
	}
	j.l.node.log.Info("game server is gone", "name", s.name, "where", s.where, "incarnation", uint64(inc),
		"ground", s.ground.String(), "why", s.why(j.l.witnesses.answerer(inc)),
		"silent", max(0, s.silent).Round(time.Millisecond), "profiles", s.sessions)
}

func (s story) why(other lock.Incarnation) string {
	switch {
	case s.ground == lock.Proof && s.signals.Another:
		return fmt.Sprintf("its host ended the stream, and incarnation %d answers on its ping port", other)
	case s.ground == lock.Proof:
		return fmt.Sprintf("its host ended the stream, and refused its ping port %d times", s.signals.Refused)
	case s.ground == lock.Evidence && s.signals.Stream == lock.EndedByPeer:
		return "its host ended the stream, it opened no other, and was not heard"
	case s.ground == lock.Evidence:
		return "gossip says that it is dead, and it was not heard"
	}
	return "it was not heard for a lease"
}
