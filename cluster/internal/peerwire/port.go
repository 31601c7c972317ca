// Package peerwire is the port on which the nodes of a cluster reach each other. One listener takes two kinds of
// connections: those of raft, and those on which one node asks another a question. The first frame of each names its kind
// and its target (opening_frame.go), so that a connection never reaches another node than it was meant for.
//
// Port accepts and dials connections. NewRaftTransport gives raft its share of them. Conn asks a question, and Answers
// holds the node's own answers.
package peerwire

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
	maxOpeningConns = 128             // connections that have not sent their first frame yet
	maxConns        = 4096
	acceptPause     = 5 * time.Millisecond
	maxAcceptPause  = time.Second
)

// Config holds the settings of a Port.
type Config struct {
	ID        string             // of this node
	ProcessID string             // random, of this process
	Bind      string             // host:port to listen on
	Advertise string             // address that other nodes dial; "": the bound address
	TLS       func() *tls.Config // asked for each connection, from either end; nil: plain
	Listen    func(network, addr string) (net.Listener, error)
	Dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	Log       *slog.Logger
}

// Port is the one port of a node that other nodes use.
type Port struct {
	config     Config
	handshakes HandshakeLog
	listener   net.Listener
	ctx        context.Context // ends with Close
	cancel     context.CancelFunc
	goroutines sync.WaitGroup
	raftConns  chan net.Conn // accepted, for raft
	contacts   raftContacts

	mu        sync.Mutex
	cluster   string // hex; "" before this node belongs to one
	openConns map[net.Conn]struct{}
	moved     movedNodes
	closed    bool
}

// Listen takes the port. Connections wait until AcceptConns runs.
func Listen(c Config) (*Port, error) {
	listener, err := c.Listen("tcp", c.Bind)
	if err != nil {
		return nil, fmt.Errorf("listen for nodes on %s: %w", c.Bind, err)
	}
	if c.Advertise == "" {
		c.Advertise = listener.Addr().String()
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Port{
		config: c, listener: listener, handshakes: HandshakeLog{Port: "nodes", Log: c.Log},
		ctx: ctx, cancel: cancel, raftConns: make(chan net.Conn), openConns: map[net.Conn]struct{}{},
	}, nil
}

// Addr returns the address on which the port listens.
func (p *Port) Addr() net.Addr { return p.listener.Addr() }

// Advertised returns the address that other nodes dial.
func (p *Port) Advertised() string { return p.config.Advertise }

// SetCluster names the cluster of this node. From then on raft's connections that name it are accepted.
func (p *Port) SetCluster(cluster string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cluster = cluster
}

func (p *Port) clusterID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cluster
}

// AcceptConns accepts connections until the port is closed, and answers questions with the given answers. A connection
// that is slow to send its first frame delays no other.
func (p *Port) AcceptConns(answers Answers) {
	opening := make(chan struct{}, maxOpeningConns)
	pause := acceptPause
	for {
		c, err := p.listener.Accept()
		if err != nil {
			if p.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			p.config.Log.Warn("accept connection of a node", "error", err)
			select {
			case <-p.ctx.Done():
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
		if !p.trackConn(c) {
			c.Close()
			<-opening
			continue
		}
		p.goroutines.Go(func() {
			defer p.untrackConn(c)
			if err := setKeepAlive(c); err != nil {
				p.config.Log.Warn("set keepalive", "error", err)
			}
			c.SetDeadline(time.Now().Add(openTimeout))
			secured, o, strict, err := p.readOpeningFrame(c)
			<-opening
			if err != nil {
				p.config.Log.Debug("refused connection of a node", "from", c.RemoteAddr(), "error", err)
				return
			}
			secured.SetDeadline(time.Time{})
			if o.kind == kindPeer {
				answers.serveConn(secured, strict)
				return
			}
			p.handToRaft(secured)
		})
	}
}

// readOpeningFrame reads the first frame of a new connection and checks its target. strict says that the frame names both
// this cluster and this node.
func (p *Port) readOpeningFrame(c net.Conn) (net.Conn, openingFrame, bool, error) {
	if p.config.TLS != nil {
		secured := tls.Server(c, p.config.TLS())
		if err := secured.HandshakeContext(p.ctx); err != nil {
			p.handshakes.LogFailure(c.RemoteAddr(), err)
			return nil, openingFrame{}, false, err
		}
		c = secured
	}
	o, err := readOpening(c)
	if p.config.TLS == nil && errors.Is(err, ErrSpeaksTLS) {
		p.handshakes.LogFailure(c.RemoteAddr(), err)
	}
	if err != nil {
		return nil, o, false, err
	}
	cluster := p.clusterID()
	if o.cluster != "" && o.cluster != cluster {
		return nil, o, false, fmt.Errorf("meant for cluster %s, this is %q", o.cluster, cluster)
	}
	if o.target != "" && o.target != p.config.ID {
		return nil, o, false, fmt.Errorf("meant for node %s, this is %s", o.target, p.config.ID)
	}
	if o.process != "" && o.process != p.config.ProcessID {
		return nil, o, false, fmt.Errorf("meant for process %s, this is %s", o.process, p.config.ProcessID)
	}
	strict := o.cluster != "" && o.target != ""
	if o.kind == kindPeer || o.kind == kindRaft && strict {
		return c, o, strict, nil
	}
	return nil, o, false, errWireFormat
}

// handToRaft passes a connection to raft, and returns when raft has closed it.
func (p *Port) handToRaft(c net.Conn) {
	done := make(chan struct{})
	var once sync.Once
	stream := &raftConn{Conn: c, incoming: true, onClose: func(*raftConn) { once.Do(func() { close(done) }) }}
	select {
	case p.raftConns <- stream:
	case <-p.ctx.Done():
		return
	}
	select {
	case <-done:
	case <-p.ctx.Done():
	}
}

// dialNode opens a connection to another node and sends the first frame. A target that has moved is dialed where it is now,
// and the frame names its process.
func (p *Port) dialNode(ctx context.Context, address string, o openingFrame) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	place, moved := p.placeOf(o.target, address)
	address, o.process = place.Address, place.ProcessID
	defer cancel()
	stop := context.AfterFunc(p.ctx, cancel)
	defer stop()
	c, err := p.config.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("reach node at %s: %w", address, err)
	}
	if !p.trackConn(c) || moved && !p.trackMovedConn(c, o.target, place) {
		p.untrackConn(c)
		return nil, fmt.Errorf("reach node at %s: %w", address, net.ErrClosed)
	}
	secured, err := p.sendOpeningFrame(ctx, c, address, o)
	if err != nil {
		p.untrackConn(c)
		return nil, fmt.Errorf("reach node at %s: %w", address, err)
	}
	return &raftConn{Conn: secured, onClose: func(*raftConn) { p.untrackConn(c) }}, nil
}

func (p *Port) sendOpeningFrame(ctx context.Context, c net.Conn, address string, o openingFrame) (net.Conn, error) {
	if err := setKeepAlive(c); err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	if p.config.TLS != nil {
		settings := p.config.TLS().Clone()
		if settings.ServerName == "" {
			settings.ServerName, _, _ = net.SplitHostPort(address)
		}
		secured := tls.Client(c, settings)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		c = secured
	}
	o.sender = p.config.ID
	if err := o.write(c); err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Time{})
}

// trackConn records a connection, so that CloseConns can close it. It returns false if the port is closed or has too many
// connections.
func (p *Port) trackConn(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.openConns) >= maxConns {
		return false
	}
	p.openConns[c] = struct{}{}
	return true
}

func (p *Port) untrackConn(c net.Conn) {
	p.mu.Lock()
	delete(p.openConns, c)
	delete(p.moved.conns, c)
	p.mu.Unlock()
	c.Close()
}

// CloseConns closes every connection and lets none begin. When it returns, no more bytes of this node reach another one.
// It does not wait for the connections' goroutines.
func (p *Port) CloseConns() {
	p.mu.Lock()
	open := p.openConns
	p.openConns = map[net.Conn]struct{}{}
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.listener.Close()
	for c := range open {
		c.Close()
	}
}

// Close closes the port and its connections, and waits for their goroutines.
func (p *Port) Close() {
	p.CloseConns()
	p.goroutines.Wait()
}
