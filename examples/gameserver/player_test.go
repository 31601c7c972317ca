package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func encode(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestPlayerIsDeterministic(t *testing.T) {
	play := func() Player {
		p, r := NewPlayer("player-0007"), rand.New(rand.NewPCG(7, 7))
		for range 500 {
			p.Play(r)
		}
		return p
	}
	a, b := play(), play()
	if !reflect.DeepEqual(a, b) {
		t.Error("the same name and chance made two players")
	}
	if a.Step != 500 {
		t.Errorf("step: got %d, want 500", a.Step)
	}
	if reflect.DeepEqual(NewPlayer("player-0007").Inventory, NewPlayer("player-0008").Inventory) {
		t.Error("two names made the same player")
	}
}

func TestPlayerSurvivesJSON(t *testing.T) {
	p, r := NewPlayer("player-0001"), rand.New(rand.NewPCG(1, 1))
	for range 100 {
		p.Play(r)
	}
	p.Receive(Gift{ID: "a", From: "b", Coins: 3})
	var got Player
	if err := json.Unmarshal(encode(t, p), &got); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(encode(t, got), encode(t, p)) {
		t.Error("a player read back is another one")
	}
}

func TestPlayerSizes(t *testing.T) {
	var sizes []int
	for i := range 300 {
		sizes = append(sizes, len(encode(t, NewPlayer(fmt.Sprintf("player-%04d", i)))))
	}
	slices.Sort(sizes)
	t.Logf("bytes: least %d, median %d, most %d", sizes[0], sizes[150], sizes[299])
	if sizes[0] < 2<<10 || sizes[299] > 20<<10 {
		t.Errorf("a made player has %d to %d bytes, want 2 to 20 KB", sizes[0], sizes[299])
	}
}

func TestPlayerStaysSmallAndBalanced(t *testing.T) {
	p, r := NewPlayer("player-0042"), rand.New(rand.NewPCG(42, 0))
	for i := range 50_000 {
		p.Play(r)
		if i%100 == 0 {
			p.Receive(Gift{ID: fmt.Sprint(i), From: "player-0001", Coins: 1 + i%9, Note: "for the road"})
		}
		if !p.Balanced() {
			t.Fatalf("step %d: %d coins, ledger %+v", p.Step, p.Coins, p.Ledger)
		}
	}
	if got := len(encode(t, p)); got > 24<<10 {
		t.Errorf("after a long life a player has %d bytes, want at most 24 KB", got)
	}
	if got := len(p.Gifts); got != maxGifts {
		t.Errorf("gifts remembered: got %d, want %d", got, maxGifts)
	}
}

func TestGiftIsTakenOnce(t *testing.T) {
	p := NewPlayer("player-0042")
	coins := p.Coins
	gift := Gift{ID: "arena/1", From: "player-0001", Coins: 5}
	if !p.Receive(gift) {
		t.Error("a new gift was refused")
	}
	step := p.Step
	if p.Receive(gift) {
		t.Error("the same gift was taken twice")
	}
	if p.Coins != coins+5 || p.Step != step {
		t.Errorf("coins %d, step %d after a gift that came again, want %d and %d", p.Coins, p.Step, coins+5, step)
	}
}
