package testbed

import (
	"context"
	"fmt"
	"strings"

	"github.com/profilenode/profilenode/internal/network"
)

// GameServer is the process of a game server. Orders are calls.
type GameServer struct{ *CalledProcess }

// startGameServer starts a game server on a host or, if that is nil, beside this process.
func startGameServer(folder, name string, seeds []string, host *network.Host, gossipAt string) (*GameServer, error) {
	p, err := StartCalledProcess(folder, name, host,
		"game-server", "--name", name, "--addr", strings.Join(seeds, ","), "--insecure", "--gossip", gossipAt)
	return &GameServer{p}, err
}

// Do gives an order and returns its answers; the error is the first fault among them.
func (s *GameServer) Do(ctx context.Context, o Order) ([]Answer, error) {
	var all []Answer
	if err := s.Call(ctx, "Game.Do", o, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Do, err)
	}
	for _, a := range all {
		if a.Fault != "" {
			return all, fmt.Errorf("game server %s: %s", s.Name, a.Fault)
		}
	}
	return all, nil
}
