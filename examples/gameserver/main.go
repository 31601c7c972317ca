// Gameserver is a small arena of bots on profilenode. Start a cluster with `profilenode dev`, then run this beside it, as
// often as you like: game servers share the players, who hop from one to the other. Then kill nodes, and watch.
//
// bot.go is the part to copy from: a player's session from coming to going. player.go is a game's data.
package main

import (
	"context"
	"encoding/json"
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

type options struct {
	client   client.Config // Seeds, Name, Autosave
	players  int
	profiles string
	duration time.Duration
	json     bool
	verify   bool
}

const (
	opening = 15 * time.Second // how long to wait for a cluster
	ending  = 10 * time.Second // how long the end of all sessions may take
	reading = time.Minute      // how long --verify may take
)

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gameserver:", err)
		os.Exit(2)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go stopAtSignal(cancel)
	if o.duration > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	good, err := run(ctx, o, NewView(os.Stdout, o.json, o.client.Name), os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gameserver:", err)
	}
	if err != nil || !good {
		os.Exit(1)
	}
}

// stopAtSignal ends the game at the first signal, and the process at the second.
func stopAtSignal(stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	<-signals
	stop()
	<-signals
	fmt.Fprintln(os.Stderr, "gameserver: left at once; unsaved changes are lost")
	os.Exit(1)
}

func parse(args []string) (options, error) {
	o := options{}
	host, err := os.Hostname()
	if err != nil {
		host = "arena"
	}
	nodes := os.Getenv("PROFILENODE_ADDR")
	if nodes == "" {
		nodes = "127.0.0.1:7400,127.0.0.1:7410,127.0.0.1:7420" // of profilenode dev
	}
	flags := flag.NewFlagSet("gameserver", flag.ContinueOnError)
	addr := flags.String("addr", nodes, "client addresses of `nodes`, with commas between")
	flags.IntVar(&o.players, "players", 100, "how many bots play at once")
	flags.StringVar(&o.profiles, "profiles", "", "replay the saves in this `folder` (<player>/0001.json, 0002.json, ...) instead of playing")
	flags.DurationVar(&o.client.Autosave, "autosave", 5*time.Second, "how often each changed profile is saved")
	flags.StringVar(&o.client.Name, "name", fmt.Sprintf("%s-%d", host, os.Getpid()), "this game server's `name`, unique among those that run")
	flags.DurationVar(&o.duration, "duration", 0, "stop after so long; 0: at a signal")
	flags.BoolVar(&o.json, "json", false, "print one JSON object a second")
	flags.BoolVar(&o.verify, "verify", false, "at the end read back every profile that was saved, and compare")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.client.Gossip = gossip.ServerConfig{} // on this machine; elsewhere with an address and a key
	o.client.Seeds = strings.Split(*addr, ",")
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("%q is no flag", flags.Arg(0))
	case o.players < 1:
		return o, errors.New("--players must be at least 1")
	case o.client.Autosave < 10*time.Millisecond:
		return o, errors.New("--autosave must be at least 10ms")
	}
	return o, nil
}

// run is one life of a game server. good: whatever was played is saved, and, if asked for, was read back.
func run(ctx context.Context, o options, view View, out io.Writer) (good bool, err error) {
	// A player stays for half a minute. The roster is longer than the seats are many, so that some are away; it is the
	// same for every game server, so that some are on another one.
	const stay = 30 * time.Second
	roster := 4 * o.players
	if o.profiles == "" {
		game, keys := NewPlayers(fmt.Sprintf("%s/%d", o.client.Name, time.Now().UnixNano()), roster)
		return play(ctx, o, view, out, "players", Player{}, &Arena[Player]{Game: game, Roster: keys, Pace: 300 * time.Millisecond, Stay: stay})
	}
	histories, err := LoadHistories(o.profiles)
	if err != nil {
		return false, err
	}
	game, keys := NewReplay(histories, roster)
	return play(ctx, o, view, out, "replay", json.RawMessage(`{}`), &Arena[json.RawMessage]{Game: game, Roster: keys, Pace: o.client.Autosave, Stay: max(stay, 3*o.client.Autosave)})
}

func play[T any](ctx context.Context, o options, view View, out io.Writer, name string, template T, arena *Arena[T]) (good bool, err error) {
	arena.Stats, arena.Acked = NewStats(o.players, time.Now), &Acked{}
	server, err := open(ctx, o, o.client.Name, arena.Stats)
	if err != nil {
		return false, err
	}
	if arena.Store, err = client.NewStore(server, name, template); err != nil {
		return false, err
	}

	played := make(chan struct{})
	go func() {
		defer close(played)
		arena.Run(ctx, o.players)
	}()
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		watch(ended, arena.Stats, server, view)
	}()

	// The bots hear of the end too: they start nothing more, and wait for their sessions to be over.
	<-ctx.Done()
	arena.Stats.Note("ending every session; again Ctrl-C leaves at once")
	closing, cancel := context.WithTimeout(context.Background(), ending)
	defer cancel()
	began := time.Now()
	err = server.Shutdown(closing)
	<-played
	took := time.Since(began)
	close(ended)
	<-watched

	end := Ending{}
	end.note(arena.Stats.Second(), took, err)
	if o.verify {
		verdict := readBack(o, name, template, arena)
		end.Verified = &verdict
	}
	end.print(out, o.json)
	return end.good(), nil
}

func open(ctx context.Context, o options, name string, stats *Stats) (*client.Client, error) {
	opening, cancel := context.WithTimeout(ctx, opening)
	defer cancel()
	config, doubt := o.client, time.Time{}
	config.Name = name
	config.OnDoubt = func() {
		doubt = time.Now()
		stats.Note("in doubt: no node has been heard for 3 s; the game goes on")
	}
	config.OnResume = func() {
		stats.Note(fmt.Sprintf("held again, after %.1f s in doubt", time.Since(doubt).Seconds()))
	}
	server, err := client.Open(opening, config)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, errors.New("stopped before it had found a cluster")
	case errors.Is(err, client.ErrUnavailable):
		return nil, fmt.Errorf("no cluster at %s: start one with `profilenode dev`, or name its nodes with --addr (%w)", strings.Join(o.client.Seeds, ","), err)
	}
	return server, err
}

// watch shows every second, the last one too.
func watch(ended <-chan struct{}, stats *Stats, server *client.Client, view View) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	node, bytes := "", uint64(0)
	for on := true; on; {
		select {
		case <-ended:
			on = false
		case <-second.C:
		}
		s := stats.Second()
		of := server.Stats()
		s.Node, s.Bytes, bytes = of.Node, of.SavedBytes-bytes, of.SavedBytes
		if s.Node != "" && s.Node != node {
			if node != "" {
				stats.Note(fmt.Sprintf("saves go to %s now, before to %s", s.Node, node))
			}
			node = s.Node
		}
		view.Show(s)
	}
}

// readBack verifies through a client of its own: nothing of what the game server remembered helps it.
func readBack[T any](o options, name string, template T, arena *Arena[T]) Verdict {
	ctx, cancel := context.WithTimeout(context.Background(), reading)
	defer cancel()
	o.client.Gossip = nil // its end is nobody's loss
	reader, err := open(ctx, o, o.client.Name+"-reader", arena.Stats)
	if err != nil {
		return Verdict{Unread: []string{"all: " + err.Error()}}
	}
	store, err := client.NewStore(reader, name, template)
	if err != nil {
		return Verdict{Unread: []string{"all: " + err.Error()}}
	}
	verdict := arena.Verify(ctx, store)
	_ = reader.Shutdown(ctx) // it has no sessions
	return verdict
}
