package sim

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/memnet"
	"github.com/profilenode/profilenode/internal/wire"
)

// reorderingProxy stands between every game server and the nodes, on the game server's machine. It passes on each request, and
// keeps a copy of each request, which it delivers again seconds or minutes later, to any node and in any order. Beside the
// copies it sends forged ones, which no node may carry out; see forged_copy.go.
type reorderingProxy struct {
	world *World
	host  memnet.Host
	life  context.Context
	die   context.CancelFunc
	late  sync.WaitGroup

	mu      sync.Mutex
	draw    *rand.Rand
	kept    []requestCopy
	nodes   map[string]*grpc.ClientConn // by address, from its own machine
	ports   map[string]*proxyPort       // by process and address
	lost    map[misledCall]forgery      // requests whose first answer was lost, and how the next attempt is refused
	again   int                         // copies that were delivered
	refused [forgeries]int              // forgeries that a node refused
	misled  int                         // attempts that met a forgery's refusal
	pages   int                         // of lists of grants that were delivered twice
	prompt  bool                        // no page is late
	closed  bool
}

// requestCopy is one copy of a request.
type requestCopy struct {
	method string
	body   rawFrame
	forged bool
	kind   forgery // if it is forged
}

// proxyPort takes the requests of one game server for one node.
type proxyPort struct {
	listener *bufconn.Listener
	server   *grpc.Server
	onward   *grpc.ClientConn
	served   chan struct{}
}

// rawFrame is a message that is passed on without decoding.
type rawFrame []byte

type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*rawFrame), nil }
func (rawCodec) Name() string                  { return "proto" }
func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*rawFrame) = append(rawFrame(nil), data...)
	return nil
}

func newReorderingProxy(w *World, draw *rand.Rand) *reorderingProxy {
	p := &reorderingProxy{
		world: w, host: w.network.Host("proxy"), draw: draw,
		nodes: map[string]*grpc.ClientConn{}, ports: map[string]*proxyPort{}, lost: map[misledCall]forgery{},
	}
	p.life, p.die = context.WithCancel(context.Background())
	return p
}

func dialNode(addr string, host memnet.Host) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return host.Dial(ctx, "tcp", addr) }),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{}), grpc.MaxCallRecvMsgSize(8<<20)),
		grpc.WithIdleTimeout(0), grpc.WithDisableRetry(),
		// gRPC by itself waits up to two minutes before it connects again to a node that was down, and a game server behind the
		// proxy would miss the bounds of recovery.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: wire.ConnectLimit,
		}),
	)
}

// dialThrough is the Dial of a game server, which reaches nodes through the proxy.
func (p *reorderingProxy) dialThrough(process string, host memnet.Host) func(ctx context.Context, addr string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		b, err := p.portFor(process, addr, host)
		if err != nil {
			return nil, err
		}
		return b.listener.DialContext(ctx)
	}
}

func (p *reorderingProxy) portFor(process, addr string, host memnet.Host) (*proxyPort, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, net.ErrClosed
	}
	name := process + " " + addr
	if b := p.ports[name]; b != nil {
		return b, nil
	}
	conn, err := dialNode(addr, host)
	if err != nil {
		return nil, err
	}
	b := &proxyPort{listener: bufconn.Listen(1 << 20), onward: conn, served: make(chan struct{})}
	b.server = grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.MaxRecvMsgSize(8<<20),
		grpc.UnknownServiceHandler(func(_ any, in grpc.ServerStream) error { return p.passCall(in, conn) }))
	go func() {
		defer close(b.served)
		_ = b.server.Serve(b.listener)
	}()
	p.ports[name] = b
	return b, nil
}

// passCall hands one call on, and its answer back.
func (p *reorderingProxy) passCall(in grpc.ServerStream, conn *grpc.ClientConn) error {
	method, _ := grpc.MethodFromServerStream(in)
	if method == profilev1.Profiles_Live_FullMethodName {
		return p.passStreamCall(in, conn, method)
	}
	var question rawFrame
	if err := in.RecvMsg(&question); err != nil {
		return err
	}
	answer, err := p.passUnaryCall(in.Context(), conn, requestCopy{method: method, body: question})
	if err != nil {
		return err
	}
	return in.SendMsg(&answer)
}

func (p *reorderingProxy) passStreamCall(in grpc.ServerStream, conn *grpc.ClientConn, method string) error {
	ctx, cancel := context.WithCancel(in.Context())
	defer cancel()
	out, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	go func() { // ends with the stream
		for {
			var up rawFrame
			if in.RecvMsg(&up) != nil || out.SendMsg(&up) != nil {
				_ = out.CloseSend()
				return
			}
			p.keepForgeries(requestCopy{method: profilev1.Profiles_Renew_FullMethodName, body: up})
		}
	}()
	var again []rawFrame // pages that are delivered once more, behind later messages
	for {
		var down rawFrame
		if err := out.RecvMsg(&down); err != nil {
			return err
		}
		copies, wait := p.drawPage(down)
		if !wire.SleepUnlessDone(ctx, wait) {
			return ctx.Err()
		}
		if err := in.SendMsg(&down); err != nil {
			return err
		}
		for _, late := range again {
			if err := in.SendMsg(&late); err != nil {
				return err
			}
		}
		again = again[:0]
		for range copies {
			again = append(again, down)
		}
	}
}

// drawPage says how often a page of a list of grants is delivered once more, and how long it is late. The messages of a
// stream are not put into another order: the nodes rely on theirs.
func (p *reorderingProxy) drawPage(down rawFrame) (copies int, late time.Duration) {
	event := &profilev1.Event{}
	if proto.Unmarshal(down, event) != nil || !event.GetRenewed().GetDiffers() {
		return 0, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	copies = 1 + p.draw.IntN(2)
	p.pages += copies
	if p.draw.IntN(4) == 0 {
		late = drawDuration(p.draw, 2*time.Second)
	}
	if p.prompt {
		late = 0
	}
	return copies, late
}

// setPrompt says whether pages are late no more. Two late pages of one list take longer than a session may go unconfirmed, so
// they are a fault like others, and are undone with the others.
func (p *reorderingProxy) setPrompt(prompt bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.prompt = prompt
}

// keepCopy keeps a copy of a request, and may send copies and forgeries of it later.
func (p *reorderingProxy) keepCopy(l requestCopy) {
	p.mu.Lock()
	if !p.closed {
		p.kept = append(p.kept, l)
		p.sendCopiesLater(l, p.draw.IntN(3))
	}
	p.mu.Unlock()
	p.keepForgeries(l)
}

// keepForgeries may forge copies of a request, and send them later. A renewal is sent as a forgery only: another true copy of
// it would keep a game server alive that is not.
func (p *reorderingProxy) keepForgeries(l requestCopy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	for _, forged := range p.forgeSomeCopies(l) {
		p.kept = append(p.kept, forged)
		p.sendCopiesLater(forged, 1+p.draw.IntN(2))
	}
}

// sendCopiesLater sends so many copies out, each after a while. The caller holds p.mu.
func (p *reorderingProxy) sendCopiesLater(l requestCopy, copies int) {
	for range copies {
		wait := drawDuration(p.draw, 4*time.Second)
		if p.draw.IntN(3) == 0 {
			wait = drawDuration(p.draw, 2*time.Minute)
		}
		node := p.world.nodes[p.draw.IntN(len(p.world.nodes))].clientsAddress()
		p.late.Go(func() {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			select {
			case <-timer.C:
				p.deliverCopy(l, node)
			case <-p.life.Done():
			}
		})
	}
}

// deliverCopy sends a copy to a node. Its answer reaches no game server; the answer to a forgery must be a refusal.
func (p *reorderingProxy) deliverCopy(l requestCopy, addr string) {
	p.mu.Lock()
	conn := p.nodes[addr]
	if conn == nil && !p.closed {
		if fresh, err := dialNode(addr, p.host); err == nil {
			conn = fresh
			p.nodes[addr] = conn
		}
	}
	p.again++
	p.mu.Unlock()
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(p.life, 3*time.Second)
	defer cancel()
	var answer rawFrame
	err := conn.Invoke(ctx, l.method, &l.body, &answer)
	if l.forged {
		p.checkForgedAnswer(l, addr, err)
	}
}

// deliverAllKept sends every kept copy once more to every node, in any order.
func (p *reorderingProxy) deliverAllKept() {
	p.mu.Lock()
	kept := append([]requestCopy(nil), p.kept...)
	p.draw.Shuffle(len(kept), func(i, j int) { kept[i], kept[j] = kept[j], kept[i] })
	p.mu.Unlock()
	p.world.logFault("the proxy delivers all %d requests again", len(kept))
	var out sync.WaitGroup
	for _, n := range p.world.nodes {
		out.Go(func() {
			for _, l := range kept {
				p.deliverCopy(l, n.clientsAddress())
			}
		})
	}
	out.Wait()
}

func (p *reorderingProxy) close() {
	p.mu.Lock()
	p.closed = true
	ports, nodes := p.ports, p.nodes
	p.mu.Unlock()
	p.die()
	p.late.Wait()
	for _, b := range ports {
		b.server.Stop()
		_ = b.onward.Close()
		<-b.served
	}
	for _, conn := range nodes {
		_ = conn.Close()
	}
	p.world.network.Crash("proxy")
}
