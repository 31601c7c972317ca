package gossip

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net"
	"strconv"
	"time"
)

// The members of this pool are the game servers and the nodes that listen to them. The nodes have another pool for
// themselves: in a common one, thousands of game servers could delay or falsify the nodes' reports on each other.
const (
	gameServerLabel  = "profilenode game servers"
	gameServerPrefix = "game~"

	// A dead game server must be reported before 4.5 s of silence, also among thousands. It is probed within about one
	// Probe, fails that probe within a second one, and is then suspected for gameServerSuspicion probes, times log10 of the
	// members: 1.6 s in all among ten, 3.8 s among five thousand. A living game server that is reported dead by such haste
	// loses nothing as long as the leader hears it.
	gameServerProbe = 400 * time.Millisecond
	// With 2, a suspicion needs no confirmation by other members. With more, the first to suspect waits up to four times
	// as long.
	gameServerSuspicion = 2
	// Nodes join each other and so merge separated halves of the pool; a game server joins one node when it knows none.
	gameServerRejoin = 10 * time.Second
	// A dead game server expires within a lease. A minute is enough for a new leader that asks later.
	gameServerRemember = time.Minute
)

// ServerConfig describes a member of the game servers' pool. Its zero value is for a cluster on the same machine.
type ServerConfig struct {
	Bind      string // host:port for packets and streams, the host an IP or localhost; "": a free port of 127.0.0.1
	Advertise string // host:port that the others use; "": the bound address
	Key       []byte // 16, 24 or 32 bytes, used by this pool alone; nil is for loopback only, unless Insecure
	Insecure  bool   // allows gossip beyond loopback without a key

	Listen       func(network, address string) (net.Listener, error)                  // nil: net.Listen
	ListenPacket func(network, address string) (net.PacketConn, error)                // nil: net.ListenPacket
	Dial         func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer
}

// Validate reports all faults in one error.
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

// ServerName returns the name of an incarnation of a game server in the pool. It contains the cluster's id, since
// incarnations of two clusters may have the same number.
func ServerName(cluster []byte, incarnation uint64) string {
	return gameServerPrefix + hex.EncodeToString(cluster) + "~" + strconv.FormatUint(incarnation, 36)
}

// OpenNode opens the pool for a node, which listens to the game servers. See [Open].
func (s ServerConfig) OpenNode(name string, seeds func() []string, log *slog.Logger) (*Pool, error) {
	return Open(s.poolConfig(name, seeds, log))
}

// Join makes an incarnation of a game server a member of the pool; it fits the Gossip interface of package client's Config.
// The client calls Join for each incarnation, with the nodes as seeds, and calls leave before the next incarnation joins.
// So each incarnation has a name of its own, though they follow each other at one address.
func (s ServerConfig) Join(cluster []byte, incarnation uint64, seeds func() []string, log *slog.Logger) (leave func(context.Context) error, err error) {
	c := s.poolConfig(ServerName(cluster, incarnation), seeds, log)
	c.OneSeed = true
	p, err := Open(c)
	if err != nil {
		return nil, err
	}
	return p.Close, nil
}
