package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/profilenode/profilenode/client"
)

func ExampleProfile_Done() {
	_, players, stop := openExample("game-1")
	defer stop()
	ann := join(players)
	left := make(chan struct{})
	go func() {
		<-ann.Done() // whatever ended the session: the player cannot stay
		fmt.Println("ann leaves:", ann.Err())
		close(left)
	}()
	if err := ann.EndSession(context.Background()); err != nil {
		log.Fatal(err)
	}
	<-left
	// Output: ann leaves: <nil>
}

func ExampleProfile_Err() {
	_, players, stop := openExample("game-1")
	defer stop()
	ann := join(players)
	if err := ann.EndSession(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(ann.Err()) // nil: the game ended it itself
	err := ann.Update(func(d *Player) { d.Coins++ })
	fmt.Println(errors.Is(err, client.ErrSessionOver))
	// Output:
	// <nil>
	// true
}

func ExampleProfile_State() {
	_, players, stop := openExample("game-1")
	defer stop()
	switch ann := join(players); ann.State() {
	case client.StateHeld:
		fmt.Println("play")
	case client.StateInDoubt:
		fmt.Println("play, without trades")
	case client.StateOver:
		fmt.Println("leave")
	}
	// Output: play
}

func ExampleProfile_Key() {
	_, players, stop := openExample("game-1")
	defer stop()
	fmt.Println(join(players).Key())
	// Output: ann
}

func ExampleProfile_Ref() {
	_, players, stop := openExample("game-1")
	defer stop()
	ann := join(players)
	fmt.Printf("player=%v store=%s\n", ann.Ref(), ann.Ref().Store) // for the game's log
	// Output: player=players/ann store=players
}

func ExampleProfile_Loads() {
	_, players, stop := openExample("game-1")
	defer stop()
	ann := join(players)
	if ann.Loads() == 1 {
		fmt.Println("welcome") // the first session that this profile ever had
	}
	if err := ann.EndSession(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(join(players).Loads())
	// Output:
	// welcome
	// 2
}

func ExampleProfile_Revision() {
	_, players, stop := openExample("game-1")
	defer stop()
	ann := join(players)
	fmt.Println(ann.Revision()) // 0: never saved
	if err := ann.Save(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(ann.Revision())
	// Output:
	// 0
	// 1
}
