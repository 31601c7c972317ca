package renewals

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/internal/clienthooks"
)

// member is one game server of a fleet.
type member struct {
	fleet      *fleet
	name, host string

	registered atomic.Bool
	confirmed  atomic.Int64 // moment at which the last confirmed renewal was sent
}

// memberHost is the loopback address of one game server. Elsewhere each has a host of its own; on one address thousands would
// contend for its ports, and the search for a free one costs the kernel more than all other work.
func memberHost(net uint8, i int) string { return fmt.Sprintf("127.%d.%d.%d", net, i/250, 1+i%250) }

// open registers, and opens sessions. The client lasts as long as the process.
func (m *member) open(ctx context.Context, nodes []string, sessions int) error {
	config := client.Config{
		Seeds: nodes, Name: m.name, Where: "bench renewals", Autosave: -1, Log: slog.New(slog.DiscardHandler),
		OnDoubt: func() { m.fleet.note(func(now *FleetFigures) { now.Doubted++ }) },
	}
	hooks := clienthooks.Of(&config)
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(m.host)}}
	hooks.Dial = func(ctx context.Context, address string) (net.Conn, error) {
		return from.DialContext(ctx, "tcp", address)
	}
	hooks.ListenPing = func(ctx context.Context, _ string) (net.Listener, error) {
		return new(net.ListenConfig).Listen(ctx, "tcp", m.host+":0")
	}
	hooks.DialOptions = []grpc.DialOption{
		grpc.WithReadBufferSize(2 << 10), grpc.WithWriteBufferSize(2 << 10), // thousands share the process
		grpc.WithChainUnaryInterceptor(m.watchCall), grpc.WithChainStreamInterceptor(m.watchStream),
	}
	c, err := client.Open(ctx, config)
	if err != nil {
		return fmt.Errorf("register %s: %w", m.name, err)
	}
	store, err := client.NewStore(c, "renewals", json.RawMessage("{}"))
	if err != nil {
		return err
	}
	var starting errgroup.Group
	starting.SetLimit(startAtOnce)
	for i := range sessions {
		starting.Go(func() error {
			if _, err := store.StartSession(ctx, fmt.Sprintf("%s-%d", m.name, i)); err != nil {
				return fmt.Errorf("start session of %s: %w", m.name, err)
			}
			return nil
		})
	}
	return starting.Wait()
}

// watchCall counts registrations after the first: each means that the cluster has ended an incarnation.
func (m *member) watchCall(ctx context.Context, method string, request, answer any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, answer, conn, options...)
	if err == nil && method == profilev1.Profiles_Register_FullMethodName && m.registered.Swap(true) {
		m.fleet.note(func(now *FleetFigures) { now.Ended++ })
	}
	return err
}

// watchStream watches the renewals on a stream, and their answers.
func (m *member) watchStream(ctx context.Context, of *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, of, conn, method, options...)
	if err != nil {
		return nil, err
	}
	m.fleet.note(func(now *FleetFigures) { now.Opened++ })
	return &watchedStream{ClientStream: stream, member: m, sent: make(map[uint64]measure.Moment)}, nil
}

type watchedStream struct {
	grpc.ClientStream
	member *member

	mu   sync.Mutex
	sent map[uint64]measure.Moment // renewals without an answer, by number
}

// SendMsg notes when a renewal was sent.
func (s *watchedStream) SendMsg(message any) error {
	if renewal, ok := message.(*profilev1.Renewal); ok {
		s.mu.Lock()
		s.sent[renewal.GetSequence()] = measure.Now()
		s.mu.Unlock()
	}
	return s.ClientStream.SendMsg(message)
}

// RecvMsg notes the answer to a renewal.
func (s *watchedStream) RecvMsg(message any) error {
	err := s.ClientStream.RecvMsg(message)
	event, ok := message.(*profilev1.Event)
	if err != nil || !ok || event.GetRenewed() == nil {
		return err
	}
	answer := event.GetRenewed()
	s.mu.Lock()
	sent, known := s.sent[answer.GetSequence()]
	delete(s.sent, answer.GetSequence())
	s.mu.Unlock()
	if known {
		s.member.noteAnswer(sent, answer)
	}
	return nil
}

func (m *member) noteAnswer(sent measure.Moment, answer *profilev1.Renewed) {
	confirmed := answer.GetConfirmedTerm() != 0
	m.fleet.note(func(now *FleetFigures) {
		now.Answered++
		now.Slowest = max(now.Slowest, measure.Now().Since(sent))
		if answer.GetDiffers() {
			now.Differed++
		}
		if confirmed {
			now.Confirmed++
		}
	})
	if confirmed {
		m.confirmed.Store(max(m.confirmed.Load(), int64(sent)))
	}
}
