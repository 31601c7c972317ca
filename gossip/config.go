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

// MaxMeta is how many bytes of Meta travel with a member: memberlist's limit of 512, less one byte that this package adds.
const MaxMeta = 511

const (
	maxName  = 128 // in bytes; a name, its meta and the rest of the message must fit one packet
	maxLabel = 255 // in bytes; memberlist's own bound
)

// Config describes a pool and this member of it. Start from DefaultConfig.
type Config struct {
	// Name is unique to this start of this member: a name that comes back at another address is refused by the others
	// for as long as they remember the first.
	Name string

	Bind      string // host:port for packets and streams, the host an IP or localhost; port 0 takes a free one
	Advertise string // host:port that the others use; empty: the bound address. A host name is looked up once

	Key      []byte // 16, 24 or 32 bytes; a process that has it is trusted wholly. nil is for loopback only, unless Insecure
	Insecure bool   // allows gossip beyond loopback without a key
	Label    string // names the pool, and takes part in the encryption. Nodes and game servers have two pools, with two labels and two keys

	// Seeds is called at start and every Rejoin, and returns addresses host:port to join. Seeds that already seem alive
	// are not contacted. Without Seeds two halves of a pool that were separated for longer than half a minute never merge.
	Seeds  func() []string
	Rejoin time.Duration
	// OneSeed joins any one seed, and only while none seems alive. It is for the many members of a large pool: a join
	// transfers the whole list of members, and a seed that comes back must not serve that to thousands at once. The
	// members without OneSeed merge separated halves.
	OneSeed bool

	// Probe is the time between two probes of this member. With the default Suspicion a dead member is reported after about
	// six probes, and a pause as long as four is not. A short Probe does no harm, since an expiry needs silence as well.
	Probe time.Duration
	// Suspicion is how long a suspect may take to refute the suspicion: this many probes, times log10 of the number of
	// members in a pool of more than ten. Above 2 the time is up to four times as long while fewer than Suspicion-2 other
	// members suspect it as well.
	Suspicion int

	Meta     []byte        // passed to the others, at most MaxMeta bytes
	Remember time.Duration // how long a dead or left member stays in Members

	Listen       func(network, address string) (net.Listener, error)                  // nil: net.Listen
	ListenPacket func(network, address string) (net.PacketConn, error)                // nil: net.ListenPacket
	Dial         func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer
	Now          func() time.Time                                                     // nil: time.Now
	Log          *slog.Logger                                                         // nil: silent
	Quiet        bool                                                                 // memberlist's lines are at most info, for a pool in which members come and go all day
}

// DefaultConfig finds a dead member in 2.6 to 3.1 s with 3 to 16 members, which is before silence counts as evidence
// (lock.Timing.Evidence, 4.5 s by default).
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

// Validate reports all faults in one error.
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
	check(!every || c.Advertise != "", "gossip bind %q is every address of this host: set advertise to the one that the others use", c.Bind)
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
		check(local || c.Insecure, "gossip beyond loopback needs a key, since without one any process that reaches the port could declare members dead: give a key of 16, 24 or 32 bytes, or bind and advertise a loopback address, or set insecure if no other process can reach the port")
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
