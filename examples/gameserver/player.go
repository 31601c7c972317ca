package main

import (
	"math"
	"math/rand/v2"
)

// player is the data of one profile: whatever the game wants to find again. It is stored as JSON.
type player struct {
	Level     int            `json:"level"`
	XP        int            `json:"xp"`
	Coins     int            `json:"coins"`
	Position  position       `json:"position"`
	Inventory map[string]int `json:"inventory"`
	Gifts     int            `json:"gifts"` // received
}

type position struct {
	Map string  `json:"map"`
	X   float64 `json:"x"`
	Y   float64 `json:"y"`
}

// gift is the message that one player sends to another, who may be here, on another game server, or on none.
type gift struct {
	Coins int `json:"coins"`
}

// A world's parts. Nothing changes these.
var (
	maps  = []string{"harbour", "old-mine", "salt-marsh", "cathedral", "night-market", "frozen-pass"}
	items = []string{"iron-sword", "oak-shield", "healing-draught", "lantern", "rope", "silver-ore", "wolf-pelt", "arrow"}
)

// newPlayer is the data that a new profile begins with.
func newPlayer() player {
	return player{Level: 1, Coins: 100, Position: position{Map: maps[0]}, Inventory: map[string]int{"lantern": 1}}
}

// takeTurn is one turn of the game. It says whether the player would hate to lose it: then it is saved at once, and
// otherwise by the autosave.
func (p *player) takeTurn() (precious bool) {
	switch n := rand.IntN(100); {
	case n < 60: // walk
		p.Position.X, p.Position.Y = math.Round(rand.Float64()*1e6)/100, math.Round(rand.Float64()*1e6)/100
		if rand.IntN(20) == 0 {
			p.Position.Map = maps[rand.IntN(len(maps))]
		}
	case n < 90: // fight
		p.XP += 10 + rand.IntN(50)
		if p.XP >= 500*p.Level {
			p.XP, p.Level = 0, p.Level+1
		}
		p.Coins += rand.IntN(20)
	default: // buy
		if price := 5 + rand.IntN(40); p.Coins >= price {
			p.Coins -= price
			p.Inventory[items[rand.IntN(len(items))]]++
			return true
		}
	}
	return false
}

func (p *player) receive(g gift) {
	p.Coins += g.Coins
	p.Gifts++
}
