package cluster

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/gossip"
	"github.com/profilenode/profilenode/lock"
)

// Config holds the settings of a Node. Start from DefaultConfig: a zero value is a fault, not a default, unless the
// field's comment says otherwise.
type Config struct {
	Dir    string // data folder; "" with Memory
	Memory bool   // keep everything in memory: the node forgets all, its id too, when it is closed, unless FS outlives it
	FS     vfs.FS // file system of the tables, and with Memory of the whole data folder; nil: the disk, or memory with Memory

	Bind      string   // host:port on which this node listens for other nodes; port 0 takes a free one
	Advertise string   // address that other nodes dial; "": the bound address
	Client    string   // this node's address for clients; other nodes send clients there while it leads
	Nodes     []string // advertised addresses of the nodes that form the cluster, this one's included; with at most one this node is a cluster by itself
	Cluster   string   // id, in hex, of the cluster that this node is to be in; "": of any, and of a new one where none is found
	Version   string   // version of the build, for Status
	Level     uint32   // highest level that this node applies: that of the build, except in tests

	FileFormat func(level uint32) pebble.FormatMajorVersion // format of Pebble's files at a level; nil: the build's, except in tests

	GossipBind      string // address on which nodes gossip; "": no gossip
	GossipAdvertise string // address that other nodes gossip with; "": the bound address
	GossipKey       []byte // encryption key of 16, 24 or 32 bytes; nil: not encrypted
	GossipInsecure  bool   // allows gossip beyond loopback without a key

	ServerGossip gossip.ServerConfig // the pool in which game servers gossip; without a Bind this node does not take part

	TLS    func() *tls.Config // asked for each connection between nodes, from either end, so that it may change; nil: plain
	Listen func(network, addr string) (net.Listener, error)
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	Now    func() time.Time // this node's wall clock, from which timestamps are made
	Log    *slog.Logger     // nil: no log

	Detector    lock.Detector // ticks and pings of the failure detector, used while this node leads
	Heartbeat   time.Duration // a follower that hears nothing from the leader for this long begins an election
	Election    time.Duration // a candidate that has not won after this long tries again
	LeaderLease time.Duration // a leader that reaches no majority for this long steps down

	SnapshotBytes    uint64 // a snapshot is taken once this many bytes were written to the log since the last one
	TrailingBytes    uint64 // bytes of the log that stay behind a snapshot, for followers that lag; with Memory and no FS only TrailingLogs counts
	TrailingLogs     uint64 // entries that stay behind a snapshot even if they are fewer bytes; tests take fewer than the default
	MaxInFlightBytes uint64 // bytes of commands that wait or are in flight; beyond it (three quarters of it for large commands) Propose returns ErrBusy

	Reserve     uint64 // free bytes of the data folder's disk below which this node gives up leading and raises an alarm
	HardReserve uint64 // free bytes below which this node stops, while its disk can still be written
	// DiskHangLimit is how long an operation of the disk may take before a leader gives up its leadership.
	DiskHangLimit time.Duration
	// FreeBytes returns the free space where the data folder is; nil: its disk is asked, and in memory the space is not
	// known.
	FreeBytes func() (uint64, error)
	// FreeInodes returns how many files the disk of the data folder can still hold, and how many at all; a total of 0: not known.
	// nil: the disk is asked.
	FreeInodes func() (free, total uint64)

	// SeemsDead reports whether a game server seems dead: evidence, which also needs silence. It is asked besides this
	// node's own view of the game servers' pool. It must not block; nil: no such source.
	SeemsDead func(inc lock.Incarnation) (dead bool)

	// Classes are the timing classes of a new cluster, the default class among them; nil: fsm.DefaultClasses. A cluster
	// that exists keeps its own.
	Classes []*fsm.SetTimingClass

	// Alarms are those that this process raises besides the node's own; nil: none. It is called often and must not block.
	Alarms func() []Alarm

	Metrics Metrics // nil: none

	OnEvents func([]fsm.Event) // called after each applied batch, on every node, in log order; must not block
}

// trailingBytes is some seconds of the load that a fast disk takes, and more than is written while most tables are sent:
// a follower that was sent a snapshot must find the entries after it in the log, or it needs another snapshot, again and
// again.
const trailingBytes = 512 << 20

// DefaultConfig returns a configuration that still needs a Dir (or Memory) and a Bind.
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
		DiskHangLimit:    5 * time.Second,
	}
}

// build is what this node applies and reads.
func (c Config) build() fsm.Build { return fsm.Build{Level: c.Level, FileFormat: c.FileFormat} }

// Validate reports all faults at once, nil if there are none.
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
	if id, err := hex.DecodeString(c.Cluster); err != nil || len(id) != 0 && len(id) != 16 {
		check(false, "cluster %q is no id of a cluster, which has 32 hex digits: profilenode status prints it", c.Cluster)
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
	check(c.DiskHangLimit > hangNoticed, "disk hang limit %v must be above %v", c.DiskHangLimit, hangNoticed)
	if err := c.Detector.Validate(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}
