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

	// From any game server, whether the profile is owned or not. It waits there until its owner handles it.
	if _, err := players.Send(ctx, "ann", Gift{Coins: 25}, client.Kind("gift")); err != nil {
		log.Fatal(err)
	}

	stored, err := players.Get(ctx, "ann")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("waiting:", stored.Messages)
	if err := game.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: waiting: 1
}

// Gift is the message of the examples.
type Gift struct{ Coins int }

func ExampleHandle() {
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
	for _, coins := range []int{25, 1000} {
		if _, err := players.Send(ctx, "ann", Gift{Coins: coins}, client.Kind("gift")); err != nil {
			log.Fatal(err)
		}
	}

	ann, err := players.StartSession(ctx, "ann")
	if err != nil {
		log.Fatal(err)
	}
	client.Handle(ann, "gift", func(d *Player, gift Gift, m client.Message) client.Answer {
		if d.Coins+gift.Coins > 500 {
			return client.AnswerLater // the purse is full: it is offered again
		}
		d.Coins += gift.Coins
		fmt.Println("a gift of", gift.Coins, "from", m.Sender)
		return client.AnswerDone // applied and cleared in one save
	})
	ann.Read(func(d *Player) { fmt.Println(d.Coins) })
	if err := game.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// a gift of 25 from game-1
	// 25
}

func ExampleProfile_OnMessage() {
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
	if _, err := players.Send(ctx, "ann", []byte("welcome back"), client.Kind("letter")); err != nil {
		log.Fatal(err)
	}

	ann, err := players.StartSession(ctx, "ann")
	if err != nil {
		log.Fatal(err)
	}
	client.Handle(ann, "gift", func(d *Player, gift Gift, _ client.Message) client.Answer {
		d.Coins += gift.Coins
		return client.AnswerDone
	})
	// Added last, it sees the messages that no other handler takes.
	stopHandling := ann.OnMessage(func(d *Player, m client.Message) client.Answer {
		fmt.Printf("message %d of kind %s: %s\n", m.ID, m.Kind, m.Body)
		return client.AnswerNotMine // it waits for a game server that knows its kind
	})
	stopHandling()
	if err := game.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: message 1 of kind letter: welcome back
}
