package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/client"
)

// saveLoad is a game server that has sessions on random profiles of a filled store, and saves them.
type saveLoad struct {
	client   *client.Client
	sessions []*client.Profile[json.RawMessage]
	bytes    int
	opened   latencyHistogram // how long StartSession took
	version  atomic.Uint64
	seed     uint64
}

// newSaveLoad opens sessions on profiles below a number. The seed chooses which.
func newSaveLoad(ctx context.Context, seeds []string, store string, profiles uint64, sessions, bytes int, seed uint64) (*saveLoad, error) {
	c, err := client.Open(ctx, client.Config{Seeds: seeds, Where: "bench load", Autosave: -1})
	if err != nil {
		return nil, err
	}
	l := &saveLoad{client: c, bytes: bytes, seed: seed}
	l.version.Store(seed << 32)
	profilesOf, err := client.NewStore(c, store, json.RawMessage("{}"))
	if err != nil {
		closeClient(c)
		return nil, err
	}
	r, chosen := rand.New(rand.NewPCG(seed, 1)), make(map[uint64]bool)
	for len(l.sessions) < sessions && uint64(len(chosen)) < profiles {
		number := r.Uint64N(profiles)
		if chosen[number] {
			continue
		}
		chosen[number] = true
		began := time.Now()
		p, err := profilesOf.StartSession(ctx, profileKey(number))
		if err != nil {
			closeClient(c)
			return nil, err
		}
		l.opened.addSample(time.Since(began))
		if p.Revision() == 0 {
			closeClient(c)
			return nil, fmt.Errorf("profile %s is not there", profileKey(number))
		}
		l.sessions = append(l.sessions, p)
	}
	return l, nil
}

func (l *saveLoad) closeLoad() { closeClient(l.client) }

// saveOne changes one session's profile and saves it.
func (l *saveLoad) saveOne(ctx context.Context, at int) error {
	p := l.sessions[at]
	version := l.version.Add(1)
	if err := p.Update(func(data *json.RawMessage) { *data = makeBody(uint64(at), version, l.bytes) }); err != nil {
		return err
	}
	return p.Save(ctx)
}

// saveInLoop lets so many save at once, each its next as soon as the last one is answered, for so long.
func (l *saveLoad) saveInLoop(ctx context.Context, at int, howLong time.Duration) (*latencyHistogram, error) {
	return l.runWorkers(ctx, at, howLong, 0, nil)
}

// saveAtRate asks for so many saves a second, whether or not the ones before are answered, for so long. A save's time counts
// from the moment at which it was due, so that a standstill counts against every save that it held up. each, if it is not
// nil, is told every save: when it was due and how long it took.
func (l *saveLoad) saveAtRate(ctx context.Context, rate float64, howLong time.Duration, each func(due time.Time, took time.Duration)) (*latencyHistogram, error) {
	return l.runWorkers(ctx, min(256, len(l.sessions)), howLong, rate, each)
}

func (l *saveLoad) runWorkers(ctx context.Context, workers int, howLong time.Duration, rate float64, each func(time.Time, time.Duration)) (*latencyHistogram, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	took := &latencyHistogram{}
	began := time.Now()
	end := began.Add(howLong)
	var turn atomic.Int64
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(l.seed, uint64(w)+2))
			for ctx.Err() == nil {
				due := time.Now()
				if rate > 0 {
					due = began.Add(time.Duration(float64(turn.Add(1)) / rate * float64(time.Second)))
				}
				if !due.Before(end) {
					return
				}
				if early := time.Until(due); early > 0 {
					sleepUnlessDone(ctx, early)
				}
				// each worker has sessions of its own: two saves of one profile would wait for each other
				mine := (len(l.sessions) - w + workers - 1) / workers
				if err := l.saveOne(ctx, w+workers*r.IntN(mine)); err != nil {
					if ctx.Err() == nil {
						cancel(fmt.Errorf("save under load: %w", err))
					}
					return
				}
				d := time.Since(due)
				took.addSample(d)
				if each != nil {
					each(due, d)
				}
			}
		})
	}
	wait.Wait()
	return took, context.Cause(ctx)
}
