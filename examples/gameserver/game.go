package main

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/profilenode/profilenode/client"
)

// Game is what bots do with one kind of data. Whatever gets the data runs under the profile's lock: it changes the data
// and does nothing else.
type Game[T any] interface {
	// Enter is told whose data it is; a profile that is new gets its first data here.
	Enter(key string, data *T)
	// Play is one moment. precious: the player would hate to lose it, so it is saved at once.
	Play(key string, data *T, r *rand.Rand) (precious bool)
	// Gift is a message from one player to another; nil: this game has none.
	Gift(from string, r *rand.Rand) any
	// Receive takes a message, and says whether it was understood, and whether it had come before.
	Receive(data *T, m client.Message) (understood, twice bool)
	// Mark tells states of one profile's data apart.
	Mark(key string, data *T) uint64
	// Check says what is wrong with data that was read back, if a save with this mark was acknowledged. same: it is the
	// very revision that the mark is of, else game servers have saved since.
	Check(key string, data *T, mark uint64, same bool) error
}

// Players is the game of Player.
type Players struct {
	server string        // makes gifts of different game servers differ
	gifts  atomic.Uint64 // made so far
}

var _ Game[Player] = (*Players)(nil)

// NewPlayers names as many players, the same ones in every process.
func NewPlayers(server string, players int) (*Players, []string) {
	var roster []string
	for i := range players {
		roster = append(roster, fmt.Sprintf("player-%04d", i+1))
	}
	return &Players{server: server}, roster
}

func (g *Players) Enter(key string, p *Player) {
	if p.Name == "" {
		*p = NewPlayer(key)
	}
}

func (g *Players) Play(_ string, p *Player, r *rand.Rand) (precious bool) { return p.Play(r) }

func (g *Players) Gift(from string, r *rand.Rand) any {
	return Gift{ID: fmt.Sprintf("%s/%d", g.server, g.gifts.Add(1)), From: from, Coins: 1 + r.IntN(9), Note: "for the road"}
}

func (g *Players) Receive(p *Player, m client.Message) (understood, twice bool) {
	var gift Gift
	if m.Decode(&gift) != nil || gift.ID == "" {
		return false, false // not ours; it waits for a game server that knows it
	}
	return true, !p.Receive(gift)
}

// Mark is the step.
func (g *Players) Mark(_ string, p *Player) uint64 { return p.Step }

func (g *Players) Check(_ string, p *Player, mark uint64, _ bool) error {
	switch {
	case p.Step < mark:
		return fmt.Errorf("it is at step %d, acknowledged was %d", p.Step, mark)
	case !p.Balanced():
		return fmt.Errorf("it has %d coins, and its ledger says %+v", p.Coins, p.Ledger)
	}
	return nil
}
