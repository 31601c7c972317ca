package client_test

import (
	"errors"
	"fmt"

	"github.com/profilenode/profilenode/client"
)

func ExampleClient_Name() {
	game, _, stop := openExample("game-1")
	defer stop()
	fmt.Println(game.Name())
	// Output: game-1
}

func ExampleClient_State() {
	game, players, stop := openExample("game-1")
	defer stop()
	join(players)
	if game.State() == client.StateHeld { // a health check: do not send players to a game server in doubt
		fmt.Println("ready")
	}
	// Output: ready
}

func ExampleClient_Done() {
	game, _, stop := openExample("game-1")
	defer stop()
	ended := make(chan struct{})
	go func() {
		<-game.Done() // closed by the game, or ended for good: the process has to start again
		fmt.Println(errors.Is(game.Err(), client.ErrClosed))
		close(ended)
	}()
	_ = game.Close()
	<-ended
	// Output: true
}

func ExampleClient_Err() {
	game, _, stop := openExample("game-1")
	defer stop()
	fmt.Println(game.Err()) // nil: it goes on
	_ = game.Close()
	fmt.Println(errors.Is(game.Err(), client.ErrClosed))
	// Output:
	// <nil>
	// true
}
