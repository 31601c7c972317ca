package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
)

// gameServer is a game server's process, as this program sees it.
type gameServer struct {
	selfProcess

	mu      sync.Mutex
	last    uint64
	orders  *json.Encoder
	waiting map[uint64]*awaitedAnswer
	ready   chan struct{}
}

// awaitedAnswer is an order that is not answered in full.
type awaitedAnswer struct {
	answers chan botAnswer // with room for all
	left    int
}

// startGameServer starts this very program as a game server. within, if it is not nil, is the namespace that it lives in;
// gossipAt is where it gossips.
func startGameServer(dir, name string, seeds []string, gossipAt string, within processPlace) (*gameServer, error) {
	s := &gameServer{waiting: make(map[uint64]*awaitedAnswer), ready: make(chan struct{})}
	var err error
	s.selfProcess, err = startSelf(dir, name, within, s.readAnswers, "game-server", "--name", name, "--addr", strings.Join(seeds, ","), "--insecure", "--gossip", gossipAt)
	if err != nil {
		return nil, err
	}
	s.orders = json.NewEncoder(s.stdin)
	return s, nil
}

// readAnswers passes on what it tells. The first line says that it is ready.
func (s *gameServer) readAnswers(out io.Reader) {
	lines := json.NewDecoder(out)
	for first := true; ; first = false {
		var t botAnswer
		if lines.Decode(&t) != nil {
			return
		}
		if first {
			close(s.ready)
			continue
		}
		s.mu.Lock()
		if to := s.waiting[t.ID]; to != nil {
			to.answers <- t
			if to.left--; to.left == 0 {
				delete(s.waiting, t.ID)
			}
		}
		s.mu.Unlock()
	}
}

func (s *gameServer) awaitReady(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-s.ended:
		return s.endedError()
	case <-ctx.Done():
		return fmt.Errorf("game server %s is not ready: %w", s.name, ctx.Err())
	}
}

// sendOrder gives an order. The channel holds an answer for each key, or one.
func (s *gameServer) sendOrder(o botOrder) (<-chan botAnswer, error) {
	answers := make(chan botAnswer, max(1, len(o.Keys)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	o.ID = s.last
	s.waiting[o.ID] = &awaitedAnswer{answers, cap(answers)}
	if err := s.orders.Encode(o); err != nil {
		return nil, fmt.Errorf("tell game server %s to %s: %w", s.name, o.Do, err)
	}
	return answers, nil
}

// orderAndWait gives an order and returns its answers; the error is the first fault among them.
func (s *gameServer) orderAndWait(ctx context.Context, o botOrder) ([]botAnswer, error) {
	answers, err := s.sendOrder(o)
	if err != nil {
		return nil, err
	}
	return s.collectAnswers(ctx, answers)
}

func (s *gameServer) collectAnswers(ctx context.Context, answers <-chan botAnswer) (all []botAnswer, err error) {
	for len(all) < cap(answers) {
		select {
		case t := <-answers:
			all = append(all, t)
			if t.Fault != "" && err == nil {
				err = fmt.Errorf("game server %s: %s", s.name, t.Fault)
			}
		case <-s.ended:
			return all, s.endedError()
		case <-ctx.Done():
			return all, fmt.Errorf("wait for game server %s: %w", s.name, ctx.Err())
		}
	}
	return all, err
}
