package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/client"
)

const (
	pace     = 300 * time.Millisecond // from one turn of a player to the next
	stay     = 30 * time.Second       // how long a player stays, more or less
	patience = 10 * time.Second       // of a player, for any answer of the cluster
)

// arena is a number of seats, in each a bot that plays one player after the other.
type arena struct {
	server  *client.Client
	players *client.Store[player]
	seats   int

	mu     sync.Mutex
	seated map[string]bool // keys of the players in a seat here

	joined, handedOff, lost, gifts atomic.Int64
	lastSave                       atomic.Int64 // Unix nanoseconds
}

func newArena(server *client.Client, seats int) (*arena, error) {
	players, err := client.NewStore(server, "players", newPlayer())
	return &arena{server: server, players: players, seats: seats, seated: make(map[string]bool)}, err
}

// play plays until ctx ends, and returns once every session is over: when ctx has ended, shut the client down.
func (a *arena) play(ctx context.Context) {
	var bots sync.WaitGroup
	for range a.seats {
		bots.Go(func() {
			for sleep(ctx, rand.N(2*time.Second)) {
				key := a.takeSeat()
				if err := a.playSession(ctx, key); err != nil && ctx.Err() == nil {
					log.Printf("%s: %v", key, err)
				}
				a.leaveSeat(key)
			}
		})
	}
	bots.Wait()
}

// playSession is one session, from the player's joining to its leaving.
func (a *arena) playSession(ctx context.Context, key string) error {
	// A player on another game server comes over: that one makes a last save and lets go, and this one loads it.
	joining, cancel := context.WithTimeout(ctx, patience)
	p, err := a.players.StartSession(joining, key)
	cancel()
	if err != nil {
		return err
	}
	a.joined.Add(1)
	p.OnAfterSave(func(s client.Saved) {
		if s.Err == nil { // otherwise the autosave tries again, or the session is over
			a.lastSave.Store(time.Now().UnixNano())
		}
	})
	p.OnSessionEnd(func(end client.End) {
		if end.Reason == client.EndHandedOff {
			a.handedOff.Add(1)
		}
		if end.Unsaved {
			a.lost.Add(1)
		}
	})
	client.Handle(p, "gift", func(d *player, g gift, _ client.Message) client.Answer {
		d.receive(g)
		a.gifts.Add(1)
		return client.AnswerDone // the gift's effect and its end are saved together
	})

	leaves := time.NewTimer(stay/2 + rand.N(stay))
	defer leaves.Stop()
	turn := time.NewTicker(pace)
	defer turn.Stop()
	for {
		select {
		case <-turn.C:
			if err := a.playTurn(ctx, p); err != nil && !errors.Is(err, client.ErrSessionOver) {
				log.Printf("%s: %v", key, err) // the game goes on, and the autosave tries again
			}
		case <-leaves.C:
			ending, cancel := withPatience(ctx)
			defer cancel()
			return p.EndSession(ending)
		case <-p.Done(): // handed over, lost, or ended by Shutdown
			return p.Err()
		}
	}
}

// playTurn is one turn of a player.
func (a *arena) playTurn(ctx context.Context, p *client.Profile[player]) error {
	var precious bool
	if err := p.Update(func(d *player) { precious = d.takeTurn() }); err != nil {
		return err
	}
	if precious { // too precious to wait for the autosave
		saving, cancel := withPatience(ctx)
		defer cancel()
		return p.Save(saving)
	}
	// A gift cannot be taken back, so it waits until the session is held for certain.
	if to := randomKey(a.seats); p.IsActive() && to != p.Key() && rand.IntN(30) == 0 {
		sending, cancel := withPatience(ctx)
		defer cancel()
		_, err := a.players.Send(sending, to, gift{Coins: 1 + rand.IntN(9)}, client.Kind("gift"))
		return err
	}
	return nil
}

// takeSeat chooses a player that has no seat here. It may have one on another game server.
func (a *arena) takeSeat() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		if key := randomKey(a.seats); !a.seated[key] {
			a.seated[key] = true
			return key
		}
	}
}

func (a *arena) leaveSeat(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.seated, key)
}

// randomKey is one of four players for each seat, the same ones on every game server: some are away, some on another one.
func randomKey(seats int) string { return fmt.Sprintf("player-%04d", 1+rand.IntN(4*seats)) }

// printStatus prints one line. Kill nodes, and see how long the last save is ago.
func (a *arena) printStatus(out io.Writer) {
	s := a.server.Stats()
	age := time.Duration(0)
	if last := a.lastSave.Load(); last > 0 {
		age = time.Since(time.Unix(0, last))
	}
	fmt.Fprintf(out, "%s  %s  sessions %d (%d joined, %d handed off, %d lost unsaved)  saves %d to %s, the last %.1f s ago  gifts %d\n",
		time.Now().Format(time.TimeOnly), a.server.State(), s.Sessions, a.joined.Load(), a.handedOff.Load(), a.lost.Load(),
		s.Saves, s.Node, age.Seconds(), a.gifts.Load())
}

// withPatience is for a request that is under way when the game server stops: it is still answered.
func withPatience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), patience)
}

// sleep says whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
