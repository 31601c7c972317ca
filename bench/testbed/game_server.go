package testbed

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/profilenode/profilenode/bench/network"
)

// GameServer is the process of a game server.
type GameServer struct {
	*Process

	mu      sync.Mutex
	last    uint64 // order
	orders  *json.Encoder
	waiting map[uint64]chan<- Answer // by the order's id
	ready   chan struct{}
}

// startGameServer starts a game server on a host or, if that is nil, beside this process.
func startGameServer(folder, name string, seeds []string, host *network.Host, gossipAt string) (s *GameServer, err error) {
	s = &GameServer{waiting: make(map[uint64]chan<- Answer), ready: make(chan struct{})}
	s.Process, err = StartProcess(folder, name, host, s.readAnswers,
		"game-server", "--name", name, "--addr", strings.Join(seeds, ","), "--insecure", "--gossip", gossipAt)
	if err != nil {
		return nil, err
	}
	s.orders = json.NewEncoder(s.stdin)
	return s, nil
}

// readAnswers passes answers on. The first line says that the game server is ready.
func (s *GameServer) readAnswers(out io.Reader) {
	lines := json.NewDecoder(out)
	for first := true; ; first = false {
		var a Answer
		if lines.Decode(&a) != nil {
			return
		}
		if first {
			close(s.ready)
			continue
		}
		s.mu.Lock()
		if to := s.waiting[a.ID]; to != nil {
			to <- a
		}
		s.mu.Unlock()
	}
}

func (s *GameServer) waitReady(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-s.Ended:
		return s.EndedError()
	case <-ctx.Done():
		return fmt.Errorf("game server %s is not ready: %w", s.Name, ctx.Err())
	}
}

// Do gives an order and returns its answers; the error is the first fault among them.
func (s *GameServer) Do(ctx context.Context, o Order) ([]Answer, error) {
	wait, err := s.give(o)
	if err != nil {
		return nil, err
	}
	return wait(ctx)
}

// give gives an order. wait returns its answers.
func (s *GameServer) give(o Order) (wait func(context.Context) ([]Answer, error), err error) {
	answers := make(chan Answer, max(1, len(o.Keys))) // one for each key
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	o.ID = s.last
	s.waiting[o.ID] = answers
	if err := s.orders.Encode(o); err != nil {
		return nil, fmt.Errorf("tell game server %s to %s: %w", s.Name, o.Do, err)
	}
	return func(ctx context.Context) ([]Answer, error) { return s.collectAnswers(ctx, o.ID, answers) }, nil
}

func (s *GameServer) collectAnswers(ctx context.Context, order uint64, answers <-chan Answer) (all []Answer, err error) {
	defer func() {
		s.mu.Lock()
		delete(s.waiting, order)
		s.mu.Unlock()
	}()
	for len(all) < cap(answers) {
		select {
		case a := <-answers:
			all = append(all, a)
			if a.Fault != "" && err == nil {
				err = fmt.Errorf("game server %s: %s", s.Name, a.Fault)
			}
		case <-s.Ended:
			return all, s.EndedError()
		case <-ctx.Done():
			return all, fmt.Errorf("wait for game server %s: %w", s.Name, ctx.Err())
		}
	}
	return all, err
}
