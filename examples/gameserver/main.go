// Gameserver is a small arena of bots on profilenode. Start a cluster with `profilenode dev`, then run this beside it, as
// often as you like: the game servers share their players, who hop from one to another. Then kill nodes, and watch.
//
// Read arena.go first: it has a player's session from joining to leaving. player.go has the game's data and rules, and this
// file has the process: it opens the client, prints a line each second, and ends every session before it exits.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/gossip"
)

const (
	openLimit = 15 * time.Second // how long to wait for a cluster
	endLimit  = 10 * time.Second // how long the end of all sessions may take
)

func main() {
	config := client.Config{
		Gossip: gossip.ServerConfig{}, // on this machine; elsewhere it takes an address and a key
	}
	nodes := cmp.Or(os.Getenv("PROFILENODE_ADDR"), "127.0.0.1:7400,127.0.0.1:7410,127.0.0.1:7420") // of profilenode dev
	flag.StringVar(&nodes, "addr", nodes, "client addresses of `nodes`, with commas between")
	flag.StringVar(&config.Name, "name", "", "this game server's `name`, unique among those that run")
	flag.DurationVar(&config.Autosave, "autosave", 5*time.Second, "how often each changed profile is saved")
	players := flag.Int("players", 100, "how many bots play at once")
	duration := flag.Duration("duration", 0, "stop after so long; 0: at a signal")
	flag.Parse()
	config.Seeds = strings.Split(nodes, ",")

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if *duration > 0 {
		ctx, stop = context.WithTimeout(ctx, *duration)
	}
	err := run(ctx, config, *players, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gameserver:", err)
		os.Exit(1)
	}
}

// run plays until ctx ends, and then ends every session. Without an error, all that was played is stored.
func run(ctx context.Context, config client.Config, players int, out io.Writer) error {
	config.OnDoubt = func() { fmt.Fprintln(out, "in doubt: no node has been heard for 3 s; the game goes on") }
	config.OnResume = func() { fmt.Fprintln(out, "held again") }
	opening, cancel := context.WithTimeout(ctx, openLimit)
	server, err := client.Open(opening, config)
	cancel()
	if errors.Is(err, client.ErrUnavailable) {
		return fmt.Errorf("no cluster at %s: start one with `profilenode dev`, or name its nodes with --addr (%w)", strings.Join(config.Seeds, ","), err)
	}
	if err != nil {
		return err
	}
	arena, err := newArena(server, players)
	if err != nil {
		return errors.Join(err, server.Close())
	}

	played := make(chan struct{})
	go func() {
		defer close(played)
		arena.play(ctx)
	}()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for ctx.Err() == nil {
		select {
		case <-second.C:
			arena.printStatus(out)
		case <-ctx.Done():
		}
	}

	// The game's context has ended, so the end of the sessions has one of its own.
	fmt.Fprintln(out, "ending every session; again Ctrl-C leaves at once")
	ending, cancel := context.WithTimeout(context.Background(), endLimit)
	defer cancel()
	err = server.Shutdown(ending) // a *client.CloseError lists the profiles that could not be saved
	<-played
	arena.printStatus(out)
	if err == nil {
		fmt.Fprintln(out, "All sessions have ended, and everything is saved.")
	}
	return err
}
