package client_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/internal/issuer"
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

// makeCertificates stands for "profilenode cert ca" and "profilenode cert client --name game", which make these files.
func makeCertificates() (folder string) {
	folder, err := os.MkdirTemp("", "certs")
	if err != nil {
		log.Fatal(err)
	}
	certs := issuer.Folder{Path: folder}
	if _, err := certs.MakeAuthority(2 * time.Hour); err != nil {
		log.Fatal(err)
	}
	if _, err := certs.Issue(issuer.Request{Name: "game", Lasts: time.Hour}); err != nil {
		log.Fatal(err)
	}
	return folder
}

func ExampleLoadTLS() {
	certs := makeCertificates()
	defer func() { _ = os.RemoveAll(certs) }()

	settings, err := client.LoadTLS(filepath.Join(certs, "game.crt"), filepath.Join(certs, "game.key"), filepath.Join(certs, "ca.crt"))
	if err != nil {
		log.Fatal(err)
	}
	config := client.Config{Seeds: []string{"node1.example.org:7400", "node2.example.org:7400"}, TLS: settings}
	fmt.Println(config.Validate())
	// Output: <nil>
}
