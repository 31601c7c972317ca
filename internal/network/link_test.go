package network

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"
)

const waitLimit = 20 * time.Second

// testLink is a way from this program's namespace to another host's, over which numbered UDP packets go.
type testLink struct {
	t        *testing.T
	s        *Switch
	receiver net.PacketConn // on host 1
	sender   net.Conn
	sent     int
	got      [][]byte
}

func openTestLink(t *testing.T) *testLink {
	t.Helper()
	s, err := OpenSwitch(2)
	if err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
	t.Cleanup(s.Close)
	l := &testLink{t: t, s: s}
	if err := s.Hosts[1].Run(func() (err error) {
		l.receiver, err = net.ListenPacket("udp4", s.Hosts[1].At(0))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.receiver.Close() })
	if l.sender, err = net.Dial("udp4", l.receiver.LocalAddr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.sender.Close() })
	return l
}

func (l *testLink) port() uint16 {
	return netip.MustParseAddrPort(l.receiver.LocalAddr().String()).Port()
}

// send sends packets with rising numbers, and then zeros up to size bytes.
func (l *testLink) send(count, size int) {
	l.t.Helper()
	for range count {
		packet := make([]byte, max(size, 4))
		binary.BigEndian.PutUint32(packet, uint32(l.sent))
		l.sent++
		if _, err := l.sender.Write(packet); err != nil {
			l.t.Fatal(err)
		}
	}
}

// receiveUntil reads packets until the condition holds.
func (l *testLink) receiveUntil(what string, done func() bool) {
	l.t.Helper()
	buffer := make([]byte, 2000)
	for deadline := time.Now().Add(waitLimit); !done(); {
		if time.Now().After(deadline) {
			l.t.Fatalf("waited %v for %s: sent %d, received %d, effects %+v", waitLimit, what, l.sent, len(l.got), l.s.Effects())
		}
		_ = l.receiver.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if n, _, err := l.receiver.ReadFrom(buffer); err == nil {
			l.got = append(l.got, bytes.Clone(buffer[:n]))
		}
	}
}

func (l *testLink) receiveAll(count int) {
	l.t.Helper()
	l.receiveUntil(fmt.Sprintf("%d packets", count), func() bool { return len(l.got) >= count })
}

func TestDropIsOneWayAndForWhatMatches(t *testing.T) {
	l := openTestLink(t)
	other := openTCPPair(t, l.s)
	l.s.SetLink(0, 1, Link{Drop: true, Only: MatchPorts(map[uint16]bool{l.port(): true})})
	l.send(10, 0)
	l.receiveUntil("all to be dropped", func() bool { return l.s.Effects().Dropped >= 10 })
	if got := other.exchange(t, "beside"); got != "beside" {
		t.Errorf("a connection to another port got %q", got)
	}
	if _, err := l.receiver.WriteTo([]byte("back"), l.sender.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	_ = l.sender.SetReadDeadline(time.Now().Add(waitLimit))
	if n, err := l.sender.Read(make([]byte, 10)); n != 4 || err != nil {
		t.Errorf("the other way does not go: %d, %v", n, err)
	}
	l.s.Heal()
	l.send(1, 0)
	l.receiveAll(1)
	if number := binary.BigEndian.Uint32(l.got[0]); number != 10 || len(l.got) != 1 {
		t.Errorf("after the cut came packet %d of %d", number, len(l.got))
	}
}

func TestLossAndDuplicates(t *testing.T) {
	l := openTestLink(t)
	l.s.SetLink(0, 1, Link{Loss: 0.5})
	for range 10 { // few at a time: the receiver's buffer must not lose any
		l.send(20, 0)
		l.receiveUntil("each to be received or lost", func() bool { return len(l.got)+int(l.s.Effects().Lost) == l.sent })
	}
	if lost := l.s.Effects().Lost; lost < 60 || lost > 140 {
		t.Errorf("%d of 200 are lost by a chance of one half", lost)
	}
	l.s.SetLink(0, 1, Link{Duplicate: 1})
	l.got = nil
	l.send(10, 0)
	l.receiveAll(20)
	if e := l.s.Effects(); e.Duplicated != 10 || !bytes.Equal(l.got[0], l.got[1]) {
		t.Errorf("%+v, first packets %q", e, l.got[:2])
	}
	l.s.SetLink(0, 1)
	if l.s.links.Load() != nil {
		t.Error("a table without links stays")
	}
}

func TestReorderedPacketsAreOvertaken(t *testing.T) {
	l := openTestLink(t)
	l.s.SetLink(0, 1, Link{Reorder: 0.3})
	l.send(50, 0)
	l.receiveAll(50)
	late := 0
	for i := 1; i < len(l.got); i++ {
		if bytes.Compare(l.got[i], l.got[i-1]) < 0 {
			late++
		}
	}
	if e := l.s.Effects(); late == 0 || e.Reordered == 0 || e.Reordered+e.Delayed > 40 {
		t.Errorf("%d late, %+v", late, e)
	}
}

func TestDelayKeepsTheOrder(t *testing.T) {
	l := openTestLink(t)
	l.s.SetLink(0, 1, Link{Delay: 100 * time.Millisecond, Jitter: 50 * time.Millisecond})
	began := time.Now()
	l.send(50, 0)
	l.receiveAll(50)
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("they came after %v", took)
	}
	for i, packet := range l.got {
		if number := binary.BigEndian.Uint32(packet); number != uint32(i) {
			t.Fatalf("packet %d came in place %d", number, i)
		}
	}
	if e := l.s.Effects(); e.Delayed != 50 {
		t.Errorf("%+v", e)
	}
}

func TestNarrowLinkDelaysAndDropsTheTail(t *testing.T) {
	l := openTestLink(t)
	l.s.SetLink(0, 1, Link{BytesPerSecond: 100_000})
	began := time.Now()
	l.send(100, 1000) // four times the queue
	l.receiveUntil("each to arrive or not", func() bool { return len(l.got)+int(l.s.Effects().Overflowed) == l.sent })
	took, e := time.Since(began), l.s.Effects()
	if e.Overflowed == 0 || e.Delayed == 0 {
		t.Errorf("%+v", e)
	}
	if width := float64(len(l.got)*1000) / took.Seconds(); width > 110_000 {
		t.Errorf("%d packets in %v: %.0f bytes a second", len(l.got), took, width)
	}
}

func TestCorruptPacketsArrive(t *testing.T) {
	l := openTestLink(t)
	l.s.SetLink(0, 1, Link{Corrupt: 1})
	l.send(20, 101)
	l.receiveAll(20)
	for i, packet := range l.got {
		want := make([]byte, 101)
		binary.BigEndian.PutUint32(want, uint32(i))
		if flipped := countFlipped(packet, want); flipped != 1 {
			t.Errorf("%d bits of packet %d differ", flipped, i)
		}
	}
	stream := openTCPPair(t, l.s) // its first packets have no payload
	if got := stream.exchange(t, "hello"); countFlipped([]byte(got), []byte("hello")) != 1 {
		t.Errorf("TCP brought %q", got)
	}
	if e := l.s.Effects(); e.Corrupted < 21 {
		t.Errorf("%+v", e)
	}
}

func countFlipped(a, b []byte) (flipped int) {
	for i := range a {
		flipped += bits.OnesCount8(a[i] ^ b[i])
	}
	return flipped
}

// tcpPair is a connection from this program's namespace to host 1.
type tcpPair struct{ near, far net.Conn }

func openTCPPair(t *testing.T, s *Switch) (p tcpPair) {
	t.Helper()
	var port net.Listener
	if err := s.Hosts[1].Run(func() (err error) {
		port, err = net.Listen("tcp4", s.Hosts[1].At(0))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	var err error
	if p.near, err = s.Hosts[0].Dial(t.Context(), "tcp4", port.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if p.far, err = port.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.near.Close()
		_ = p.far.Close()
	})
	return p
}

// exchange sends text and returns what arrives in its place.
func (p tcpPair) exchange(t *testing.T, text string) string {
	t.Helper()
	if _, err := io.WriteString(p.near, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	_ = p.far.SetReadDeadline(time.Now().Add(waitLimit))
	if _, err := io.ReadFull(p.far, got); err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestDialFromAHost(t *testing.T) {
	l := openTestLink(t)
	port, err := net.Listen("tcp4", l.s.Hosts[0].At(0))
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	conn, err := l.s.Hosts[2].Dial(t.Context(), "tcp4", port.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if from := netip.MustParseAddrPort(conn.LocalAddr().String()).Addr(); from != l.s.Hosts[2].Address {
		t.Errorf("it came from %s, want %s", from, l.s.Hosts[2].Address)
	}
}

// What happens by chance is the same for the same seed.
func TestChanceIsSeeded(t *testing.T) {
	decide := func(seed uint64) (said string) {
		l := newLinkState(Link{Loss: 0.2, Duplicate: 0.2, Reorder: 0.2, Corrupt: 0.2, Jitter: time.Second}, seed, 7, &effectCounts{})
		now := time.Unix(0, 0)
		for range 100 {
			packet := makePacket(ipUDP, 1, 2, 0)
			packet = append(packet, "payload"...)
			p := l.choosePassage(now, packet)
			said += fmt.Sprintf("%d %v %v %x\n", p.copies, p.due, p.heldBack, packet)
		}
		return said
	}
	first, again := decide(1), decide(1)
	if first != again {
		t.Error("one seed, two courses")
	}
	if first == decide(2) {
		t.Error("two seeds, one course")
	}
}

// A checksum that the kernel computed is the one that is computed here.
func TestChecksumAfterCorruption(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	packet := append(makePacket(ipUDP, 1, 2, 0), "odd"...)
	binary.BigEndian.PutUint16(packet[26:], 0xffff)
	if !corruptPayload(packet, random) {
		t.Fatal("nothing was changed")
	}
	segment := packet[20:]
	if sum := sumTransport(packet[12:20], ipUDP, segment); sum != 0 { // over data with its own checksum
		t.Errorf("the checksum is off by %#x", sum)
	}
	for name, p := range map[string][]byte{
		"no payload": makePacket(ipUDP, 1, 2, 0), "a fragment": append(makePacket(ipUDP, 1, 2, 8), "x"...),
		"neither": append(makePacket(1, 1, 2, 0), "x"...), "cut short": makePacket(ipTCP, 1, 2, 0),
	} {
		if corruptPayload(p, random) {
			t.Errorf("%s: changed", name)
		}
	}
}

// BenchmarkStream sends bytes over one connection: over a sound link, and over one whose state says that it is sound.
func BenchmarkStream(b *testing.B) {
	for name, links := range map[string][]Link{"sound": nil, "zero link": {{}}} {
		b.Run(name, func(b *testing.B) {
			s, err := OpenSwitch(1)
			if err != nil {
				b.Skipf("no namespaces here: %v", err)
			}
			defer s.Close()
			s.SetLink(0, 1, links...)
			port, err := net.Listen("tcp4", s.Hosts[0].At(0))
			if err != nil {
				b.Fatal(err)
			}
			defer port.Close()
			go func() {
				if conn, err := s.Hosts[1].Dial(b.Context(), "tcp4", port.Addr().String()); err == nil {
					_, _ = io.Copy(io.Discard, conn)
				}
			}()
			conn, err := port.Accept()
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			block := make([]byte, 64<<10)
			b.SetBytes(int64(len(block)))
			for b.Loop() {
				if _, err := conn.Write(block); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
