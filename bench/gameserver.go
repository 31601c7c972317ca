package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/gossip"
)

const (
	playStore  = "takeover"
	playTick   = time.Second      // how often each player does something
	playPad    = 1024             // bytes
	orderLimit = 45 * time.Second // for what an order asks of the cluster
)

// playerDoc is what a profile of the takeover benchmark holds.
type playerDoc struct {
	Writer string `json:"writer"`
	Turns  int    `json:"turns"`
	Pad    string `json:"pad"`
}

// noteMessage is a message: when it was sent.
type noteMessage struct {
	Sent monotonicTime `json:"sent"`
}

// gameServerCommand is a process that the takeover benchmark starts, and kills. It ends with its stdin.
func gameServerCommand() *cobra.Command {
	var config client.Config
	var at string
	command := &cobra.Command{
		Use:    "game-server",
		Short:  "be one game server of takeover, which starts it",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(command *cobra.Command, _ []string) error {
			config.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
			if at != "" {
				config.Gossip = gossip.ServerConfig{Bind: at, Key: serverKey()}
			}
			var doubts atomic.Int64
			config.OnDoubt = func() { doubts.Add(1) }
			c, err := client.Open(command.Context(), config)
			if err != nil {
				return err
			}
			// The end is one without a goodbye, so that nobody takes a run that was broken off for one that went well.
			return serveGame(command.Context(), c, &doubts, os.Stdin, os.Stdout)
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&config.Seeds, "addr", nil, "client `addresses` of the nodes")
	flags.StringVar(&config.Name, "name", "", "name of this game server")
	flags.StringVar(&at, "gossip", "", "gossip at this `address`")
	flags.BoolVar(&config.Insecure, "insecure", false, "speak in the clear")
	return command
}

// gameLoop is one game server, and does as it is told.
type gameLoop struct {
	name   string
	life   context.Context // ends with the process
	doubts *atomic.Int64
	store  *client.Store[playerDoc]
	doing  sync.WaitGroup

	out  sync.Mutex // one line at a time
	line *json.Encoder

	mu        sync.Mutex
	sessions  map[string]*client.Profile[playerDoc]
	heard     []time.Duration
	lost      int // sessions that ended
	scribbles map[string]*staleWriter
}

// serveGame does what in says until that ends.
func serveGame(ctx context.Context, c *client.Client, doubts *atomic.Int64, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	store, err := client.NewStore(c, playStore, playerDoc{})
	if err != nil {
		return err
	}
	g := &gameLoop{
		name: c.Name(), life: ctx, doubts: doubts, store: store, line: json.NewEncoder(out),
		sessions: make(map[string]*client.Profile[playerDoc]), scribbles: make(map[string]*staleWriter),
	}
	g.sendAnswer(botAnswer{}) // ready
	g.doing.Go(func() { g.playUntilDone(ctx) })
	orders := json.NewDecoder(in)
	for {
		var o botOrder
		if err := orders.Decode(&o); err != nil {
			cancel()
			g.doing.Wait()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
		g.doing.Go(func() { g.runOrder(ctx, o) })
	}
}

func (g *gameLoop) sendAnswer(t botAnswer) {
	g.out.Lock()
	defer g.out.Unlock()
	_ = g.line.Encode(t) // nobody listens any more: stdin ends as well
}

// playUntilDone lets every player do something now and then, so that there is always something unsaved.
func (g *gameLoop) playUntilDone(ctx context.Context) {
	for sleepUnlessDone(ctx, playTick); ctx.Err() == nil; sleepUnlessDone(ctx, playTick) {
		g.mu.Lock()
		sessions := make([]*client.Profile[playerDoc], 0, len(g.sessions))
		for _, p := range g.sessions {
			sessions = append(sessions, p)
		}
		g.mu.Unlock()
		for _, p := range sessions {
			_ = g.playTurn(p) // one that is over does nothing
		}
	}
}

func (g *gameLoop) playTurn(p *client.Profile[playerDoc]) error {
	return p.Update(func(data *playerDoc) {
		data.Writer = g.name
		data.Turns++
	})
}

func (g *gameLoop) runOrder(ctx context.Context, o botOrder) {
	ctx, cancel := context.WithTimeout(ctx, orderLimit)
	defer cancel()
	if len(o.Keys) == 0 {
		t := botAnswer{ID: o.ID}
		switch o.Do {
		case doHeard:
			g.mu.Lock()
			t.Heard, g.heard = g.heard, nil
			g.mu.Unlock()
		case doCount:
			g.mu.Lock()
			t.Count = tryCounts{Held: len(g.sessions), Lost: g.lost, Doubts: int(g.doubts.Load())}
			g.mu.Unlock()
		default:
			t.Fault = fmt.Sprintf("%q needs keys", o.Do)
		}
		g.sendAnswer(t)
		return
	}
	var keys sync.WaitGroup
	for i, key := range o.Keys {
		if i > 0 && o.Do == doSend {
			sleepUnlessDone(ctx, o.Every/2+rand.N(o.Every+1)) // in step with nobody
		}
		keys.Go(func() {
			t := botAnswer{ID: o.ID, Key: key, Began: monotonicNow()}
			if err := g.carryOut(ctx, o, &t); err != nil {
				t.Fault = err.Error()
			}
			g.sendAnswer(t)
		})
	}
	keys.Wait()
}

// carryOut does what an order says with one of its keys.
func (g *gameLoop) carryOut(ctx context.Context, o botOrder, t *botAnswer) error {
	if o.Do == doStart {
		return g.startSession(ctx, t, o.Steal)
	}
	if o.Do == doSend {
		_, err := g.store.Send(ctx, t.Key, noteMessage{Sent: t.Began})
		t.Ended = monotonicNow()
		return err
	}
	if o.Do == doRead {
		stored, err := g.store.Get(ctx, t.Key)
		if err == nil {
			t.Who = stored.Data.Writer
		}
		return err
	}
	g.mu.Lock()
	p, s := g.sessions[t.Key], g.scribbles[t.Key]
	g.mu.Unlock()
	switch o.Do {
	case doTouch, doSave, doScribble:
		if p == nil {
			return errors.New("there is no session of it")
		}
	case doSaved, doAcked, doTries, doDrop:
		if s == nil {
			return errors.New("nothing scribbles on it")
		}
	}
	switch o.Do {
	case doTouch:
		return g.playTurn(p)
	case doSave:
		return g.saveProfile(ctx, p)
	case doScribble:
		s := &staleWriter{drop: make(chan struct{}), ended: make(chan struct{}), new: make(chan struct{})}
		g.mu.Lock()
		g.scribbles[t.Key] = s
		g.mu.Unlock()
		g.doing.Go(func() { g.writeWhileStale(p, s, o.Every) })
		return nil
	case doSaved:
		var err error
		t.Ended, err = s.waitSaved(ctx, o.After[t.Key])
		return err
	case doAcked:
		var err error
		t.Ended, err = s.waitAcknowledged(ctx, o.After[t.Key])
		return err
	case doTries:
		select {
		case <-s.ended:
		case <-ctx.Done():
			return fmt.Errorf("it still believes to own it: %w", ctx.Err())
		}
		t.Tries = countSince(o.After[t.Key], s.all)
		return nil
	case doDrop:
		close(s.drop)
		<-s.ended
		return nil
	}
	return fmt.Errorf("nobody knows how to %q", o.Do)
}

// startSession opens a session, which is what is measured, and then puts its name on the profile.
func (g *gameLoop) startSession(ctx context.Context, t *botAnswer, steal bool) error {
	when := client.IfOwnedWait
	if steal {
		when = client.IfOwnedSteal
	}
	t.Began = monotonicNow()
	p, err := g.store.StartSession(ctx, t.Key, when)
	t.Ended = monotonicNow()
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.sessions[t.Key] = p
	g.mu.Unlock()
	p.OnSessionEnd(func(client.End) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.lost++
		if g.sessions[t.Key] == p {
			delete(g.sessions, t.Key)
		}
	})
	p.OnMessage(func(_ *playerDoc, m client.Message) client.Answer {
		at := monotonicNow()
		var n noteMessage
		if m.Decode(&n) == nil {
			g.mu.Lock()
			g.heard = append(g.heard, at.since(n.Sent))
			g.mu.Unlock()
		}
		return client.AnswerDone
	})
	return g.saveProfile(ctx, p)
}

func (g *gameLoop) saveProfile(ctx context.Context, p *client.Profile[playerDoc]) error {
	if err := g.playTurn(p); err != nil {
		return err
	}
	return p.Save(ctx)
}
