package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// transport carries memberlist's packets and streams over the functions in Config: sockets, or a network in memory. It
// does the work of memberlist's own NetTransport; besides, listening and dialling are injected, and Shutdown ends every
// stream.
type transport struct {
	log       *slog.Logger
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	listener  net.Listener
	packets   net.PacketConn
	advertise netip.AddrPort

	incoming chan *memberlist.Packet
	streams  chan net.Conn

	running context.Context // ends every stream and loop
	stop    context.CancelFunc
	loops   sync.WaitGroup
}

var _ memberlist.Transport = (*transport)(nil)

const (
	maxPacket   = 65536
	packetQueue = 2 << 20 // bytes of packets that the kernel may queue; halved until the kernel allows it
	bindTries   = 10      // a port that is free for streams may be taken for packets
)

func openTransport(c Config) (*transport, error) {
	listener, packets, err := bindBothPorts(c)
	if err != nil {
		return nil, err
	}
	advertise, err := resolveAdvertised(c.Advertise, listener.Addr().String())
	if err != nil {
		return nil, errors.Join(err, listener.Close(), packets.Close())
	}
	if s, ok := packets.(interface{ SetReadBuffer(int) error }); ok {
		for size := packetQueue; size > 0 && s.SetReadBuffer(size) != nil; size /= 2 {
		}
	}
	t := &transport{
		log: c.Log, dial: c.Dial, listener: listener, packets: packets, advertise: advertise,
		incoming: make(chan *memberlist.Packet), streams: make(chan net.Conn),
	}
	t.running, t.stop = context.WithCancel(context.Background())
	t.loops.Go(t.acceptStreams)
	t.loops.Go(t.readPackets)
	return t, nil
}

// bindBothPorts opens one port for streams and packets. With port 0 the kernel chooses a port that is free for streams; it
// may be taken for packets, so that is tried bindTries times.
func bindBothPorts(c Config) (net.Listener, net.PacketConn, error) {
	var last error
	for range bindTries {
		listener, err := c.Listen("tcp", c.Bind)
		if err != nil {
			return nil, nil, fmt.Errorf("listen for gossip streams: %w", err)
		}
		packets, err := c.ListenPacket("udp", listener.Addr().String())
		if err == nil {
			return listener, packets, nil
		}
		last = fmt.Errorf("listen for gossip packets: %w", err)
		if err := listener.Close(); err != nil {
			return nil, nil, errors.Join(last, err)
		}
		if _, port, _ := net.SplitHostPort(c.Bind); port != "0" {
			break
		}
	}
	return nil, nil, last
}

// resolveAdvertised returns the address that the others use. Port 0 stands for the bound port.
func resolveAdvertised(address, bound string) (netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(bound)
	if err != nil {
		return at, fmt.Errorf("read bound gossip address: %w", err)
	}
	if address == "" {
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookUpTimeout)
	defer cancel()
	found, err := resolveAddress(ctx, address)
	if err != nil {
		return at, fmt.Errorf("%w %s: %w", ErrUnresolved, address, err)
	}
	if found[0].Port() == 0 {
		return netip.AddrPortFrom(found[0].Addr(), at.Port()), nil
	}
	return found[0], nil
}

// ErrUnresolved is in the error of Open if the name service does not know the advertised address, or does not answer. Either
// may pass: the name of a host that starts is often published later than its first process runs.
var ErrUnresolved = errors.New("look up advertised gossip address")

// lookUpTimeout bounds one query to the name service.
const lookUpTimeout = 5 * time.Second

// resolveAddress returns every address of host:port, at least one.
func resolveAddress(ctx context.Context, address string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if at, err := netip.ParseAddrPort(address); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(at.Addr().Unmap(), at.Port())}, nil
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	found := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		found = append(found, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has no address", host)
	}
	return found, nil
}

func (t *transport) acceptStreams() {
	const first, most = 5 * time.Millisecond, time.Second
	pause := first
	for {
		conn, err := t.listener.Accept()
		if t.running.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil {
			t.log.Warn("accept gossip stream", "error", err)
			select {
			case <-time.After(pause):
			case <-t.running.Done():
				return
			}
			pause = min(2*pause, most)
			continue
		}
		pause = first
		select {
		case t.streams <- t.closeWithTransport(conn):
		case <-t.running.Done():
			_ = conn.Close()
			return
		}
	}
}

func (t *transport) readPackets() {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := t.packets.ReadFrom(buf)
		if t.running.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n == 0 {
			t.log.Debug("read gossip packet", "bytes", n, "error", err)
			continue
		}
		packet := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: from, Timestamp: time.Now()}
		select {
		case t.incoming <- packet:
		case <-t.running.Done():
			return
		}
	}
}

// tiedStream is a connection that ends with the transport.
type tiedStream struct {
	net.Conn
	untie func() bool
}

func (t *transport) closeWithTransport(conn net.Conn) net.Conn {
	return tiedStream{conn, context.AfterFunc(t.running, func() { _ = conn.Close() })}
}

func (s tiedStream) Close() error {
	s.untie()
	return s.Conn.Close()
}

// FinalAdvertiseAddr returns the address that the others use. Config states it, so memberlist's arguments are not used.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

// WriteTo sends one packet to ip:port.
func (t *transport) WriteTo(b []byte, address string) (time.Time, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return time.Time{}, err
	}
	_, err = t.packets.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return time.Now(), err
}

// DialTimeout opens a stream to ip:port.
func (t *transport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.running, timeout)
	defer cancel()
	conn, err := t.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return t.closeWithTransport(conn), nil
}

// PacketCh and StreamCh pass received packets and accepted streams to memberlist.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.incoming }
func (t *transport) StreamCh() <-chan net.Conn           { return t.streams }

// Shutdown ends every stream and waits for the loops. It may be called more than once.
func (t *transport) Shutdown() error {
	t.stop()
	err := errors.Join(t.listener.Close(), t.packets.Close())
	t.loops.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
