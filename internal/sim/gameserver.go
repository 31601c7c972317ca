package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/internal/clienthooks"
	"github.com/profilenode/profilenode/internal/sim/check"
)

// Server is one process of a game server. The answers that it gets go into the history.
type Server struct {
	Name string

	world   *World
	process string // its name, and how often that was started; its host on the network too
	clock   *clock
	client  *client.Client
	store   *client.Store[check.Doc]

	stopped bool // guarded by World.mu

	unconfirmed atomic.Int64 // answers to its renewals that confirmed nothing

	life    context.Context // of its requests
	die     context.CancelFunc
	working sync.WaitGroup

	mu       sync.Mutex
	sessions map[string]*Session // by profile
	made     int                 // sessions, sets and messages
	was      registration        // the present one
	dead     bool
	killing  sync.Once
}

// Server starts a game server, in the place of the one of that name if there was one. It returns nil if the cluster did not
// register it within the limit.
func (w *World) Server(name string, limit time.Duration) *Server {
	return w.launchServer(name, limit, false)
}

// Namesake starts another process under the name of a game server that may live. It returns nil if it was not registered.
func (w *World) Namesake(name string, limit time.Duration) *Server {
	return w.launchServer(name, limit, true)
}

func (w *World) launchServer(name string, limit time.Duration, beside bool) *Server {
	w.mu.Lock()
	runs := 1
	for _, s := range w.processes {
		if s.Name == name {
			runs++
		}
	}
	s := &Server{
		Name: name, world: w, process: fmt.Sprintf("%s.%d", name, runs), clock: newClock(), sessions: map[string]*Session{},
	}
	s.life, s.die = context.WithCancel(context.Background())
	before := w.servers[name]
	if !beside {
		w.servers[name] = s
		w.skews[name] = s.clock
	}
	w.processes = append(w.processes, s)
	number := len(w.processes)
	w.mu.Unlock()
	w.applyDefaultDelays()

	host := w.network.Host(s.process)
	config := client.Config{
		Name: name, Where: s.process, TimingClass: timingClass, Insecure: true, Autosave: w.scenario.Autosave, DoubtLimit: w.scenario.DoubtLimit,
	}
	hooks := clienthooks.Of(&config)
	hooks.Now = s.clock.now
	hooks.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return host.Dial(ctx, "tcp", addr) }
	for _, n := range w.founders() {
		config.Seeds = append(config.Seeds, n.clientsAddress())
	}
	if w.proxy != nil {
		hooks.Dial = w.proxy.dialThrough(s.process, host)
	}
	if w.scenario.Ping {
		hooks.ListenPing = func(context.Context, string) (net.Listener, error) { return host.Listen("tcp", s.process+":0") }
	}
	if w.scenario.Gossip {
		config.Gossip = w.gossipAt(host, s.process, fmt.Sprintf("127.2.%d.%d", number/250, number%250+1))
	}
	hooks.DialOptions = append(hooks.DialOptions, grpc.WithChainStreamInterceptor(s.countUnconfirmed))
	if w.scenario.Replaces && !beside {
		hooks.DialOptions = append(hooks.DialOptions, grpc.WithChainUnaryInterceptor(s.replaceBefore(before)))
	}
	ctx, cancel := context.WithTimeout(s.life, limit)
	defer cancel()
	opened, err := client.Open(ctx, config)
	if err != nil {
		w.logFault("%s is not let in: %v", s.process, err)
		s.Kill()
		return nil
	}
	w.logFault("%s is in", s.process)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = opened
	if s.store, err = client.NewStore(opened, store, check.Doc{}); err != nil {
		panic(err) // the name and the template are this file's
	}
	if s.dead {
		s.working.Go(func() { s.closeAbandoned(opened) })
		return nil
	}
	return s
}

// countUnconfirmed counts the answers of nodes that could not confirm a renewal.
func (s *Server) countUnconfirmed(
	ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, conn, method, options...)
	if err != nil {
		return nil, err
	}
	return answerCounter{stream, &s.unconfirmed}, nil
}

type answerCounter struct {
	grpc.ClientStream
	unconfirmed *atomic.Int64
}

func (c answerCounter) RecvMsg(m any) error {
	err := c.ClientStream.RecvMsg(m)
	if event, ok := m.(*profilev1.Event); ok && err == nil && event.GetRenewed() != nil && event.GetRenewed().ConfirmedTerm == 0 {
		c.unconfirmed.Add(1)
	}
	return err
}

// Kill ends the process: its host resets connections and refuses new ones.
func (s *Server) Kill() { s.endProcess(s.world.network.Crash) }

// Lose ends its machine: no packet comes from it any more.
func (s *Server) Lose() { s.endProcess(s.world.network.Vanish) }

func (s *Server) endProcess(how func(host string)) {
	s.killing.Do(func() {
		s.mu.Lock()
		s.dead = true
		opened := s.client
		s.mu.Unlock()
		how(s.process)
		s.die()
		if opened != nil {
			s.working.Go(func() { s.closeAbandoned(opened) })
		}
	})
	s.working.Wait()
}

// closeAbandoned ends a client whose machine is cut off for good.
func (s *Server) closeAbandoned(opened *client.Client) {
	soon, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_ = opened.Shutdown(soon)
}

// Close ends the process in order.
func (s *Server) Close(limit time.Duration) {
	s.killing.Do(func() {
		s.mu.Lock()
		s.dead = true
		s.mu.Unlock()
		s.die()
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		err := s.client.Shutdown(ctx)
		s.world.logFault("%s is closed: %v", s.process, err)
		var left *client.CloseError
		if errors.As(err, &left) {
			sessions := s.openSessions()
			for _, ref := range left.Unsaved {
				sessions[ref.Key].recordOutcome(check.Refused)
			}
		}
		s.world.network.Crash(s.process)
	})
	s.working.Wait()
}

// openSessions are its sessions, by profile: on each the one that it opened last.
func (s *Server) openSessions() map[string]*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.sessions)
}

// isAlive says that the process runs, and is not stopped.
func (s *Server) isAlive() bool {
	s.mu.Lock()
	dead := s.dead
	s.mu.Unlock()
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	return !dead && !s.stopped
}

func (s *Server) nextName(what string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	return fmt.Sprintf("%s/%s%d", s.process, what, s.made)
}

// outcomeOf classifies the error that a caller got. never are the errors by which it promises that it did not and will not
// happen. ErrUnavailable and ErrClosed say that each node that was asked refused its copy; where the proxy hands such a copy
// to another node, they say nothing.
func (w *World) outcomeOf(err error, never ...error) check.Outcome {
	switch {
	case err == nil:
		return check.Done
	case errors.Is(err, client.ErrUnknown):
		return check.Unknown
	}
	for _, kind := range never {
		passing := kind == client.ErrUnavailable || kind == client.ErrClosed
		if errors.Is(err, kind) && (w.proxy == nil || !passing) {
			return check.Refused
		}
	}
	return check.Unknown
}

// poison is the kind of messages that make their handler panic; after setAsideAfter counted panics they are offered no more.
const (
	poison        client.Kind = "poison"
	setAsideAfter int         = 3
)

// Send sends a message; its effect shows in the profile's data.
func (s *Server) Send(key string, limit time.Duration) error { return s.sendMessage(key, limit, "") }

// Poison sends a message that makes its handler panic.
func (s *Server) Poison(key string, limit time.Duration) error {
	return s.sendMessage(key, limit, poison)
}

func (s *Server) sendMessage(key string, limit time.Duration, kind client.Kind) error {
	record := &check.Send{Sender: s.process, Body: s.nextName("m"), Profile: key, Poison: kind == poison}
	s.world.recordHistory(func(h *check.History) { h.Sends = append(h.Sends, record) })
	ctx, cancel := context.WithTimeout(s.life, limit)
	defer cancel()
	record.Call = s.world.Now()
	_, err := s.store.Send(ctx, key, record.Body, kind)
	s.world.finishSpan(&record.Span, func() {
		record.Outcome = s.world.outcomeOf(err, client.ErrUnavailable, client.ErrInvalid, client.ErrClosed)
	})
	s.world.logEvent(key, "%s sends: %v", record.Body, err)
	return err
}

// Get reads a profile, and records the revision that it read.
func (s *Server) Get(key string, limit time.Duration) (*client.Snapshot[check.Doc], error) {
	record := &check.Read{Profile: key}
	s.world.recordHistory(func(h *check.History) { h.Reads = append(h.Reads, record) })
	ctx, cancel := context.WithTimeout(s.life, limit)
	defer cancel()
	record.Call = s.world.Now()
	got, err := s.store.Get(ctx, key)
	if err == nil {
		s.world.finishSpan(&record.Span, func() { record.Revision, record.Exists, record.Doc = got.Revision, got.Exists, got.Data })
		s.world.logEvent(key, "%s reads revision %d", s.process, got.Revision)
	}
	return got, err
}

// Set overwrites a profile as it was read.
func (s *Server) Set(key string, limit time.Duration, options ...client.WriteOption) error {
	got, err := s.Get(key, limit)
	if err != nil {
		return err
	}
	record := &check.Set{Writer: s.nextName("set"), Profile: key}
	s.world.recordHistory(func(h *check.History) { h.Sets = append(h.Sets, record) })
	ctx, cancel := context.WithTimeout(s.life, limit)
	defer cancel()
	doc := check.Doc{Writer: record.Writer, Seq: 1, Applied: got.Data.Applied}
	record.Call = s.world.Now()
	revision, err := s.store.Set(ctx, key, doc, client.AtRevision(got.Revision), options...)
	s.world.finishSpan(&record.Span, func() {
		record.Revision = revision
		record.Outcome = s.world.outcomeOf(err, client.ErrConflict, client.ErrOwned, client.ErrUnavailable, client.ErrInvalid, client.ErrClosed)
	})
	s.world.logEvent(key, "%s on revision %d: %v", record.Writer, got.Revision, err)
	return err
}

// randomFor is the source of randomness of one task of the process.
func (s *Server) randomFor(task uint64) *rand.Rand {
	return rand.New(rand.NewPCG(s.world.Seed, hashText(s.process)+task))
}
