package cluster_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/memnet"
	"github.com/profilenode/profilenode/lock"
)

// pingPort is the ping port of a game server's process.
type pingPort struct {
	network *memnet.Network
	at      string

	mu       sync.Mutex
	says     []byte
	listener net.Listener
	serving  sync.WaitGroup
	asked    int
}

func openPort(t *testing.T, network *memnet.Network, host string) *pingPort {
	t.Helper()
	p := &pingPort{network: network, at: host + ":6000"}
	p.open(t)
	t.Cleanup(p.close)
	return p
}

func (p *pingPort) open(t *testing.T) {
	t.Helper()
	host, _, _ := net.SplitHostPort(p.at)
	l, err := p.network.Host(host).Listen("tcp", p.at)
	if err != nil {
		t.Fatal(err)
	}
	p.listener = l
	p.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			says := p.says
			p.asked++
			p.mu.Unlock()
			_, _ = c.Write(says)
			_ = c.Close()
		}
	})
}

func (p *pingPort) say(inc lock.Incarnation) {
	frame := lock.PingFrame(inc)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.says = frame[:]
}

func (p *pingPort) close() {
	_ = p.listener.Close()
	p.serving.Wait()
}

func (p *pingPort) answers() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// wall stands between the nodes and the game servers' hosts.
type wall struct {
	mu   sync.Mutex
	rule func(from int, address string) error // nil: everything passes
}

func (w *wall) set(rule func(from int, address string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rule = rule
}

func (w *wall) before(i int, dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		w.mu.Lock()
		rule := w.rule
		w.mu.Unlock()
		if rule != nil && strings.HasPrefix(address, "gs") {
			if err := rule(i, address); err != nil {
				return nil, err
			}
		}
		return dial(ctx, network, address)
	}
}

var errLost = errors.New("lost on the way")

func refuseAll(int, string) error { return syscall.ECONNREFUSED }
func loseAll(int, string) error   { return errLost }

// takeover is one node, a game server with a ping port that owns a profile, and one that waits for it.
type takeover struct {
	t      *testing.T
	n      *cluster.Node
	wall   *wall
	port   *pingPort
	log    *lines
	owner  *server
	waiter *server
	stream *cluster.Stream
	dead   map[lock.Incarnation]bool // by gossip
	deadMu sync.Mutex
}

type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// onTakeover runs a story in virtual time, begun with the owner reached and its stream open.
func onTakeover(t *testing.T, host string, story func(x *takeover)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		x := &takeover{t: t, wall: &wall{}, log: &lines{}, dead: map[lock.Incarnation]bool{}}
		c := clustertest.Start(t, 1, func(i int, c *cluster.Config) { x.configure(i, c) })
		c.Ready()
		x.begin(c, c.Nodes[c.Leader()], host)
		story(x)
	})
}

func (x *takeover) configure(i int, c *cluster.Config) {
	c.Dial = x.wall.before(i, c.Dial)
	c.Log = slog.New(slog.NewTextHandler(x.log, nil))
	c.SeemsDead = func(inc lock.Incarnation) bool {
		x.deadMu.Lock()
		defer x.deadMu.Unlock()
		return x.dead[inc]
	}
}

func (x *takeover) begin(c *clustertest.Cluster, n *cluster.Node, host string) {
	x.t.Helper()
	x.n, x.port = n, openPort(x.t, c.Network, host)
	nonce := sha256.Sum256([]byte("owner"))
	r := propose(x.t, n, fsm.NewCommand(nil, &fsm.Register{Name: "owner", Where: "rack 7", Nonce: nonce[:16], Ping: x.port.at}))
	x.owner = &server{inc: lock.Incarnation(r.Token), nonce: nonce[:16]}
	x.port.say(x.owner.inc)
	x.waiter = register(x.t, n, "waiter")
	propose(x.t, n, x.owner.do(&fsm.StartSession{Store: "test", Key: "p"}))
	if r := propose(x.t, n, x.waiter.do(&fsm.StartSession{Store: "test", Key: "p"})); r.Code != fsm.Queued {
		x.t.Fatalf("a session on an owned profile: code %d, want Queued", r.Code)
	}
	renew(x.t, n, x.owner, x.waiter)
	x.attend("gs")
}

// attend opens a stream of the owner, from a host, and lets the node do what it does then.
func (x *takeover) attend(host string) {
	x.stream = &cluster.Stream{Incarnation: x.owner.inc, PeerHost: host}
	x.n.AddStream(x.stream)
	time.Sleep(10 * time.Millisecond)
}

// end ends the stream as the peer's kernel does when the process dies.
func (x *takeover) end() { x.n.NoteStreamEnd(x.stream, true) }

// pass lets time go by, with the waiter alive; while is asked each 50 ms.
func (x *takeover) pass(d time.Duration, while func()) {
	x.t.Helper()
	for until := time.Now().Add(d); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		renew(x.t, x.n, x.waiter)
		if while != nil {
			while()
		}
	}
}

// gone waits for the expiry, and that it is this one, after at least and within at most so long from a moment; the
// waiter must own the profile then.
func (x *takeover) gone(ground lock.Ground, since time.Time, least, most time.Duration) {
	x.t.Helper()
	for alive(x.t, x.n, x.owner.inc) {
		if time.Since(since) > most {
			x.t.Fatalf("alive after %v, want gone within %v\n%s", time.Since(since), most, x.log)
		}
		renew(x.t, x.n, x.waiter)
		time.Sleep(5 * time.Millisecond)
	}
	if passed := time.Since(since); passed < least {
		x.t.Errorf("gone after %v, want at least %v\n%s", passed, least, x.log)
	}
	view, err := x.n.View()
	if err != nil {
		x.t.Fatal(err)
	}
	defer view.Close()
	row, _, err := view.Server(x.owner.inc)
	if err != nil {
		x.t.Fatal(err)
	}
	if row.Ground != ground {
		x.t.Errorf("the ground is %v, want %v\n%s", row.Ground, ground, x.log)
	}
	time.Sleep(20 * time.Millisecond)
	if got := owner(x.t, x.n, "p"); got != x.waiter.inc {
		x.t.Errorf("20 ms after the expiry the profile is of %d, want of the waiter %d", got, x.waiter.inc)
	}
}

func (x *takeover) lives(after string) {
	x.t.Helper()
	if !alive(x.t, x.n, x.owner.inc) {
		x.t.Fatalf("the owner is gone %s\n%s", after, x.log)
	}
}

const soon = 350 * time.Millisecond // two refusals and what it takes to act on them

// evidently is when evidence must have been acted on.
var evidently = lock.DefaultTiming().Evidence + 2*lock.DefaultDetector().TickPeriod

// onThree runs a story on three nodes, of which the first leader is killed when the story says so.
func onThree(t *testing.T, story func(x *takeover, deposed func() (opened time.Time))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		x := &takeover{t: t, wall: &wall{}, log: &lines{}, dead: map[lock.Incarnation]bool{}}
		c := clustertest.Start(t, 3, func(i int, c *cluster.Config) { x.configure(i, c) })
		c.Ready()
		first := c.Leader()
		x.begin(c, c.Nodes[first], "gs")
		story(x, func() time.Time {
			at := time.Now() // it hands the lead over before it ends
			c.Kill(first)
			x.n = c.Nodes[c.Leader()]
			return at
		})
	})
}
