package sim

import (
	"context"

	"math/rand/v2"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/memnet"
)

// postman stands between every game server and the nodes, on the game server's machine. He passes on what he is given, and
// keeps a copy of each request, which he delivers again seconds or minutes later, to any node and in any order. Beside the
// copies he sends forgeries, which no node may carry out; see forge.go.
type postman struct {
	world *World
	host  memnet.Host
	life  context.Context
	die   context.CancelFunc
	late  sync.WaitGroup

	mu      sync.Mutex
	draw    *rand.Rand
	kept    []letter
	nodes   map[string]*grpc.ClientConn // by address, from his own machine
	boxes   map[string]*box             // by process and address
	lost    map[asked]forgery           // requests whose first answer was lost, and what the next attempt meets
	again   int                         // copies that were delivered
	refused [forgeries]int              // forgeries that a node refused
	misled  int                         // attempts that met a forgery's refusal
	closed  bool
}

// letter is one copy of a request.
type letter struct {
	method string
	body   frame
	forged bool
	kind   forgery // if it is forged
}

// box is where one game server's requests for one node are taken.
type box struct {
	listener *bufconn.Listener
	server   *grpc.Server
	onward   *grpc.ClientConn
	served   chan struct{}
}

// frame is a message that nobody looks into.
type frame []byte

type frames struct{}

func (frames) Marshal(v any) ([]byte, error) { return *v.(*frame), nil }
func (frames) Name() string                  { return "proto" }
func (frames) Unmarshal(data []byte, v any) error {
	*v.(*frame) = append(frame(nil), data...)
	return nil
}

func newPostman(w *World, draw *rand.Rand) *postman {
	p := &postman{
		world: w, host: w.network.Host("postman"), draw: draw,
		nodes: map[string]*grpc.ClientConn{}, boxes: map[string]*box{}, lost: map[asked]forgery{},
	}
	p.life, p.die = context.WithCancel(context.Background())
	return p
}

func onward(addr string, host memnet.Host) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return host.Dial(ctx, "tcp", addr) }),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(frames{}), grpc.MaxCallRecvMsgSize(8<<20)),
		grpc.WithIdleTimeout(0), grpc.WithDisableRetry(),
	)
}

// dial is how a game server reaches a node through him.
func (p *postman) dial(process string, host memnet.Host) func(ctx context.Context, addr string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		b, err := p.box(process, addr, host)
		if err != nil {
			return nil, err
		}
		return b.listener.DialContext(ctx)
	}
}

func (p *postman) box(process, addr string, host memnet.Host) (*box, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, net.ErrClosed
	}
	name := process + " " + addr
	if b := p.boxes[name]; b != nil {
		return b, nil
	}
	conn, err := onward(addr, host)
	if err != nil {
		return nil, err
	}
	b := &box{listener: bufconn.Listen(1 << 20), onward: conn, served: make(chan struct{})}
	b.server = grpc.NewServer(grpc.ForceServerCodec(frames{}), grpc.MaxRecvMsgSize(8<<20),
		grpc.UnknownServiceHandler(func(_ any, in grpc.ServerStream) error { return p.pass(in, conn) }))
	go func() {
		defer close(b.served)
		_ = b.server.Serve(b.listener)
	}()
	p.boxes[name] = b
	return b, nil
}

// pass hands one call on, and its answer back.
func (p *postman) pass(in grpc.ServerStream, conn *grpc.ClientConn) error {
	method, _ := grpc.MethodFromServerStream(in)
	if method == profilev1.Profiles_Live_FullMethodName {
		return p.passStream(in, conn, method)
	}
	var question frame
	if err := in.RecvMsg(&question); err != nil {
		return err
	}
	answer, err := p.passUnary(in.Context(), conn, letter{method: method, body: question})
	if err != nil {
		return err
	}
	return in.SendMsg(&answer)
}

func (p *postman) passStream(in grpc.ServerStream, conn *grpc.ClientConn, method string) error {
	ctx, cancel := context.WithCancel(in.Context())
	defer cancel()
	out, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	go func() { // ends with the stream
		for {
			var up frame
			if in.RecvMsg(&up) != nil || out.SendMsg(&up) != nil {
				_ = out.CloseSend()
				return
			}
			p.keepForgeries(letter{method: profilev1.Profiles_Renew_FullMethodName, body: up})
		}
	}()
	for {
		var down frame
		if err := out.RecvMsg(&down); err != nil {
			return err
		}
		if err := in.SendMsg(&down); err != nil {
			return err
		}
	}
}

// keep copies a request, may send the copy out later, and forgeries of it.
func (p *postman) keep(l letter) {
	p.mu.Lock()
	if !p.closed {
		p.kept = append(p.kept, l)
		p.sendLater(l, p.draw.IntN(3))
	}
	p.mu.Unlock()
	p.keepForgeries(l)
}

// keepForgeries may forge copies of a request, and send them out later. A renewal is sent as a forgery only: another copy
// of it would be a game server that lives on.
func (p *postman) keepForgeries(l letter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	for _, forged := range p.forgeSome(l) {
		p.kept = append(p.kept, forged)
		p.sendLater(forged, 1+p.draw.IntN(2))
	}
}

// sendLater sends so many copies out, each after a while. The caller holds p.mu.
func (p *postman) sendLater(l letter, copies int) {
	for range copies {
		wait := upTo(p.draw, 4*time.Second)
		if p.draw.IntN(3) == 0 {
			wait = upTo(p.draw, 2*time.Minute)
		}
		node := p.world.nodes[p.draw.IntN(len(p.world.nodes))].clientsAddress()
		p.late.Go(func() {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			select {
			case <-timer.C:
				p.deliver(l, node)
			case <-p.life.Done():
			}
		})
	}
}

// deliver sends a copy to a node. Nobody waits for the answer; that of a forgery must be a refusal.
func (p *postman) deliver(l letter, addr string) {
	p.mu.Lock()
	conn := p.nodes[addr]
	if conn == nil && !p.closed {
		if fresh, err := onward(addr, p.host); err == nil {
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
	var answer frame
	err := conn.Invoke(ctx, l.method, &l.body, &answer)
	if l.forged {
		p.judgeForged(l, addr, err)
	}
}

// deliverAll sends every copy that he ever kept once more to every node, in any order.
func (p *postman) deliverAll() {
	p.mu.Lock()
	kept := append([]letter(nil), p.kept...)
	p.draw.Shuffle(len(kept), func(i, j int) { kept[i], kept[j] = kept[j], kept[i] })
	p.mu.Unlock()
	p.world.fault("the postman delivers all %d requests again", len(kept))
	var out sync.WaitGroup
	for _, n := range p.world.nodes {
		out.Go(func() {
			for _, l := range kept {
				p.deliver(l, n.clientsAddress())
			}
		})
	}
	out.Wait()
}

func (p *postman) close() {
	p.mu.Lock()
	p.closed = true
	boxes, nodes := p.boxes, p.nodes
	p.mu.Unlock()
	p.die()
	p.late.Wait()
	for _, b := range boxes {
		b.server.Stop()
		_ = b.onward.Close()
		<-b.served
	}
	for _, conn := range nodes {
		_ = conn.Close()
	}
	p.world.network.Crash("postman")
}
