// Quickstart is a game server in twenty lines. Start a cluster on this machine first: profilenode dev.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/profilenode/profilenode/client"
)

type gift struct{ Coins int }

type player struct {
	Coins  int
	Visits int
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()

	seeds := cmp.Or(os.Getenv("PROFILENODE_ADDR"), "127.0.0.1:7400,127.0.0.1:7410,127.0.0.1:7420")
	config := client.Config{Seeds: strings.Split(seeds, ",")}
	if ca := os.Getenv("PROFILENODE_TLS_CA"); ca != "" { // a cluster with certificates: docs/certificates.md
		secure, err := client.LoadTLS(os.Getenv("PROFILENODE_TLS_CERT"), os.Getenv("PROFILENODE_TLS_KEY"), ca)
		if err != nil {
			return err
		}
		config.TLS = secure
	}
	game, err := client.Open(ctx, config)
	if err != nil {
		return fmt.Errorf("is `profilenode dev` running? %w", err)
	}
	fmt.Println("registered as", game.Name())
	players, err := client.NewStore(game, "players", player{Coins: 100})
	if err != nil {
		return err
	}

	// A message waits in the profile until its owner takes it. Any game server may send one.
	if _, err := players.Send(ctx, "ann", gift{Coins: 5}, client.Kind("gift")); err != nil {
		return err
	}

	ann, err := players.StartSession(ctx, "ann")
	if err != nil {
		return err
	}
	client.Handle(ann, "gift", func(d *player, g gift, m client.Message) client.Answer {
		d.Coins += g.Coins
		fmt.Println("a gift of", g.Coins, "coins from", m.Sender)
		return client.AnswerDone // its effect and its being gone are saved together
	})
	if err := ann.Update(func(d *player) { d.Visits++; d.Coins += 10 }); err != nil {
		return err
	}
	if err := ann.EndSession(ctx); err != nil {
		return err
	}
	stored, err := players.Get(ctx, "ann")
	if err != nil {
		return err
	}
	fmt.Printf("stored at revision %d: %+v; messages waiting: %d\n", stored.Revision, stored.Data, stored.Messages)
	return game.Close()
}
