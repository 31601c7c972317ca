//go:build unix

package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/client"
)

const (
	gameStore    = "crash-games"
	gameSessions = 8
	gamePeriod   = 20 * time.Millisecond // between two saves of one session
)

// game is a game server with sessions that it saves without a pause, to see that none of them ends while a disk hangs.
type game struct {
	client  *client.Client
	store   *client.Store[gameData]
	all     []*client.Profile[gameData]
	saved   [gameSessions]atomic.Int64 // the count that was acknowledged last
	gate    sync.RWMutex               // held for writing while it may not save
	cancel  context.CancelFunc
	running sync.WaitGroup
	failing chan error // the first failure of each session
}

type gameData struct {
	Count int64 `json:"count"`
}

func startGame(ctx context.Context, c *nodeCluster) (*game, error) {
	opened, err := client.Open(ctx, client.Config{Seeds: c.clients, Autosave: -1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("open a game server: %w", err)
	}
	saving, cancel := context.WithCancel(ctx)
	g := &game{client: opened, cancel: cancel, failing: make(chan error, gameSessions)}
	if g.store, err = client.NewStore(opened, gameStore, gameData{}); err != nil {
		g.stop()
		return nil, err
	}
	for i := range gameSessions {
		starting, cancel := context.WithTimeout(ctx, fullWait)
		profile, err := g.store.StartSession(starting, fmt.Sprintf("game-%d", i))
		cancel()
		if err != nil {
			g.stop()
			return nil, fmt.Errorf("start a session: %w", err)
		}
		profile.Read(func(d *gameData) { g.saved[i].Store(d.Count) })
		g.all = append(g.all, profile)
	}
	for i := range g.all {
		g.running.Go(func() {
			for saving.Err() == nil {
				if err := g.saveOnce(saving, i); err != nil && saving.Err() == nil {
					g.failing <- fmt.Errorf("session %d: %w", i, err)
					return
				}
				time.Sleep(gamePeriod)
			}
		})
	}
	return g, nil
}

// saveOnce counts one up and saves. A save may fail for as long as the session goes on.
func (g *game) saveOnce(ctx context.Context, i int) error {
	g.gate.RLock()
	defer g.gate.RUnlock()
	profile, count := g.all[i], int64(0)
	if err := profile.Update(func(d *gameData) { d.Count++; count = d.Count }); err != nil {
		return err
	}
	if err := profile.Save(ctx); err == nil {
		g.saved[i].Store(count)
	}
	return profile.Err()
}

// check is an error if a session has ended, or if the store holds less than was acknowledged.
func (g *game) check(ctx context.Context) error {
	select {
	case err := <-g.failing:
		return err
	default:
	}
	for i, profile := range g.all {
		if profile.State() == client.StateOver {
			return fmt.Errorf("session %d is over: %w", i, profile.Err())
		}
		want := g.saved[i].Load()
		reading, cancel := context.WithTimeout(ctx, fullWait)
		got, err := g.store.Get(reading, profile.Key())
		cancel()
		if err != nil {
			return fmt.Errorf("read back session %d: %w", i, err)
		}
		if got.Data.Count < want {
			return fmt.Errorf("LOST: session %d is at count %d, acknowledged was %d", i, got.Data.Count, want)
		}
	}
	return nil
}

func (g *game) stop() {
	g.cancel()
	g.running.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = g.client.Shutdown(ctx) // its sessions were checked before
}
