// Package game is a game server of a chaos run: a process that plays a workload through the public client, and tells on its
// stdout what it asks for and what it is answered.
//
// A workload (workload.go) is what its workers do: session.go, register.go, appends.go, message.go, takeover.go, zombie.go, nodes.go
// and play.go. worker.go has what all of them do, watch.go looks whether sessions are active, record.go writes events.
package game

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/gossip"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// Store is the store of every profile of a run.
const Store = "jepsen"

// Settings are what a game server is started with.
type Settings struct {
	Name     string
	Seeds    []string // client addresses of the nodes
	Gossip   string   // address of its own in the game servers' gossip; empty: none
	Host     string   // IP of the host that it runs on, for ports that it opens itself; empty: loopback
	Workload string
	Workers  int
	Keys     int    // profiles that all game servers share
	Seed     uint64 // of this game server
	Began    int64  // when the run began, on the machine's monotonic clock, in nanoseconds
}

// Arguments are the command line that Command reads the settings from.
func (s *Settings) Arguments() []string {
	args := []string{"game-server", "--name", s.Name, "--gossip", s.Gossip, "--host", s.Host, "--workload", s.Workload}
	for _, address := range s.Seeds {
		args = append(args, "--seeds", address)
	}
	return append(args, fmt.Sprintf("--workers=%d", s.Workers), fmt.Sprintf("--keys=%d", s.Keys), fmt.Sprintf("--seed=%d", s.Seed),
		fmt.Sprintf("--began=%d", s.Began))
}

// GossipKey is the key of the game servers' gossip of every run, which holds no secrets.
func GossipKey() []byte { return []byte("of the game servers of one run!!") }

// Command is the process of a game server. It ends in order when a line comes on its stdin, and at once when its stdin ends.
func Command() *cobra.Command {
	var s Settings
	command := &cobra.Command{
		Use:    "game-server",
		Short:  "be a game server of a run",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(command *cobra.Command, _ []string) error {
			return run(command.Context(), s, os.Stdin, os.Stdout)
		},
	}
	flags := command.Flags()
	flags.StringVar(&s.Name, "name", "", "name of this game server")
	flags.StringSliceVar(&s.Seeds, "seeds", nil, "client `addresses` of the nodes")
	flags.StringVar(&s.Gossip, "gossip", "", "gossip at this `address`")
	flags.StringVar(&s.Host, "host", "", "`address` of the host")
	flags.StringVar(&s.Workload, "workload", "", "what to do")
	flags.IntVar(&s.Workers, "workers", 0, "how many do it at once")
	flags.IntVar(&s.Keys, "keys", 0, "profiles that all game servers share")
	flags.Uint64Var(&s.Seed, "seed", 0, "of all that is left to chance")
	flags.Int64Var(&s.Began, "began", 0, "start of the run on the monotonic clock")
	return command
}

// game is one game server.
type game struct {
	settings Settings
	events   *recorder
	watcher  *watcher
	direct   directLinks

	client    *client.Client
	store     *client.Store[history.Doc]
	finishing context.Context // ended: no worker begins anything
}

const (
	finishLimit = 20 * time.Second // for the last saves of all sessions
	openPause   = 200 * time.Millisecond
)

func run(ctx context.Context, s Settings, orders io.Reader, out io.Writer) error {
	found, err := FindWorkload(s.Workload)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	finishing, finish := context.WithCancel(ctx)
	defer finish()
	g := &game{settings: s, events: newRecorder(out, s.Began), finishing: finishing}
	g.watcher = newWatcher(g.events)
	go func() {
		if bufio.NewScanner(orders).Scan() {
			finish()
			_, _ = io.Copy(io.Discard, orders)
		}
		os.Exit(3) // whoever started this is gone
	}()
	if err := g.openClient(ctx); err != nil {
		return err
	}
	var watching, working sync.WaitGroup
	watching.Go(func() { g.watcher.watchUntilDone(ctx) })
	for i := range s.Workers {
		w := &worker{game: g, name: fmt.Sprintf("%s.%d", s.Name, i), id: i, random: rand.New(rand.NewPCG(s.Seed, uint64(i)))}
		working.Go(func() {
			for finishing.Err() == nil {
				found.step(ctx, w)
			}
		})
	}
	<-finishing.Done()
	ended, stop := context.WithTimeout(ctx, finishLimit)
	defer stop()
	context.AfterFunc(ended, cancel)
	working.Wait()
	err = g.client.Shutdown(ended)
	g.watcher.endAll()
	cancel()
	watching.Wait()
	if err != nil && !errors.Is(err, client.ErrClosed) {
		slog.Warn("shut down", "error", err)
	}
	return g.events.failure()
}

// openClient opens a client, and again until it succeeds: the nodes may be down.
func (g *game) openClient(ctx context.Context) error {
	config := client.Config{
		Seeds: slices.Clone(g.settings.Seeds), Name: g.settings.Name, Insecure: true, Autosave: -1,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	if g.settings.Gossip != "" {
		config.Gossip = gossip.ServerConfig{Bind: g.settings.Gossip, Key: GossipKey()}
	}
	for {
		opened, err := client.Open(ctx, config)
		if err != nil {
			if errors.Is(err, client.ErrInvalid) || ctx.Err() != nil {
				return fmt.Errorf("open the client: %w", err)
			}
			slog.Warn("open the client", "error", err)
			measure.Sleep(ctx, openPause)
			continue
		}
		store, err := client.NewStore(opened, Store, history.Doc{})
		if err != nil {
			return err
		}
		g.client, g.store = opened, store
		return nil
	}
}
