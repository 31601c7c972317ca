package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	openTimeout     = 2 * time.Second // to dial, shake hands and send or read the first frame
	maxOpeningConns = 128             // connections that have not said yet whom they are meant for
	maxConns        = 4096
	acceptPause     = 5 * time.Millisecond
	maxAcceptPause  = time.Second
)

// transport is the one port of a node that other nodes use: raft's connections, and questions of one node to another.
type transport struct {
	id             string
	address        string             // advertised
	tls            func() *tls.Config // for the next connection; nil: plain
	dial           func(ctx context.Context, network, addr string) (net.Conn, error)
	log            *slog.Logger
	handshakes     HandshakeLog
	serveQuestions func(c net.Conn, strict bool) // answers a peer's questions until the connection ends

	listener   net.Listener
	ctx        context.Context // ends with close
	cancel     context.CancelFunc
	goroutines sync.WaitGroup
	raftConns  chan net.Conn // accepted, for raft

	mu        sync.Mutex
	cluster   string // hex; "" before this node belongs to one
	openConns map[net.Conn]struct{}
	closed    bool
}

// listenForNodes takes the port. Connections wait until accept runs.
func listenForNodes(c Config, id string) (*transport, error) {
	listener, err := c.Listen("tcp", c.Bind)
	if err != nil {
		return nil, fmt.Errorf("listen for nodes on %s: %w", c.Bind, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t := &transport{
		id: id, address: c.Advertise, tls: c.TLS, dial: c.Dial, log: c.Log, listener: listener,
		handshakes: HandshakeLog{Port: "nodes", Log: c.Log},
		ctx:        ctx, cancel: cancel, raftConns: make(chan net.Conn), openConns: map[net.Conn]struct{}{},
	}
	if t.address == "" {
		t.address = listener.Addr().String()
	}
	return t, nil
}

// setCluster makes the transport this cluster's: from here raft's connections that name it are let in.
func (t *transport) setCluster(cluster string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cluster = cluster
}

func (t *transport) clusterID() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cluster
}

// acceptConns runs until the transport is closed. A connection that is slow to say what it is holds up nobody.
func (t *transport) acceptConns() {
	opening := make(chan struct{}, maxOpeningConns)
	pause := acceptPause
	for {
		c, err := t.listener.Accept()
		if err != nil {
			if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			t.log.Warn("accept connection of a node", "error", err)
			select {
			case <-t.ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, maxAcceptPause)
			continue
		}
		pause = acceptPause
		select {
		case opening <- struct{}{}:
		default:
			c.Close()
			continue
		}
		if !t.trackConn(c) {
			c.Close()
			<-opening
			continue
		}
		t.goroutines.Go(func() {
			defer t.untrackConn(c)
			if err := setKeepAlive(c); err != nil {
				t.log.Warn("set keepalive", "error", err)
			}
			c.SetDeadline(time.Now().Add(openTimeout))
			secured, o, strict, err := t.readOpeningFrame(c)
			<-opening
			if err != nil {
				t.log.Debug("refused connection of a node", "from", c.RemoteAddr(), "error", err)
				return
			}
			secured.SetDeadline(time.Time{})
			t.handConn(secured, o.kind, strict)
		})
	}
}

// readOpeningFrame finds out what a new connection is, and whether it may be.
func (t *transport) readOpeningFrame(c net.Conn) (net.Conn, openingFrame, bool, error) {
	if t.tls != nil {
		secured := tls.Server(c, t.tls())
		if err := secured.HandshakeContext(t.ctx); err != nil {
			t.handshakes.LogFailure(c.RemoteAddr(), err)
			return nil, openingFrame{}, false, err
		}
		c = secured
	}
	o, err := readOpening(c)
	if t.tls == nil && errors.Is(err, ErrSpeaksTLS) {
		t.handshakes.LogFailure(c.RemoteAddr(), err)
	}
	if err != nil {
		return nil, o, false, err
	}
	cluster := t.clusterID()
	if o.cluster != "" && o.cluster != cluster {
		return nil, o, false, fmt.Errorf("meant for cluster %s, this is %q", o.cluster, cluster)
	}
	if o.target != "" && o.target != t.id {
		return nil, o, false, fmt.Errorf("meant for node %s, this is %s", o.target, t.id)
	}
	strict := o.cluster != "" && o.target != ""
	if o.kind == kindPeer || o.kind == kindRaft && strict {
		return c, o, strict, nil
	}
	return nil, o, false, errWireFormat
}

// handConn passes a connection to whom it is for, and returns when it is done with.
func (t *transport) handConn(c net.Conn, k connKind, strict bool) {
	if k == kindPeer {
		t.serveQuestions(c, strict)
		return
	}
	done := make(chan struct{})
	var once sync.Once
	stream := &raftConn{Conn: c, incoming: true, onClose: func(*raftConn) { once.Do(func() { close(done) }) }}
	select {
	case t.raftConns <- stream:
	case <-t.ctx.Done():
		return
	}
	select {
	case <-done:
	case <-t.ctx.Done():
	}
}

// dialNode opens a connection to another node and says whom it is meant for.
func (t *transport) dialNode(ctx context.Context, address string, o openingFrame) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	stop := context.AfterFunc(t.ctx, cancel)
	defer stop()
	c, err := t.dial(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("reach node at %s: %w", address, err)
	}
	if !t.trackConn(c) {
		c.Close()
		return nil, ErrClosed
	}
	secured, err := t.sendOpeningFrame(ctx, c, address, o)
	if err != nil {
		t.untrackConn(c)
		return nil, fmt.Errorf("reach node at %s: %w", address, err)
	}
	return &raftConn{Conn: secured, onClose: func(*raftConn) { t.untrackConn(c) }}, nil
}

func (t *transport) sendOpeningFrame(ctx context.Context, c net.Conn, address string, o openingFrame) (net.Conn, error) {
	if err := setKeepAlive(c); err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	if t.tls != nil {
		settings := t.tls().Clone()
		if settings.ServerName == "" {
			settings.ServerName, _, _ = net.SplitHostPort(address)
		}
		secured := tls.Client(c, settings)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		c = secured
	}
	o.sender = t.id
	if err := o.write(c); err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Time{})
}

// trackConn notes a connection, so that shut can end it; false: too late, or too many.
func (t *transport) trackConn(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.openConns) >= maxConns {
		return false
	}
	t.openConns[c] = struct{}{}
	return true
}

func (t *transport) untrackConn(c net.Conn) {
	t.mu.Lock()
	delete(t.openConns, c)
	t.mu.Unlock()
	c.Close()
}

// closeConns ends every connection and lets none begin: when it returns nothing that this node says is heard any more. It
// waits for nobody.
func (t *transport) closeConns() {
	t.mu.Lock()
	open := t.openConns
	t.openConns = map[net.Conn]struct{}{}
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.listener.Close()
	for c := range open {
		c.Close()
	}
}

// close silences the transport and waits for its connections' goroutines.
func (t *transport) close() {
	t.closeConns()
	t.goroutines.Wait()
}
