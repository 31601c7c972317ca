package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// MaxMeta is how many bytes of Meta travel with a member: what memberlist carries, less one byte of ours.
const MaxMeta = 511

const (
	maxName  = 128 // a name, its meta and the rest of the message must fit one packet
	maxLabel = 255 // memberlist's own bound
)

// Config says which pool to take part in, and how. Start from DefaultConfig.
type Config struct {
	// Name is this member's own, and carries its incarnation: a name that comes back at another address is refused by
	// the others for as long as they remember the first.
	Name string

	Bind      string // host:port for packets and streams, the host an IP or localhost; port 0 takes a free one
	Advertise string // host:port that the others use; default: the bound address. A host name is looked up once

	Key      []byte // 16, 24 or 32 bytes; whoever has it is trusted wholly. nil is for loopback only, unless Insecure
	Insecure bool   // beyond loopback without a key
	Label    string // of the pool; takes part in the encryption. Nodes and game servers gossip apart, with two labels and two keys

	// Seeds is asked at start and every Rejoin for addresses host:port to join. Seeds that seem alive already are left in
	// peace. Without it two halves of a pool that lost each other for longer than half a minute never merge again.
	Seeds  func() []string
	Rejoin time.Duration
	// OneSeed joins a seed, any, only while none seems alive. For a pool of thousands: whoever joins is told of all, and a
	// seed that comes back must not be asked for that by everybody at once. Others than these merge halves.
	OneSeed bool

	// Probe is how often this member looks at another one. With the default Suspicion the dead are known after about six
	// probes, and a pause of four is forgiven. Quick is harmless here, since a verdict wants silence too.
	Probe time.Duration
	// Suspicion is how long a suspect may take to answer for itself: this many probes, times log10 of the members where
	// they are more than ten. Above 2 it is up to four times as long while fewer others than Suspicion-2 suspect it too.
	Suspicion int

	Meta     []byte        // told to the others, at most MaxMeta bytes
	Remember time.Duration // how long a member that is gone stays in Members

	Listen       func(network, address string) (net.Listener, error)                  // nil: net.Listen
	ListenPacket func(network, address string) (net.PacketConn, error)                // nil: net.ListenPacket
	Dial         func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer
	Now          func() time.Time                                                     // nil: time.Now
	Log          *slog.Logger                                                         // nil: silent
	Quiet        bool                                                                 // log nothing above info: in this pool members vanish all day
}

// DefaultConfig finds the dead in 2.6 to 3.1 s with 3 to 16 members, which is before silence counts as evidence.
func DefaultConfig() Config {
	return Config{
		Bind:      "127.0.0.1:7402",
		Label:     "profilenode",
		Rejoin:    10 * time.Second,
		Probe:     500 * time.Millisecond,
		Suspicion: 4,
		Remember:  10 * time.Minute,
	}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(c.Name != "" && len(c.Name) <= maxName, "gossip name has %d bytes: give it 1 to %d", len(c.Name), maxName)
	check(c.Label != "" && len(c.Label) <= maxLabel, "gossip label has %d bytes: give it 1 to %d, one label for each pool", len(c.Label), maxLabel)
	check(len(c.Meta) <= MaxMeta, "gossip meta has %d bytes: at most %d travel", len(c.Meta), MaxMeta)
	check(c.Rejoin > 0, "gossip rejoin is %v: it must be above zero, or halves of the pool never merge again", c.Rejoin)
	check(c.Probe > 0, "gossip probe is %v: it must be above zero", c.Probe)
	check(c.Suspicion >= 2, "gossip suspicion is %d: a suspect needs at least 2 probes to answer for itself", c.Suspicion)
	check(c.Remember > 0, "gossip remember is %v: it must be above zero", c.Remember)

	host, _, err := net.SplitHostPort(c.Bind)
	check(err == nil, "gossip bind %q: write it as host:port", c.Bind)
	every := err == nil && (host == "" || isUnspecified(host))
	check(err != nil || every || isIP(host) || host == "localhost", "gossip bind %q: the host must be an IP address or localhost", c.Bind)
	check(!every || c.Advertise != "", "gossip bind %q is every address of this host: say with advertise which one the others use", c.Bind)
	local := err == nil && isLoopback(host)

	if c.Advertise != "" {
		host, _, err := net.SplitHostPort(c.Advertise)
		check(err == nil, "gossip advertise %q: write it as host:port", c.Advertise)
		check(err != nil || host != "" && !isUnspecified(host), "gossip advertise %q: the others need one address, not every address", c.Advertise)
		local = local && isLoopback(host)
	}
	switch len(c.Key) {
	case 16, 24, 32:
	case 0:
		check(local || c.Insecure, "gossip beyond loopback needs a key, since anybody who can reach it could declare members dead: give one of 16, 24 or 32 bytes, or bind and advertise a loopback address, or say insecure if nobody else can reach it")
	default:
		check(false, "gossip key has %d bytes: it must have 16, 24 or 32", len(c.Key))
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if c.Listen == nil {
		c.Listen = net.Listen
	}
	if c.ListenPacket == nil {
		c.ListenPacket = net.ListenPacket
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func isUnspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsUnspecified()
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
