package client

import (
	"context"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// renewalStream is a stream to one node, on a connection of its own.
type renewalStream struct {
	link   *wire.Link
	live   profilev1.Profiles_LiveClient
	cancel context.CancelFunc
	events chan *profilev1.Event // closed when the node or the network has ended it
	ended  error                 // the cause of the end; written before events closes
}

// openStream returns nil if the node gives no stream. The refusal is nil too if the node did not answer.
func (c *Client) openStream(addr string) (*renewalStream, *profilev1.Refusal) {
	link, err := c.nodes.Connect(addr)
	if err != nil {
		return nil, nil
	}
	if err := link.WaitReady(c.ctx); err != nil {
		c.noteAnswer(addr, link, nil, err)
		link.Close()
		return nil, nil
	}
	ctx, cancel := context.WithCancel(c.ctx)
	live, err := profilev1.NewProfilesClient(link.Conn()).Live(ctx)
	if err != nil {
		cancel()
		link.Close()
		return nil, wire.RefusalIn(err)
	}
	s := &renewalStream{link: link, live: live, cancel: cancel, events: make(chan *profilev1.Event)}
	go s.receiveUntilEnd(ctx)
	return s, nil
}

func (s *renewalStream) receiveUntilEnd(ctx context.Context) {
	defer close(s.events)
	for {
		event, err := s.live.Recv()
		if err != nil {
			s.ended = err
			return
		}
		select {
		case s.events <- event:
		case <-ctx.Done():
			s.ended = ctx.Err()
			return
		}
	}
}

// refusalOfStream is the refusal with which it has ended, if it was one. It waits for the end.
func (s *renewalStream) refusalOfStream() *profilev1.Refusal {
	for range s.events {
	}
	return wire.RefusalIn(s.ended)
}

// closeStream ends it, and its connection.
func (s *renewalStream) closeStream() {
	s.cancel()
	for range s.events {
	}
	s.link.Close()
}
