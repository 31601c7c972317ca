package wire

import (
	"context"

	"github.com/profilenode/profilenode/api/profilev1"
)

// stream is a stream of renewals and events with one node, on a connection of its own, so that no renewal waits behind the
// frames of a save.
type stream struct {
	link   *Link
	live   profilev1.Profiles_LiveClient
	cancel context.CancelFunc
	events chan *profilev1.Event // closed when the node or the network has ended it
	ended  error                 // the cause of the end; written before events closes
}

// openStream returns nil if the node gives no stream. The attempt then has its refusal, or the reason why it could not be
// reached.
func (n *Nodes) openStream(ctx context.Context, address string) (*stream, Attempt) {
	link, err := n.Connect(address)
	if err != nil {
		return nil, Attempt{Address: address, Err: err}
	}
	if err := link.WaitReady(ctx); err != nil {
		link.Close()
		return nil, Attempt{Address: address, Link: link, Err: err}
	}
	streaming, cancel := context.WithCancel(ctx)
	live, err := profilev1.NewProfilesClient(link.Conn()).Live(streaming)
	if err != nil {
		cancel()
		link.Close()
		return nil, Attempt{Address: address, Link: link, Sent: true, Refusal: RefusalIn(err), Err: err}
	}
	s := &stream{link: link, live: live, cancel: cancel, events: make(chan *profilev1.Event)}
	go s.receiveUntilEnd(streaming)
	return s, Attempt{Address: address, Link: link, Sent: true}
}

func (s *stream) receiveUntilEnd(ctx context.Context) {
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
func (s *stream) refusalOfStream() *profilev1.Refusal {
	for range s.events {
	}
	return RefusalIn(s.ended)
}

// closeStream ends it, and its connection.
func (s *stream) closeStream() {
	s.cancel()
	for range s.events {
	}
	s.link.Close()
}
