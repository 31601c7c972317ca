package client_test

import (
	"context"
	"fmt"
	"log"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// Player is the data of a game's profiles.
type Player struct {
	Coins int
	Items []string
}

// startCluster starts a real cluster of one node in memory. A game dials its nodes instead:
// client.Config{Seeds: []string{"127.0.0.1:7400"}}.
func startCluster(ctx context.Context, name string) (config client.Config, stop func()) {
	cluster, err := clienttest.New(ctx)
	if err != nil {
		log.Fatal(err)
	}
	return cluster.Config(name), func() { _ = cluster.Close() }
}

func Example() {
	ctx := context.Background()
	config, stop := startCluster(ctx, "game-1")
	defer stop()

	game, err := client.Open(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	players, err := client.NewStore(game, "players", Player{Coins: 100})
	if err != nil {
		log.Fatal(err)
	}

	ann, err := players.StartSession(ctx, "ann")
	if err != nil {
		log.Fatal(err)
	}
	ann.OnSessionEnd(func(client.End) { /* the player leaves this game server */ })
	if err := ann.Update(func(d *Player) { d.Coins -= 30; d.Items = append(d.Items, "sword") }); err != nil {
		log.Fatal(err)
	}
	if err := ann.Save(ctx); err != nil { // the autosave would do it within five seconds
		log.Fatal(err)
	}
	fmt.Println("revision", ann.Revision(), "active", ann.IsActive())
	if err := ann.EndSession(ctx); err != nil {
		log.Fatal(err)
	}

	stored, err := players.Get(ctx, "ann")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(stored.Data.Coins, stored.Data.Items)
	if err := game.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// revision 1 active true
	// 70 [sword]
}

func ExampleStore_Send() {
	ctx := context.Background()
	config, stop := startCluster(ctx, "game-1")
	defer stop()
	game, err := client.Open(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	players, err := client.NewStore(game, "players", Player{})
	if err != nil {
		log.Fatal(err)
	}

	// From any game server, whether anybody owns the profile or not.
	if _, err := players.Send(ctx, "ann", Player{Coins: 25}); err != nil {
		log.Fatal(err)
	}

	ann, err := players.StartSession(ctx, "ann")
	if err != nil {
		log.Fatal(err)
	}
	ann.OnMessage(func(d *Player, m client.Message) bool {
		var gift Player
		if m.Decode(&gift) != nil {
			return false // not ours
		}
		d.Coins += gift.Coins
		fmt.Println("a gift of", gift.Coins, "from", m.Sender)
		return true // applied and cleared in one save
	})
	ann.Read(func(d *Player) { fmt.Println(d.Coins) })
	if err := game.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// a gift of 25 from game-1
	// 25
}
