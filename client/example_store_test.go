package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"

	"github.com/profilenode/profilenode/client"
)

func ExampleStore_Name() {
	_, players, stop := openExample("game-1")
	defer stop()
	fmt.Println(players.Name())
	// Output: players
}

func ExampleAtRevision() {
	_, players, stop := openExample("game-1")
	defer stop()
	ctx := context.Background()
	for { // read, change, write, and again if another write came between
		got, err := players.Get(ctx, "ann")
		if err != nil {
			log.Fatal(err)
		}
		got.Data.Coins += 50
		revision, err := players.Set(ctx, "ann", got.Data, client.AtRevision(got.Revision))
		if errors.Is(err, client.ErrConflict) {
			continue
		}
		fmt.Println(revision, err)
		break
	}
	// Output: 1 <nil>
}

func ExampleAnyRevision() {
	_, players, stop := openExample("game-1")
	defer stop()
	revision, err := players.Set(context.Background(), "ann", Player{Coins: 5}, client.AnyRevision()) // whatever is there
	fmt.Println(revision, err)
	// Output: 1 <nil>
}

func ExampleForce() {
	_, players, stop := openExample("game-1")
	defer stop()
	ctx := context.Background()
	ann := join(players)
	_, err := players.Set(ctx, "ann", Player{Coins: 5}, client.AnyRevision())
	fmt.Println(errors.Is(err, client.ErrOwned))
	_, err = players.Set(ctx, "ann", Player{Coins: 5}, client.AnyRevision(), client.Force()) // ends the session
	<-ann.Done()
	fmt.Println(err, ann.State())
	// Output:
	// true
	// <nil> over
}

func ExampleWithCodec() {
	game, _, stop := openExample("game-1")
	defer stop()
	replays, err := client.NewStore(game, "replays", []byte{}, client.WithCodec(client.Raw{})) // bytes as they are, not JSON
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(replays.Set(context.Background(), "match-1", []byte{1, 2, 3}, client.AtRevision(0)))
	// Output: 1 <nil>
}

func ExampleWithCopy() {
	game, _, stop := openExample("game-1")
	defer stop()
	// A copy by hand is quicker than one by way of the codec. It shares nothing that the game changes.
	players, err := client.NewStore(game, "players", Player{Items: []string{"map"}}, client.WithCopy(func(p Player) Player {
		p.Items = slices.Clone(p.Items)
		return p
	}))
	if err != nil {
		log.Fatal(err)
	}
	err = join(players).Try(func(d *Player) error {
		d.Items[0] = "torn map"
		return errors.New("not in this fight")
	})
	got, _ := players.Get(context.Background(), "ann")
	fmt.Println(err, got.Data.Items)
	// Output: not in this fight [map]
}
