// Package server is the gRPC service of a node: wire types come in, commands of package fsm go down, and every error
// goes out through one table.
//
// It promises that a change is proposed once for each call and never decided on here; that a reply says what it stands
// on; that a refusal says whether the thing happened, in one sentence and in a profilev1.Refusal; and that a renewal is
// answered as confirmed only when the node confirmed its lead after the renewal came. It never retries, never forwards, and
// keeps nothing that a client would miss after a restart. Read this file first, then errortable.go for the errors,
// and renewals.go for the stream.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	encodingproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Config are the parts of a Server. New needs Node; the rest has defaults.
type Config struct {
	Node    *cluster.Node
	Hub     *Hub // its Publish is the node's OnEvents; nil: events reach no stream
	Log     *slog.Logger
	Version string      // of this build
	TLS     *tls.Config // nil: plain
	Limits  Limits
	Options []grpc.ServerOption // before the server's own; tests alone have any

	// What this build announces and carries out. nil: fsm.Features and profilev1.Fields; tests alone take others.
	Features func(level uint32) []string
	Fields   profilev1.FieldFeatures
}

// Limits bound the memory that callers can make a node hold. A zero is its default.
type Limits struct {
	Streams    uint32 // calls at once on one connection, until their answers are on the wire; 64. A client's next ones wait on its side
	Received   int64  // bytes that calls announce or bring, from their beginning to their end; 256 MiB, so that the two lines below are full before
	ReadBytes  int64  // of data and messages in answers, from before they are read until a connection has taken them off; 256 MiB. As many may wait
	ReadShare  int64  // of these for one connection; 16 MiB. Its further calls wait
	SmallBytes int64  // of profile data on their way into the log, in values of up to 64 KiB; 16 MiB. As many may wait
	LargeBytes int64  // the same of larger values, which wait in a line of their own; 32 MiB. Both together stay below cluster.Config.MaxInFlightBytes, so that saves wait in line here before they are refused there
	// Conns and ConnsPerHost are the connections that clients may have open, in all and from one host. 0: three quarters of the
	// files that this process may have open, and as many from one host; the rest is for tables, log, snapshots and the other nodes.
	Conns, ConnsPerHost int
	GrantsPage          int           // grants of one page of a comparison with a game server's held set; 1,000
	Receive             time.Duration // longest time for a message to come in, and 1 s more for each 64 KiB that have come; 10 s
	Call                time.Duration // longest time for one call, once its message is here; 10 s
	Renewal             time.Duration // longest time for the first renewal of a stream; 10 s
	Connection          time.Duration // longest time for a new connection to introduce itself; 5 s
	Drain               time.Duration // longest time that Close waits for calls that are under way; 5 s
}

func (l Limits) withDefaults() Limits {
	if l.Streams == 0 {
		l.Streams = 64
	}
	if l.Received == 0 {
		l.Received = 256 << 20
	}
	if l.ReadBytes == 0 {
		l.ReadBytes = 256 << 20
	}
	if l.ReadShare == 0 {
		l.ReadShare = 16 << 20
	}
	if l.SmallBytes == 0 {
		l.SmallBytes = 16 << 20
	}
	if l.LargeBytes == 0 {
		l.LargeBytes = 32 << 20
	}
	if l.Conns == 0 {
		l.Conns = int(openFilesLimit() / 4 * 3)
	}
	if l.GrantsPage == 0 {
		l.GrantsPage = 1000
	}
	if l.Receive == 0 {
		l.Receive = 10 * time.Second
	}
	if l.Call == 0 {
		l.Call = 10 * time.Second
	}
	if l.Renewal == 0 {
		l.Renewal = 10 * time.Second
	}
	if l.Connection == 0 {
		l.Connection = 5 * time.Second
	}
	if l.Drain == 0 {
		l.Drain = 5 * time.Second
	}
	return l
}

const (
	// maxRequestBytes leaves room around fsm.MaxData, so that data a little over it is refused in our words.
	maxRequestBytes = fsm.MaxData + 1<<20 + 64<<10
	maxReplyBytes   = 32 << 20

	pingAfter   = 20 * time.Second // of silence on a connection gRPC pings it: every game server has idle ones
	pingTimeout = 5 * time.Second  // for an answer to gRPC's own pings

	// A window of gRPC's own choosing is measured by a ping for each message, which more than doubles the cost of a renewal. A
	// stream's bounds what a call brings before gRPC reads it; for a larger message gRPC widens it by itself.
	streamWindow = 64 << 10
	connWindow   = 4 << 20

	maxMetadata = 16 << 10 // bytes of a call's

	watchEvery = 250 * time.Millisecond // whether this node leads
	// renewLimit is how long a renewal may take. It is the default class's time of doubt: an answer that comes later renews
	// nothing at most owners', and a game server in doubt asks again.
	renewLimit = 3 * time.Second

	readBuffer = 8 << 10 // bytes, of each connection
)

// Server serves the wire for one node.
type Server struct {
	node     Node
	hub      *Hub
	log      *slog.Logger
	version  string
	limits   Limits
	features func(level uint32) []string // that a cluster of a level has
	fields   profilev1.FieldFeatures
	refusals *refusalTable

	received *byteBudget // of calls that bring data
	small    *byteBudget // of small data on its way into the log
	large    *byteBudget
	reads    *byteBudget // of answers
	conns    *connLimiter

	registrations registrationRate
	fewConns      fewConnections
	cutCalls      *rareLog // that were ended before their message had come

	views       *sharedViews
	comparisons *comparisonBook

	grpc       *grpc.Server
	health     *healthReporter
	streaming  map[string]bool       // methods whose calls may bring more than one message
	handshakes *cluster.HandshakeLog // of those that failed
	plain      bool                  // the port does not speak TLS

	life    context.Context // until Close
	end     context.CancelFunc
	mu      sync.Mutex
	closed  bool
	watched bool
	work    sync.WaitGroup // goroutines; added to only while not closed
}

// profilesService and operator are the two services. They are types of their own since a service has a call Register.
type profilesService struct {
	profilev1.UnimplementedProfilesServer
	*Server
}

type operatorService struct {
	profilev1.UnimplementedClusterServer
	*Server
}

// New makes a server for Config.Node that Serve starts.
func New(c Config) *Server { return NewOn(clusterNode{c.Node}, c) }

// NewOn makes a server for anything that behaves like a node. Config.Node is not looked at.
func NewOn(node Node, c Config) *Server {
	if c.Hub == nil {
		c.Hub = NewHub()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Features == nil {
		c.Features = fsm.Features
	}
	if c.Fields == nil {
		c.Fields = profilev1.Fields
	}
	limits := c.Limits.withDefaults()
	s := &Server{
		node: node, hub: c.Hub, log: c.Log, version: c.Version, limits: limits,
		features: c.Features, fields: c.Fields, refusals: &refusalTable{node: node, log: c.Log},
		received: newByteBudget(limits.Received), small: newByteBudget(limits.SmallBytes), large: newByteBudget(limits.LargeBytes), reads: newByteBudget(limits.ReadBytes),
		conns:    newConnLimiter(limits, c.Log),
		cutCalls: &rareLog{log: c.Log, message: "ends calls that bring too much, or too slowly", counted: "calls"},
		views:    newSharedViews(), comparisons: &comparisonBook{of: map[lock.Incarnation]*pagedComparison{}},
		handshakes: &cluster.HandshakeLog{Port: "clients", Log: c.Log}, plain: c.TLS == nil,
	}
	s.health = &healthReporter{node: node, hub: c.Hub, refusals: s.refusals, service: health.NewServer()}
	s.life, s.end = context.WithCancel(context.Background())
	s.grpc = grpc.NewServer(slices.Concat(c.Options, s.serverOptions(c.TLS))...)
	profilev1.RegisterProfilesServer(s.grpc, profilesService{Server: s})
	profilev1.RegisterClusterServer(s.grpc, operatorService{Server: s})
	grpc_health_v1.RegisterHealthServer(s.grpc, s.health.service)
	reflection.Register(s.grpc)
	s.streaming = streamingMethods(s.grpc)
	s.health.setServing(false)
	return s
}

func (s *Server) serverOptions(secure *tls.Config) []grpc.ServerOption {
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.MaxSendMsgSize(maxReplyBytes),
		grpc.MaxConcurrentStreams(s.limits.Streams),
		grpc.InTapHandle(s.admitCall),
		grpc.ForceServerCodecV2(budgetCodec{encoding.GetCodecV2(encodingproto.Name)}),
		grpc.ConnectionTimeout(s.limits.Connection),
		// Without this a client that pings more than once in five minutes is sent away, with all its streams.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.ReadBufferSize(0), // meteredConn has one
		grpc.MaxHeaderListSize(maxMetadata),
		// A handler that outlived Stop could read tables that are being closed.
		grpc.WaitForHandlers(true),
		grpc.ChainUnaryInterceptor(s.recoverCall, s.boundCall, s.checkCopy),
		grpc.ChainStreamInterceptor(s.recoverStream, s.boundStream),
	}
	secrecy := insecure.NewCredentials()
	if secure != nil {
		secrecy = &loggingCredentials{credentials.NewTLS(secure), s.handshakes}
	}
	return append(options, grpc.Creds(meteringCredentials{secrecy, s}))
}

func streamingMethods(of *grpc.Server) map[string]bool {
	methods := map[string]bool{}
	for service, about := range of.GetServiceInfo() {
		for _, method := range about.Methods {
			methods["/"+service+"/"+method.Name] = method.IsClientStream
		}
	}
	return methods
}

// Alarms are those of this port: too many connections.
func (s *Server) Alarms() []cluster.Alarm { return s.conns.alarms() }

// Serve serves until Close, and then returns nil. It may be called for several listeners.
func (s *Server) Serve(lis net.Listener) error {
	s.mu.Lock()
	watch := !s.watched
	s.watched = true
	s.mu.Unlock()
	if watch {
		s.startWork(func() { s.health.watchHealth(s.life.Done()) })
		s.startWork(func() { s.conns.closeIdleUntil(s.life.Done()) })
	}
	port := peerListener{Listener: lis, share: s.limits.ReadShare, open: s.conns}
	if s.plain {
		port.plain = s.handshakes
	}
	err := s.grpc.Serve(port) // closes lis when it comes after Close
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Close tells every stream goodbye, lets calls that are under way end, for as long as ctx and the limit allow, and then
// ends the rest. When it returns the node's tables are not read any more, so the node may be closed.
func (s *Server) Close(ctx context.Context) {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		s.health.service.Shutdown()
		s.hub.shutDown(&profilev1.StreamEnd{Leader: s.refusals.leaderHint()})
		s.end()
		s.comparisons.closeAll()
	}

	// GracefulStop alone would wait for a stream whose client does not take its goodbye.
	ctx, cancel := context.WithTimeout(ctx, s.limits.Drain)
	defer cancel()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.grpc.GracefulStop()
	}()
	select {
	case <-drained:
	case <-ctx.Done():
		s.grpc.Stop()
		<-drained
	}
	s.work.Wait()
}

// startWork runs work in a goroutine that Close joins; false: it is too late.
func (s *Server) startWork(work func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.work.Go(work)
	return true
}
