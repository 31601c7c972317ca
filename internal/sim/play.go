package sim

import (
	"math/rand/v2"
	"time"

	"github.com/profilenode/profilenode/client"
)

// Play runs the ordinary work of a game server, until the simulation's repair or its own end.
func (s *Server) Play(until <-chan struct{}) {
	for i, key := range s.world.profiles {
		draw := s.randomFor(uint64(i))
		s.working.Go(func() { s.keepSession(key, draw, until) })
	}
	draw := s.randomFor(1000)
	s.working.Go(func() { s.visitProfiles(draw, until) })
}

func (s *Server) pauseUnless(d time.Duration, until <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-until:
	case <-s.life.Done():
	}
	return false
}

func drawDuration(draw *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(draw.Int64N(int64(d)))
}

// keepSession opens sessions on one profile, one after the other.
func (s *Server) keepSession(key string, draw *rand.Rand, until <-chan struct{}) {
	for s.pauseUnless(drawDuration(draw, 8*time.Second), until) {
		when := []client.IfOwned{client.IfOwnedWait, client.IfOwnedWait, client.IfOwnedWait, client.IfOwnedWait, client.IfOwnedRefuse, client.IfOwnedSteal}[draw.IntN(6)]
		limit := time.Second + drawDuration(draw, 20*time.Second)
		if draw.IntN(5) == 0 {
			limit = 5*time.Millisecond + drawDuration(draw, 500*time.Millisecond) // it gives up, wherever the request is by then
		}
		session, err := s.Start(key, limit, when)
		if err != nil {
			continue
		}
		for turns := draw.IntN(12); turns > 0 && s.pauseUnless(drawDuration(draw, 1500*time.Millisecond), until); turns-- {
			if draw.IntN(3) > 0 {
				session.Touch()
			} else if session.Save(50*time.Millisecond+drawDuration(draw, 5*time.Second)) != nil && session.State() == client.StateOver {
				break
			}
		}
		if draw.IntN(4) > 0 && session.State() != client.StateOver {
			_ = session.End(100*time.Millisecond + drawDuration(draw, 6*time.Second))
		}
	}
}

// visitProfiles makes the calls that need no session.
func (s *Server) visitProfiles(draw *rand.Rand, until <-chan struct{}) {
	for s.pauseUnless(drawDuration(draw, 700*time.Millisecond), until) {
		key := s.world.profiles[draw.IntN(len(s.world.profiles))]
		limit := 50*time.Millisecond + drawDuration(draw, 4*time.Second)
		switch n := draw.IntN(20); {
		case n < 9:
			_, _ = s.Get(key, limit)
		case n < 11 && s.world.proxy != nil && draw.IntN(2) == 0:
			_ = s.Poison(key, limit)
		case n < 18:
			_ = s.Send(key, limit)
		case n < 19:
			_ = s.Set(key, limit)
		default:
			_ = s.Set(key, limit, client.Force())
		}
	}
}
