package gossip

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net"
	"strconv"
	"time"
)

// The game servers' pool: game servers, and the nodes that listen to them. It is none of the nodes' own: with one pool for
// both, thousands of game servers could slow down and lie about what nodes say of each other.
const (
	gameServerLabel  = "profilenode game servers"
	gameServerPrefix = "game~"

	// A dead one has to be known before 4.5 s of silence, also among thousands. It is probed within about one Probe, fails
	// that probe in another, and is then a suspect for serverSuspicion probes, times log10 of the members: 1.6 s in all
	// among ten, 3.8 s among five thousand. A living one loses nothing by the haste, as long as it is heard by the leader.
	gameServerProbe = 400 * time.Millisecond
	// 2 waits for nobody's confirmation. With more, the one who finds it first waits up to four times as long.
	gameServerSuspicion = 2
	// Nodes join each other and so merge halves of the pool; a game server that has lost every node looks for one.
	gameServerRejoin = 10 * time.Second
	// A verdict on the dead comes within a lease. What a new leader may still ask for later is a minute's.
	gameServerRemember = time.Minute
)

// ServerConfig says how to take part in the game servers' pool. Its zero value is for a cluster on the same machine.
type ServerConfig struct {
	Bind      string // host:port for packets and streams, the host an IP or localhost; "": a free port of 127.0.0.1
	Advertise string // host:port that the others use; "": the bound address
	Key       []byte // 16, 24 or 32 bytes, of this pool alone; nil is for loopback only, unless Insecure
	Insecure  bool   // beyond loopback without a key

	Listen       func(network, address string) (net.Listener, error)                  // nil: net.Listen
	ListenPacket func(network, address string) (net.PacketConn, error)                // nil: net.ListenPacket
	Dial         func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer
}

// Validate reports every fault at once.
func (s ServerConfig) Validate() error { return s.poolConfig("any", nil, nil).Validate() }

func (s ServerConfig) poolConfig(name string, seeds func() []string, log *slog.Logger) Config {
	c := Config{
		Name: name, Bind: s.Bind, Advertise: s.Advertise, Key: s.Key, Insecure: s.Insecure, Label: gameServerLabel,
		Seeds: seeds, Rejoin: gameServerRejoin, Probe: gameServerProbe, Suspicion: gameServerSuspicion, Remember: gameServerRemember,
		Listen: s.Listen, ListenPacket: s.ListenPacket, Dial: s.Dial, Log: log, Quiet: true,
	}
	if c.Bind == "" {
		c.Bind = "127.0.0.1:0"
	}
	return c
}

// ServerName is what an incarnation of a game server is called in the pool. The cluster is in it, since incarnations of two
// clusters may have one number.
func ServerName(cluster []byte, incarnation uint64) string {
	return gameServerPrefix + hex.EncodeToString(cluster) + "~" + strconv.FormatUint(incarnation, 36)
}

// OpenNode lets a node listen to game servers. See Open.
func (s ServerConfig) OpenNode(name string, seeds func() []string, log *slog.Logger) (*Pool, error) {
	return Open(s.poolConfig(name, seeds, log))
}

// Join is how a game server takes part: a ServerConfig is what package client wants for Config.Gossip. The client calls
// Join for each incarnation, with the nodes for seeds, and leaves with what it returns before that incarnation's successor
// joins: so each has a name of its own, though they follow each other at one address.
func (s ServerConfig) Join(cluster []byte, incarnation uint64, seeds func() []string, log *slog.Logger) (leave func(context.Context) error, err error) {
	c := s.poolConfig(ServerName(cluster, incarnation), seeds, log)
	c.OneSeed = true
	p, err := Open(c)
	if err != nil {
		return nil, err
	}
	return p.Close, nil
}
