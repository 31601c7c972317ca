package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/rpc"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/gossip"
)

const (
	playTick   = time.Second      // from one change of every player's data to the next
	orderLimit = 45 * time.Second // for the requests of an order
)

// playerData is the data of a profile.
type playerData struct {
	Writer string `json:"writer"`
	Turns  int    `json:"turns"`
}

// note is a message.
type note struct {
	Sent measure.Moment `json:"sent"`
}

// gossipKey is the game servers' key on every bed, which holds no secrets.
func gossipKey() []byte { return []byte("of the game servers of one bench") }

// GameServerCommand is the process of a game server, which ends with its stdin.
func GameServerCommand() *cobra.Command {
	var config client.Config
	var gossipAt string
	command := &cobra.Command{
		Use:    "game-server",
		Short:  "be a game server that does as its stdin says",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(command *cobra.Command, _ []string) error {
			config.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
			config.Gossip = gossip.ServerConfig{Bind: gossipAt, Key: gossipKey()}
			c, err := client.Open(command.Context(), config)
			if err != nil {
				return err
			}
			// It ends without a goodbye, so that a run that was broken off is not taken for one that went well.
			return runGameLoop(command.Context(), c, Stdio{os.Stdin, os.Stdout})
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&config.Seeds, "addr", nil, "client `addresses` of the nodes")
	flags.StringVar(&config.Name, "name", "", "name of this game server")
	flags.StringVar(&gossipAt, "gossip", "", "gossip at this `address`")
	flags.BoolVar(&config.Insecure, "insecure", false, "speak in the clear")
	return command
}

// gameLoop is one game server.
type gameLoop struct {
	life   context.Context // until no more orders come
	client *client.Client
	store  *client.Store[playerData]
	doing  sync.WaitGroup

	mu       sync.Mutex
	sessions map[string]*client.Profile[playerData]
	savers   map[string]*saver
	messages []time.Duration
	lost     int // sessions that ended
}

// runGameLoop obeys orders until the connection ends.
func runGameLoop(ctx context.Context, c *client.Client, conn io.ReadWriteCloser) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	store, err := client.NewStore(c, "bench", playerData{})
	if err != nil {
		return err
	}
	g := &gameLoop{
		life: ctx, client: c, store: store,
		sessions: make(map[string]*client.Profile[playerData]), savers: make(map[string]*saver),
	}
	defer g.doing.Wait()
	defer cancel()
	orders := rpc.NewServer()
	if err := orders.RegisterName("Game", g); err != nil {
		return err
	}
	g.doing.Go(func() { g.playUntilDone(ctx) })
	orders.ServeConn(Stdio{cancelingReader{conn, cancel}, conn})
	return nil
}

// cancelingReader calls cancel at the end: orders that are being carried out then end as well.
type cancelingReader struct {
	io.Reader
	cancel context.CancelFunc
}

func (r cancelingReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil {
		r.cancel()
	}
	return n, err
}

// playUntilDone changes every player's data now and then, so that there is always something unsaved.
func (g *gameLoop) playUntilDone(ctx context.Context) {
	for measure.Sleep(ctx, playTick); ctx.Err() == nil; measure.Sleep(ctx, playTick) {
		g.mu.Lock()
		sessions := slices.Collect(maps.Values(g.sessions))
		g.mu.Unlock()
		for _, p := range sessions {
			_ = g.changeData(p) // a session that is over changes nothing
		}
	}
}

func (g *gameLoop) changeData(p *client.Profile[playerData]) error {
	return p.Update(func(data *playerData) {
		data.Writer = g.client.Name()
		data.Turns++
	})
}

func (g *gameLoop) saveProfile(ctx context.Context, p *client.Profile[playerData]) error {
	if err := g.changeData(p); err != nil {
		return err
	}
	return p.Save(ctx)
}

// Do carries an order out, for all its keys at once.
func (g *gameLoop) Do(o Order, answers *[]Answer) error {
	ctx, cancel := context.WithTimeout(g.life, orderLimit)
	defer cancel()
	if len(o.Keys) == 0 {
		*answers = []Answer{g.report(o)}
		return nil
	}
	*answers = make([]Answer, len(o.Keys))
	var keys sync.WaitGroup
	for i, key := range o.Keys {
		if i > 0 && o.Do == SendMessage {
			measure.Sleep(ctx, o.Every/2+rand.N(o.Every+1)) // not in step with the other game servers
		}
		a := &(*answers)[i]
		a.Key, a.Began = key, measure.Now()
		keys.Go(func() {
			if err := g.carryOut(ctx, o, a); err != nil {
				a.Fault = err.Error()
			}
		})
	}
	keys.Wait()
	return nil
}

// report answers an order without keys.
func (g *gameLoop) report(o Order) (a Answer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch o.Do {
	case ReportMessages:
		a.Messages, g.messages = g.messages, nil
	case ReportSessions:
		a.Sessions = SessionCounts{Held: len(g.sessions), Lost: g.lost, Doubts: int(g.client.Stats().Doubts)}
	default:
		a.Fault = fmt.Sprintf("%q needs keys", o.Do)
	}
	return a
}

// carryOut carries an order out for the key of an answer.
func (g *gameLoop) carryOut(ctx context.Context, o Order, a *Answer) (err error) {
	switch o.Do {
	case StartSession:
		return g.startSession(ctx, a, client.IfOwnedWait)
	case Steal:
		return g.startSession(ctx, a, client.IfOwnedSteal)
	case SendMessage:
		_, err = g.store.Send(ctx, a.Key, note{Sent: a.Began})
		a.Ended = measure.Now()
		return err
	case ReadWriter:
		stored, err := g.store.Get(ctx, a.Key)
		if err == nil {
			a.Writer = stored.Data.Writer
		}
		return err
	}
	g.mu.Lock()
	p, s, after := g.sessions[a.Key], g.savers[a.Key], o.After[a.Key]
	g.mu.Unlock()
	switch o.Do {
	case ChangeData, Save, KeepSaving:
		if p == nil {
			return errors.New("there is no session of it")
		}
	case WaitForNewSave, WaitForSave, ReportSaves:
		if s == nil {
			return errors.New("it is not saved again and again")
		}
	}
	switch o.Do {
	case ChangeData:
		return g.changeData(p)
	case Save:
		return g.saveProfile(ctx, p)
	case KeepSaving:
		g.startSaver(p, o.Every)
		return nil
	case WaitForNewSave:
		a.Ended, err = s.waitForSave(ctx, func(one save) bool { return one.began > after })
		return err
	case WaitForSave:
		a.Ended, err = s.waitForSave(ctx, func(one save) bool { return one.ended > after })
		return err
	case ReportSaves:
		select {
		case <-s.ended:
		case <-ctx.Done():
			return fmt.Errorf("its session is not over: %w", ctx.Err())
		}
		a.Saves = countLate(after, s.all)
		return nil
	}
	return fmt.Errorf("there is no act %q", o.Do)
}

func (g *gameLoop) startSaver(p *client.Profile[playerData], every time.Duration) {
	s := &saver{ended: make(chan struct{}), more: make(chan struct{})}
	g.mu.Lock()
	g.savers[p.Key()] = s
	g.mu.Unlock()
	g.doing.Go(func() { g.keepSaving(g.life, p, s, every) })
}

// startSession opens a session, which is measured, and then saves this game server's name in the profile.
func (g *gameLoop) startSession(ctx context.Context, a *Answer, ifOwned client.IfOwned) error {
	a.Began = measure.Now()
	p, err := g.store.StartSession(ctx, a.Key, ifOwned)
	a.Ended = measure.Now()
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.sessions[a.Key] = p
	g.mu.Unlock()
	p.OnSessionEnd(func(client.End) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.lost++
		if g.sessions[a.Key] == p {
			delete(g.sessions, a.Key)
		}
	})
	p.OnMessage(func(_ *playerData, m client.Message) client.Answer {
		handled := measure.Now()
		var n note
		if m.Decode(&n) == nil {
			g.mu.Lock()
			g.messages = append(g.messages, handled.Since(n.Sent))
			g.mu.Unlock()
		}
		return client.AnswerDone
	})
	return g.saveProfile(ctx, p)
}
