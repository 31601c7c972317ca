package client

import (
	"context"

	"google.golang.org/grpc"

	"github.com/profilenode/profilenode/api/profilev1"
)

// stream is a stream to one node, on a connection of its own.
type stream struct {
	conn   *grpc.ClientConn
	live   profilev1.Profiles_LiveClient
	cancel context.CancelFunc
	events chan *profilev1.Event // closed when the node or the network has ended it
	ended  error                 // by what; written before events closes
}

// openStream is nil if there is no stream to be had there. The refusal is nil too if nobody answered.
func (c *Client) openStream(addr string) (*stream, *profilev1.Refusal) {
	conn, err := c.config.connect(addr)
	if err != nil {
		return nil, nil
	}
	if err := await(c.ctx, addr, conn); err != nil {
		_ = conn.Close()
		return nil, nil
	}
	ctx, cancel := context.WithCancel(c.ctx)
	live, err := profilev1.NewProfilesClient(conn).Live(ctx)
	if err != nil {
		cancel()
		_ = conn.Close()
		return nil, refusalIn(err)
	}
	s := &stream{conn: conn, live: live, cancel: cancel, events: make(chan *profilev1.Event)}
	go s.receive(ctx)
	return s, nil
}

func (s *stream) receive(ctx context.Context) {
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

// why is the refusal with which it has ended, if it was one. It waits for the end.
func (s *stream) why() *profilev1.Refusal {
	for range s.events {
	}
	return refusalIn(s.ended)
}

// end ends it, and its connection.
func (s *stream) end() {
	s.cancel()
	for range s.events {
	}
	_ = s.conn.Close()
}
