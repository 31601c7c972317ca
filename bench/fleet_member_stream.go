package main

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// memberStream is a stream to one node, as package client has it.
type memberStream struct {
	conn   *grpc.ClientConn
	live   profilev1.Profiles_LiveClient
	cancel context.CancelFunc
	events chan *profilev1.Event
	ended  error // written before events closes
}

// openStream is nil if there is no stream to be had there; then it says whether it was told so, and where to go.
func (m *fleetMember) openStream(ctx context.Context, addr string) (via *memberStream, leader string, told bool) {
	conn, err := m.dialNode(addr)
	if err != nil {
		return nil, "", false
	}
	if !waitConnected(ctx, conn) {
		_ = conn.Close()
		return nil, "", false
	}
	m.fleet.opened.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	live, err := profilev1.NewProfilesClient(conn).Live(ctx)
	if err != nil {
		cancel()
		_ = conn.Close()
		return nil, wire.RefusalIn(err).GetLeader(), wire.RefusalIn(err) != nil
	}
	via = &memberStream{conn: conn, live: live, cancel: cancel, events: make(chan *profilev1.Event)}
	go via.receiveAnswers(ctx)
	return via, "", false
}

func (s *memberStream) receiveAnswers(ctx context.Context) {
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
			return
		}
	}
}

func (s *memberStream) closeStream() {
	s.cancel()
	for range s.events {
	}
	_ = s.conn.Close()
}

// renewOver renews over one stream until that ends, or is silent; it says whether any renewal renewed, which first is told of,
// to whom it was sent on, and whether it was told anything of the kind. mute streams before it brought nothing.
func (m *fleetMember) renewOver(ctx context.Context, via *memberStream, mute int, first func()) (heard, silent bool, leader string, told bool) {
	var mu sync.Mutex
	sent := make(map[uint64]monotonicTime)
	patience := memberPatience << min(mute, 2)
	lost := time.NewTimer(patience)
	defer lost.Stop()
	var sending sync.WaitGroup
	defer sending.Wait()
	quiet := make(chan struct{})
	defer close(quiet)
	sending.Go(func() {
		tick := time.NewTicker(memberRenew)
		defer tick.Stop()
		for {
			mu.Lock()
			m.sequence++
			r := &profilev1.Renewal{
				Incarnation: m.incarnation, Sequence: m.sequence, HeldCount: m.sessions, HeldHash: m.heldHash, Binding: m.binding, Registration: m.registration,
			}
			sent[r.Sequence] = monotonicNow()
			mu.Unlock()
			if via.live.Send(r) != nil {
				return
			}
			select {
			case <-tick.C:
			case <-quiet:
				return
			}
		}
	})
	for {
		var event *profilev1.Event
		ok := false
		select {
		case event, ok = <-via.events:
		case <-lost.C:
			return heard, true, "", false
		case <-ctx.Done():
			return heard, false, "", false
		}
		if !ok {
			return heard, false, wire.RefusalIn(via.ended).GetLeader(), wire.RefusalIn(via.ended) != nil
		}
		switch what := event.What.(type) {
		case *profilev1.Event_Goodbye:
			if what.Goodbye.GetServerGone() {
				m.over.Store(true)
			}
			return heard, false, what.Goodbye.GetLeader(), true
		case *profilev1.Event_Renewed:
			mu.Lock()
			left, ours := sent[what.Renewed.GetSequence()]
			delete(sent, what.Renewed.GetSequence())
			mu.Unlock()
			if ours && m.fleet.onRenewed(m, left, what.Renewed) {
				if !heard {
					heard = true
					first()
				}
				lost.Reset(patience)
			}
		}
	}
}

// waitConnected waits until a connection stands, as long as package client does.
func waitConnected(ctx context.Context, conn *grpc.ClientConn) bool {
	ctx, cancel := context.WithTimeout(ctx, memberConnect)
	defer cancel()
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return true
		case connectivity.Idle:
			conn.Connect()
		case connectivity.TransientFailure, connectivity.Shutdown:
			return false
		}
		if !conn.WaitForStateChange(ctx, state) {
			return false
		}
	}
}
