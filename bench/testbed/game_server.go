package testbed

import (
	"context"
	"fmt"
	"io"
	"net/rpc"
	"strings"

	"github.com/profilenode/profilenode/bench/network"
)

// GameServer is the process of a game server. Orders are calls of net/rpc over its stdin and stdout.
type GameServer struct {
	*Process
	calls *rpc.Client
}

// stdio is a connection made of two pipes.
type stdio struct {
	io.Reader
	io.WriteCloser
}

// startGameServer starts a game server on a host or, if that is nil, beside this process.
func startGameServer(folder, name string, seeds []string, host *network.Host, gossipAt string) (*GameServer, error) {
	answers, out := io.Pipe()
	p, err := StartProcess(folder, name, host, func(stdout io.Reader) {
		_, err := io.Copy(out, stdout)
		_ = out.CloseWithError(err)
	}, "game-server", "--name", name, "--addr", strings.Join(seeds, ","), "--insecure", "--gossip", gossipAt)
	if err != nil {
		return nil, err
	}
	return &GameServer{p, rpc.NewClient(stdio{answers, p.stdin})}, nil
}

// waitReady waits until the game server is registered: it obeys no order before.
func (s *GameServer) waitReady(ctx context.Context) error {
	_, err := s.Do(ctx, Order{Do: ReportSessions})
	return err
}

// Do gives an order and returns its answers; the error is the first fault among them.
func (s *GameServer) Do(ctx context.Context, o Order) ([]Answer, error) {
	var all []Answer // if the call is not given up before
	call := s.calls.Go("Game.Do", o, &all, make(chan *rpc.Call, 1))
	for done := call.Done; ; {
		select {
		case <-done:
			if call.Error == nil {
				return all, firstFault(s.Name, all)
			}
			done = nil // the connection has ended: so does the process
		case <-s.Ended:
			return nil, s.EndedError()
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for game server %s to %s: %w", s.Name, o.Do, ctx.Err())
		}
	}
}

func firstFault(name string, answers []Answer) error {
	for _, a := range answers {
		if a.Fault != "" {
			return fmt.Errorf("game server %s: %s", name, a.Fault)
		}
	}
	return nil
}
