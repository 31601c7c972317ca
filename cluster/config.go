package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/gossip"
	"github.com/profilenode/profilenode/lock"
)

// Config are the settings of a Node. Start from DefaultConfig: zero values are faults, not defaults, except where it is
// said.
type Config struct {
	Dir    string // data folder; "" with Memory
	Memory bool   // in memory: unless FS outlives it, the node forgets everything, its id too, when it is closed
	FS     vfs.FS // of the tables, and with Memory of all that a node keeps; nil: the disk, or memory with Memory

	Bind      string   // host:port that nodes reach this one at; port 0 takes a free one
	Advertise string   // address that other nodes dial; "": the bound address
	Client    string   // address that clients dial; followers send clients there
	Nodes     []string // advertised addresses of the nodes that form the cluster, own included; at most one: a cluster of one
	Version   string   // of the build, for Status
	Level     uint32   // the highest that this node applies: the build's; tests alone take another

	GossipBind      string // "": no gossip
	GossipAdvertise string // "": the bound address
	GossipKey       []byte // 16, 24 or 32 bytes; nil: plain
	GossipInsecure  bool   // beyond loopback without a key

	ServerGossip gossip.ServerConfig // how this node takes part in the game servers' pool; without a Bind it does not

	TLS    func() *tls.Config // asked for each connection between nodes, from either end, so that it may change; nil: plain
	Listen func(network, addr string) (net.Listener, error)
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	Now    func() time.Time // the wall clock that stamps are made of
	Log    *slog.Logger     // nil: silent

	Detector    lock.Detector // how this node looks, while it leads, for game servers that are gone
	Heartbeat   time.Duration // a follower that hears nothing for so long asks for an election
	Election    time.Duration // a candidate tries again after so long
	LeaderLease time.Duration // a leader that reaches no majority for so long steps down

	SnapshotBytes    uint64 // log written since the last snapshot that calls for the next
	TrailingBytes    uint64 // of log that stay behind a snapshot, for followers that lag; with Memory and no FS only TrailingLogs count
	TrailingLogs     uint64 // entries that stay however few bytes they are; tests alone take fewer than the default
	MaxInFlightBytes uint64 // of commands that wait or are being proposed; beyond it, or three quarters of it for large ones, Propose answers ErrBusy

	Reserve     uint64 // free bytes of the data folder's disk below which this node gives up leading and raises an alarm
	HardReserve uint64 // and below which it stops, while its disk can still be written
	// FreeBytes is how many bytes are free where the data folder is; nil: its disk is asked, and in memory nothing is.
	FreeBytes func() (uint64, error)

	// SeemsDead says whether a game server seems dead, as evidence that wants silence too, besides what this node hears in
	// the game servers' pool, if it takes part; nil: nothing besides. It must not block.
	SeemsDead func(inc lock.Incarnation) (dead bool)

	// Classes are the timing classes that a cluster begins with, the default one among them; nil: fsm.DefaultClasses. A
	// cluster that exists has its own, whatever this says.
	Classes []*fsm.SetTimingClass

	// Alarms are those that this process raises besides the node's own; nil: none. It is called often and must not block.
	Alarms func() []Alarm

	Metrics Metrics // nil: none

	OnEvents func([]fsm.Event) // told after each applied batch, on every node, in log order; must not block
}

// trailingBytes is some seconds of the load that a fast disk takes, and more than is written while most tables are sent: a
// follower that gets a snapshot must find its successors in the log, or it needs another one, again and again.
const trailingBytes = 512 << 20

// DefaultConfig is a node that still needs a Dir (or Memory) and a Bind.
func DefaultConfig() Config {
	return Config{
		Listen:           net.Listen,
		Dial:             (&net.Dialer{}).DialContext,
		Now:              time.Now,
		Level:            fsm.Level,
		Detector:         lock.DefaultDetector(),
		Heartbeat:        300 * time.Millisecond,
		Election:         300 * time.Millisecond,
		LeaderLease:      200 * time.Millisecond,
		SnapshotBytes:    64 << 20,
		TrailingBytes:    trailingBytes,
		TrailingLogs:     trailingBytes / fsm.MaxEntryBytes, // never more bytes than these
		MaxInFlightBytes: 64 << 20,
		Reserve:          1 << 30,
		HardReserve:      128 << 20,
	}
}

// Validate reports every fault at once, or nil.
func (c Config) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(c.Memory || c.Dir != "", "no data folder: set Dir, or Memory to keep nothing")
	check(c.Level >= fsm.FirstLevel, "level %d is none; start from DefaultConfig", c.Level)
	check(!c.Memory || c.Dir == "", "data folder %q and Memory exclude each other", c.Dir)
	check(c.Listen != nil && c.Dial != nil && c.Now != nil, "Listen, Dial and Now must be set; start from DefaultConfig")
	host, _, err := net.SplitHostPort(c.Bind)
	check(err == nil, "bind address %q is not host:port", c.Bind)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		check(c.Advertise != "", "bind address %q names no host that others could dial: set an address to advertise", c.Bind)
	}
	for _, address := range append(slices.Clone(c.Nodes), c.Advertise, c.Client, c.GossipBind, c.GossipAdvertise) {
		if address == "" {
			continue
		}
		_, _, err := net.SplitHostPort(address)
		check(err == nil, "address %q is not host:port", address)
	}
	sorted := slices.Sorted(slices.Values(c.Nodes))
	check(len(slices.Compact(sorted)) == len(c.Nodes), "the list of nodes names an address twice: %v", c.Nodes)
	check(!slices.Contains(c.Nodes, ""), "the list of nodes has an empty address")
	switch len(c.GossipKey) {
	case 0, 16, 24, 32:
	default:
		check(false, "the gossip key has %d bytes, must have 16, 24 or 32", len(c.GossipKey))
	}
	if c.ServerGossip.Bind != "" {
		if err := c.ServerGossip.Validate(); err != nil {
			faults = append(faults, err)
		}
	}
	const least = 5 * time.Millisecond
	check(c.LeaderLease >= least && c.Heartbeat >= least && c.Election >= least,
		"leader lease %v, heartbeat %v and election %v must be at least %v", c.LeaderLease, c.Heartbeat, c.Election, least)
	check(c.LeaderLease <= c.Heartbeat, "leader lease %v must not be above heartbeat %v, or two could lead", c.LeaderLease, c.Heartbeat)
	check(c.Heartbeat <= c.Election, "heartbeat %v must not be above election %v", c.Heartbeat, c.Election)
	check(c.SnapshotBytes > 0, "snapshot bytes must be above zero")
	check(c.MaxInFlightBytes >= 2*fsm.MaxEntryBytes, "bytes in flight %d must hold two entries of %d", c.MaxInFlightBytes, fsm.MaxEntryBytes)
	check(c.HardReserve <= c.Reserve, "hard reserve %d must not be above the reserve %d", c.HardReserve, c.Reserve)
	if err := c.Detector.Validate(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}
