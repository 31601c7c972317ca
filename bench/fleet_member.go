package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
	"github.com/profilenode/profilenode/lock"
)

// fleetMember is one game server of a fleet: an incarnation with a ping port, a warm connection to every node, and a stream
// on a connection of its own. It speaks the wire by itself, as package client does and as sparingly as it can: thousands
// share a process. Its times are those of package client.
type fleetMember struct {
	fleet *serverFleet
	name  string
	host  string
	ping  net.Listener
	warm  map[string]*grpc.ClientConn

	incarnation  uint64
	binding      uint64
	registration uint64
	number       uint64 // of its last request
	sessions     uint64
	heldHash     uint64
	sequence     uint64
	leader       string // empty: not known
	next         int

	proved atomic.Int64 // when the last renewal left that was answered as proved
	doubts atomic.Bool  // it is in doubt, and was counted
	over   atomic.Bool
}

const (
	memberRenew    = time.Second
	memberPatience = memberRenew + memberRenew/4
	memberDoubt    = 3 * time.Second
	memberConnect  = time.Second
	memberMutes    = 4
)

// memberHost is the loopback address of one game server. In life each has a host of its own; on one address thousands would
// contend for its ports, and searching for a free one costs the kernel more than all the rest.
func memberHost(net uint8, i int) string { return fmt.Sprintf("127.%d.%d.%d", net, i/250, 1+i%250) }

func newFleetMember(f *serverFleet, name, host string) (*fleetMember, error) {
	m := &fleetMember{fleet: f, name: name, host: host, warm: make(map[string]*grpc.ClientConn), next: mathrand.IntN(len(f.nodes))}
	var err error
	if m.ping, err = net.Listen("tcp", host+":0"); err != nil {
		return nil, err
	}
	for _, addr := range f.nodes {
		if m.warm[addr], err = m.dialNode(addr); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// dialNode connects as package client does, with smaller buffers.
func (m *fleetMember) dialNode(addr string) (*grpc.ClientConn, error) {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(m.host)}}
	return grpc.NewClient("passthrough:///"+addr,
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) { return from.DialContext(ctx, "tcp", to) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0), grpc.WithDisableRetry(),
		grpc.WithChainUnaryInterceptor(profilev1.Announce),
		grpc.WithReadBufferSize(2<<10), grpc.WithWriteBufferSize(2<<10),
		grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(4<<20),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: memberConnect,
		}))
}

// answerPings says who this is to whoever asks, until the port closes.
func (m *fleetMember) answerPings() {
	for {
		c, err := m.ping.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of files
			continue
		}
		frame := lock.PingFrame(lock.Incarnation(m.incarnation))
		_ = c.SetDeadline(time.Now().Add(time.Second))
		_, _ = c.Write(frame[:]) // who asked will ask again
		_ = c.Close()
	}
}

// registerAndHold registers, and opens its sessions.
func (m *fleetMember) registerAndHold(ctx context.Context, sessions int) error {
	for _, conn := range m.warm {
		if !waitConnected(ctx, conn) && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // it never fails
	var is profilev1.RegisterResponse
	if err := m.callLeader(ctx, profilev1.Profiles_Register_FullMethodName, &profilev1.RegisterRequest{
		Name: m.name, Nonce: nonce, Where: "bench renewals", Ping: m.ping.Addr().String(),
	}, &is); err != nil {
		return fmt.Errorf("register %s: %w", m.name, err)
	}
	m.incarnation, m.binding, m.registration = is.GetIncarnation(), is.GetBinding(), lock.Registration(nonce)
	m.proved.Store(int64(monotonicNow())) // it lives since just now
	for i := range sessions {
		m.number++
		q := &profilev1.StartSessionRequest{Store: renewalStore, Key: fmt.Sprintf("%s-%d", m.name, i), Request: &profilev1.Request{
			Incarnation: m.incarnation, Number: m.number, Settled: m.number - 1, Hash: m.number, Binding: m.binding, Registration: m.registration,
		}}
		var got profilev1.StartSessionResponse
		if err := m.callLeader(ctx, profilev1.Profiles_StartSession_FullMethodName, q, &got); err != nil {
			return fmt.Errorf("start session of %s: %w", q.Key, err)
		}
		if got.GetQueued() {
			return fmt.Errorf("session of %s: somebody else has it", q.Key)
		}
		m.sessions++
		m.heldHash = lock.HeldHash(m.heldHash, q.Store, q.Key, lock.Token(got.GetStands().GetToken()))
	}
	return nil
}

// callLeader sends a request to whoever leads, again and again until it is answered, or this game server was ended.
func (m *fleetMember) callLeader(ctx context.Context, method string, request, answer proto.Message) error {
	for {
		addr := m.nodeToAsk()
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := m.warm[addr].Invoke(try, method, request, answer, grpc.WaitForReady(true))
		cancel()
		if err == nil {
			m.leader = addr
			return nil
		}
		refusal := wire.RefusalIn(err)
		if ctx.Err() != nil || refusal.GetReason() == profilev1.Reason_REASON_SERVER_GONE {
			return err
		}
		if !m.followRedirect(refusal) {
			sleepUnlessDone(ctx, 20*time.Millisecond)
		}
	}
}

func (m *fleetMember) nodeToAsk() string {
	if m.leader != "" {
		return m.leader
	}
	return m.fleet.nodes[m.next%len(m.fleet.nodes)]
}

// followRedirect goes to the leader that a refusal names, or else to the next node; it says whether one was named.
func (m *fleetMember) followRedirect(refusal *profilev1.Refusal) bool {
	m.next++
	m.leader = ""
	if to := refusal.GetLeader(); m.warm[to] != nil {
		m.leader = to
	}
	return m.leader != ""
}

// renewUntilDone keeps it alive until ctx ends or the cluster has ended it.
func (m *fleetMember) renewUntilDone(ctx context.Context) {
	sleepUnlessDone(ctx, mathrand.N(memberRenew)) // in step with nobody
	fails, hops, mute, led := 0, 0, 0, m.leader
	var mutes []*memberStream
	settle := func() {
		for _, one := range mutes {
			one.closeStream()
		}
		mutes = nil
	}
	defer settle()
	for ctx.Err() == nil && !m.over.Load() {
		addr := m.nodeToAsk()
		heard, silent := false, false
		via, to, told := m.openStream(ctx, addr)
		if via != nil {
			heard, silent, to, told = m.renewOver(ctx, via, mute, settle)
		}
		switch {
		case silent:
			mutes = append(mutes, via)
		case via != nil:
			via.closeStream()
		}
		if len(mutes) > memberMutes {
			mutes[0].closeStream()
			mutes = mutes[1:]
		}
		switch {
		case heard:
			fails, mute, led = 0, 0, addr
		case !told:
			mute++
		}
		named := m.followRedirect(&profilev1.Refusal{Leader: to})
		if named && m.leader != led {
			sleepUnlessDone(ctx, mathrand.N(memberRenew/2))
		}
		if named && hops < 3 {
			hops++
			continue
		}
		hops = 0
		most := min(20*time.Millisecond<<min(fails, 10), 500*time.Millisecond)
		fails++
		sleepUnlessDone(ctx, most/2+mathrand.N(most/2+1))
	}
}
