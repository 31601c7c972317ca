package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/profilenode/profilenode/client"
)

// Arena is a number of seats, in each a bot that plays one player of the roster after the other.
type Arena[T any] struct {
	Store  *client.Store[T]
	Game   Game[T]
	Roster []string      // keys of profiles; longer than the seats are many
	Pace   time.Duration // from one moment of a game to the next
	Stay   time.Duration // how long a player stays, more or less
	Stats  *Stats
	Acked  *Acked

	mu     sync.Mutex
	seated map[string]bool
}

const patience = 10 * time.Second // of a player, for anything

// Run plays until ctx ends, and returns once every session is over: when ctx has ended, close the client.
func (a *Arena[T]) Run(ctx context.Context, seats int) {
	a.seated = map[string]bool{}
	var bots sync.WaitGroup
	for seat := range seats {
		bots.Go(func() {
			r := rand.New(rand.NewPCG(rand.Uint64(), uint64(seat)))
			// Not all at once: players come one by one.
			for pause := time.Duration(r.Int64N(int64(time.Second))); sleep(ctx, pause); pause = a.around(time.Second, r) {
				key := a.take(r)
				a.visit(ctx, seat, key, r)
				a.free(key)
			}
		})
	}
	bots.Wait()
}

// visit is one session, from the player's coming to the player's going.
func (a *Arena[T]) visit(ctx context.Context, seat int, key string, r *rand.Rand) {
	defer a.Stats.Sit(seat, nil)
	a.Stats.Sit(seat, func() Stand { return Joining })
	joining, cancel := context.WithTimeout(ctx, patience)
	began := time.Now()
	profile, err := a.Store.StartSession(joining, key)
	cancel()
	if err != nil {
		a.failed(ctx, err)
		return
	}
	a.Stats.Joined(time.Since(began))
	a.Stats.Sit(seat, func() Stand { return standOf(profile.State()) })
	profile.OnAfterSave(func(saved client.Saved) {
		if saved.Err != nil {
			return // tried again by the autosave, or the session is over
		}
		a.Stats.Saved(1)
		a.Acked.Saved(key, saved.Revision)
	})
	// Over already? Then Update says so, and the first moment of the game finds out.
	_ = profile.Update(func(data *T) { a.Game.Enter(key, data) })
	profile.OnMessage(a.receive)

	leaves := a.play(ctx, profile, r)
	if leaves {
		ending, cancel := lasting(ctx)
		if err := profile.EndSession(ending); err != nil {
			a.failed(ctx, err)
		}
		cancel()
	}
	// Whoever ends it, the game server that closes included: the data stays as the last save has it.
	<-profile.Done()
	a.Stats.Count(func(c *Counts) { c.Over++ })
	if err := profile.Err(); err != nil {
		a.failed(ctx, err)
		if ctx.Err() == nil {
			a.Stats.Count(func(c *Counts) { c.Lost++ })
		}
		return
	}
	a.Acked.Holds(key, profile.Revision(), a.mark(profile))
	if !leaves && ctx.Err() == nil {
		a.Stats.Count(func(c *Counts) { c.Moved++ })
	}
}

// play goes on until the player has had enough, which it says, or the session or the game server ends.
func (a *Arena[T]) play(ctx context.Context, profile *client.Profile[T], r *rand.Rand) (leaves bool) {
	stay := time.NewTimer(a.around(a.Stay, r))
	defer stay.Stop()
	moment := time.NewTicker(a.around(a.Pace, r))
	defer moment.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-profile.Done():
			return false
		case <-stay.C:
			return true
		case <-moment.C:
		}
		precious := false
		if profile.Update(func(data *T) { precious = a.Game.Play(profile.Key(), data, r) }) != nil {
			continue // its last save is on its way
		}
		if precious {
			a.save(ctx, profile)
		}
		if profile.IsActive() && r.IntN(30) == 0 {
			a.give(ctx, profile.Key(), r)
		}
	}
}

// save is for what must not wait for the autosave.
func (a *Arena[T]) save(ctx context.Context, profile *client.Profile[T]) {
	mark := a.mark(profile) // the save may hold more than this, never less
	saving, cancel := lasting(ctx)
	defer cancel()
	began := time.Now()
	if err := profile.Save(saving); err != nil {
		a.failed(ctx, err)
		return
	}
	a.Stats.Took(time.Since(began))
	a.Acked.Holds(profile.Key(), profile.Revision(), mark)
}

func (a *Arena[T]) mark(profile *client.Profile[T]) (mark uint64) {
	profile.Read(func(data *T) { mark = a.Game.Mark(profile.Key(), data) })
	return mark
}

// give sends a gift to somebody, who may be here, on another game server, or asleep.
func (a *Arena[T]) give(ctx context.Context, from string, r *rand.Rand) {
	gift, to := a.Game.Gift(from, r), pick(r, a.Roster)
	if gift == nil || to == from {
		return
	}
	sending, cancel := lasting(ctx)
	defer cancel()
	if _, err := a.Store.Send(sending, to, gift, client.Kind("gift")); err != nil {
		a.failed(ctx, err)
		return
	}
	a.Stats.Count(func(c *Counts) { c.GiftsSent++ })
}

func (a *Arena[T]) receive(data *T, m client.Message) client.Answer {
	understood, twice := a.Game.Receive(data, m)
	a.Stats.Count(func(c *Counts) {
		switch {
		case twice:
			c.GiftsTwice++
		case understood:
			c.GiftsHandled++
		}
	})
	if !understood {
		return client.AnswerNotMine
	}
	return client.AnswerDone
}

// failed counts an error, unless the game server is stopping: then Close says what became of each session.
func (a *Arena[T]) failed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		a.Stats.Failed(kind(err))
	}
}

// take is a player who is not in a seat here. Whoever is on another game server comes over: that one saves and lets go.
func (a *Arena[T]) take(r *rand.Rand) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		if key := pick(r, a.Roster); !a.seated[key] {
			a.seated[key] = true
			return key
		}
	}
}

func (a *Arena[T]) free(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.seated, key)
}

// around is half to one and a half of d, so that bots do not march in step.
func (a *Arena[T]) around(d time.Duration, r *rand.Rand) time.Duration {
	return d/2 + time.Duration(r.Int64N(int64(d)+1))
}

// lasting is for a request that is under way when the game server stops: it is still answered.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), patience)
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func standOf(s client.State) Stand {
	switch s {
	case client.StateHeld:
		return Held
	case client.StateInDoubt:
		return InDoubt
	}
	return Away
}

// kind is an error's, as the screen counts them.
func kind(err error) string {
	for _, k := range []struct {
		name string
		err  error
	}{
		{"owned", client.ErrOwned}, {"over", client.ErrSessionOver}, {"conflict", client.ErrConflict}, {"invalid", client.ErrInvalid},
		{"unavailable", client.ErrUnavailable}, {"unknown", client.ErrUnknown}, {"closed", client.ErrClosed},
	} {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	return "other"
}
