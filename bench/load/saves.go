package load

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/client"
)

// Saves is a game server with sessions that it saves.
type Saves struct {
	Client *client.Client
	Opened measure.Samples // durations of StartSession

	bytes    int // of a profile
	seed     uint64
	store    *client.Store[json.RawMessage]
	sessions []*client.Profile[json.RawMessage]
	version  atomic.Uint64
}

// Open opens a client without sessions. The seed chooses profiles and their data.
func Open(ctx context.Context, config client.Config, store string, bytes int, seed uint64) (*Saves, error) {
	c, err := client.Open(ctx, config)
	if err != nil {
		return nil, err
	}
	s := &Saves{Client: c, bytes: bytes, seed: seed}
	s.version.Store(seed << 32)
	if s.store, err = client.NewStore(c, store, json.RawMessage("{}")); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// StartSession opens a session on the profile with a number, which may have to exist.
func (s *Saves) StartSession(ctx context.Context, number uint64, mustExist bool) error {
	began := time.Now()
	p, err := s.store.StartSession(ctx, Key(number))
	if err != nil {
		return err
	}
	s.Opened.Add(time.Since(began))
	if mustExist && p.Revision() == 0 {
		return fmt.Errorf("profile %s does not exist", Key(number))
	}
	s.sessions = append(s.sessions, p)
	return nil
}

// StartSessions opens so many sessions, on the profiles with the first numbers.
func (s *Saves) StartSessions(ctx context.Context, count uint64) error {
	for number := range count {
		if err := s.StartSession(ctx, number, false); err != nil {
			return err
		}
	}
	return nil
}

// StartRandomSessions opens so many sessions on profiles with numbers below a limit, which must exist.
func (s *Saves) StartRandomSessions(ctx context.Context, count int, limit uint64) error {
	r, chosen := rand.New(rand.NewPCG(s.seed, 1)), make(map[uint64]bool)
	for len(s.sessions) < count && uint64(len(chosen)) < limit {
		number := r.Uint64N(limit)
		if chosen[number] {
			continue
		}
		chosen[number] = true
		if err := s.StartSession(ctx, number, true); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the sessions.
func (s *Saves) Close() { CloseClient(s.Client) }

// CloseClient closes a client in bounded time; when its goodbye is lost, the lease ends the registration as well.
func CloseClient(c *client.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = c.Shutdown(ctx)
}

// SaveInLoop lets so many workers save at once for so long, each its next profile as soon as the last one is answered.
func (s *Saves) SaveInLoop(ctx context.Context, workers int, howLong time.Duration) (*measure.Samples, error) {
	return s.runWorkers(ctx, workers, howLong, 0)
}

// SaveAtRate saves so many profiles a second for so long, whether or not the saves before are answered. The time of a save
// counts from the moment at which it was due, so that a standstill counts against every save that it held up.
func (s *Saves) SaveAtRate(ctx context.Context, rate float64, howLong time.Duration) (*measure.Samples, error) {
	return s.runWorkers(ctx, 256, howLong, rate)
}

func (s *Saves) runWorkers(ctx context.Context, workers int, howLong time.Duration, rate float64) (*measure.Samples, error) {
	workers = min(workers, len(s.sessions))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	took := &measure.Samples{}
	began := time.Now()
	end := began.Add(howLong)
	var turn atomic.Int64
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(s.seed, uint64(w)+2))
			for ctx.Err() == nil {
				due := time.Now()
				if rate > 0 {
					due = began.Add(time.Duration(float64(turn.Add(1)) / rate * float64(time.Second)))
				}
				if !due.Before(end) {
					return
				}
				if early := time.Until(due); early > 0 {
					measure.Sleep(ctx, early)
				}
				// Each worker has sessions of its own: two saves of one profile would wait for each other.
				mine := (len(s.sessions) - w + workers - 1) / workers
				if err := s.saveOne(ctx, w+workers*r.IntN(mine)); err != nil {
					if ctx.Err() == nil {
						cancel(fmt.Errorf("save under load: %w", err))
					}
					return
				}
				took.Add(time.Since(due))
			}
		})
	}
	wait.Wait()
	return took, context.Cause(ctx)
}

// saveOne changes one session's profile and saves it.
func (s *Saves) saveOne(ctx context.Context, at int) error {
	p := s.sessions[at]
	version := s.version.Add(1)
	if err := p.Update(func(data *json.RawMessage) { *data = MakeBody(uint64(at), version, s.bytes) }); err != nil {
		return err
	}
	return p.Save(ctx)
}
