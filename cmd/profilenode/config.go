package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/profilenode/profilenode/cluster"
)

// Config is one node's configuration. Every field is a setting in settings.go, and stands in node.yaml.
type Config struct {
	Data string // folder, made if absent

	Bind, Advertise             string // for clients
	BindNodes, AdvertiseNodes   string // for the other nodes
	BindGossip, AdvertiseGossip string // BindGossip empty: no gossip
	BindHTTP                    string // empty: no health answers, no metrics
	Pprof                       bool   // on the HTTP port
	Nodes                       []string
	Cluster                     string // id in hex; empty: any, or a new one

	BindServerGossip, AdvertiseServerGossip string // BindServerGossip empty: none with game servers

	TLSCert, TLSKey, TLSCA string
	TLSExpiryWarning       time.Duration
	Insecure               bool
	GossipKey              string // base64 of 16, 24 or 32 bytes
	ServerGossipKey        string // another such

	LogLevel slog.Level
	LogJSON  bool

	MaxConnections, MaxConnectionsPerHost int

	Heartbeat, Election, LeaderLease               time.Duration
	Tick, Ping, PingReach, PingAgain               time.Duration
	SnapshotBytes, MaxInFlightBytes, TrailingBytes uint64
	Reserve, HardReserve                           uint64
	DiskHangLimit                                  time.Duration
}

// DefaultConfig is a cluster of one on loopback.
func DefaultConfig() Config {
	c := cluster.DefaultConfig()
	return Config{
		Data:       "profilenode-data",
		Bind:       "127.0.0.1:7400",
		BindNodes:  "127.0.0.1:7401",
		BindGossip: "127.0.0.1:7402",
		BindHTTP:   "127.0.0.1:7403",
		LogLevel:   slog.LevelInfo,

		TLSExpiryWarning: 14 * 24 * time.Hour,

		Heartbeat: c.Heartbeat, Election: c.Election, LeaderLease: c.LeaderLease,
		Tick: c.Detector.TickPeriod, Ping: c.Detector.PingPeriod, PingReach: c.Detector.ReachFor, PingAgain: c.Detector.RefusalGap,
		SnapshotBytes: c.SnapshotBytes, MaxInFlightBytes: c.MaxInFlightBytes, TrailingBytes: c.TrailingBytes,
		Reserve: c.Reserve, HardReserve: c.HardReserve, DiskHangLimit: c.DiskHangLimit,
	}
}

// validate reports every fault that this package can see, each as one sentence with the remedy. How times and
// sizes must relate is for cluster.Config to say.
func (c Config) validate() (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	if c.Data == "" {
		fault("data is empty: name the folder that this node keeps everything in")
	}
	faults = append(faults, checkBindAndAdvertise("bind", c.Bind, "advertise", c.Advertise)...)
	faults = append(faults, checkBindAndAdvertise("bind-nodes", c.BindNodes, "advertise-nodes", c.AdvertiseNodes)...)
	if c.BindGossip != "" {
		faults = append(faults, checkBindAndAdvertise("bind-gossip", c.BindGossip, "advertise-gossip", c.AdvertiseGossip)...)
	}
	if c.BindServerGossip != "" {
		faults = append(faults, checkBindAndAdvertise("bind-server-gossip", c.BindServerGossip, "advertise-server-gossip", c.AdvertiseServerGossip)...)
	}
	if c.BindHTTP != "" {
		if err := checkAddress("bind-http", c.BindHTTP); err != nil {
			faults = append(faults, err)
		}
	}
	if c.Pprof && (c.BindHTTP == "" || isBeyondLoopback(c.BindHTTP)) {
		fault("pprof needs bind-http on loopback: everyone who reaches it can read the memory of this process")
	}
	faults = append(faults, c.validateNodes()...)
	faults = append(faults, c.validateSafety()...)
	return faults
}

func (c Config) validateNodes() (faults []error) {
	seen := make(map[string]bool)
	for _, node := range c.Nodes {
		if err := checkDialable("nodes", node); err != nil {
			faults = append(faults, err)
		}
		if seen[node] {
			faults = append(faults, fmt.Errorf("nodes names %s twice: name every node once", node))
		}
		seen[node] = true
	}
	own := c.AdvertiseNodes
	if own == "" {
		own = c.BindNodes
	}
	if len(c.Nodes) > 0 && !slices.Contains(c.Nodes, own) {
		faults = append(faults, fmt.Errorf(
			"nodes does not contain this node's own address %s: list the nodes addresses of all nodes, or correct advertise-nodes", own))
	}
	return faults
}

// validateSafety keeps a node from listening where strangers are without anything that keeps them out.
func (c Config) validateSafety() (faults []error) {
	given := 0
	for _, file := range []string{c.TLSCert, c.TLSKey, c.TLSCA} {
		if file != "" {
			given++
		}
	}
	if given != 0 && given != 3 {
		faults = append(faults, errors.New("tls-cert, tls-key and tls-ca belong together: give all three, or none"))
	}
	for _, port := range []struct{ name, address string }{{"bind", c.Bind}, {"bind-nodes", c.BindNodes}} {
		if given == 0 && !c.Insecure && isBeyondLoopback(port.address) {
			faults = append(faults, fmt.Errorf(
				"%s %s is open to other machines without TLS: give tls-cert, tls-key and tls-ca, or insecure if no one else can reach it",
				port.name, port.address))
		}
	}
	for _, pool := range []struct{ bindName, bind, keyName, key, who string }{
		{"bind-gossip", c.BindGossip, "gossip-key", c.GossipKey, "node"},
		{"bind-server-gossip", c.BindServerGossip, "server-gossip-key", c.ServerGossipKey, "node and game server"},
	} {
		if pool.key == "" && !c.Insecure && pool.bind != "" && isBeyondLoopback(pool.bind) {
			faults = append(faults, fmt.Errorf(
				"%s %s is open to other machines without a key: give %s (head -c 32 /dev/urandom | base64), the same on every %s, or insecure if no one else can reach it",
				pool.bindName, pool.bind, pool.keyName, pool.who))
		}
		if _, err := parseGossipKey(pool.keyName, pool.key); err != nil {
			faults = append(faults, err)
		}
	}
	if c.GossipKey != "" && c.GossipKey == c.ServerGossipKey {
		faults = append(faults, errors.New("gossip-key and server-gossip-key are the same: a game server could then speak as a node; make another"))
	}
	return faults
}

// parseGossipKey decodes a key. Its errors never show it.
func parseGossipKey(name, text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || (len(key) != 16 && len(key) != 24 && len(key) != 32) {
		return nil, fmt.Errorf("%s is not base64 of 16, 24 or 32 bytes: make one with head -c 32 /dev/urandom | base64", name)
	}
	return key, nil
}

// checkBindAndAdvertise looks at a bound address and at the one by which others reach it.
func checkBindAndAdvertise(bindName, bind, advertiseName, advertise string) (faults []error) {
	if err := checkAddress(bindName, bind); err != nil {
		return []error{err}
	}
	if advertise != "" {
		if err := checkDialable(advertiseName, advertise); err != nil {
			return []error{err}
		}
		return nil
	}
	if host, _, _ := net.SplitHostPort(bind); isUnspecifiedHost(host) {
		return []error{fmt.Errorf("%s is needed, since %s %s cannot be dialled: give the address by which others reach this node",
			advertiseName, bindName, bind)}
	}
	return nil
}

func checkAddress(name, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s %q is not an address: write host:port, such as 10.0.0.1:7400", name, address)
	}
	if number, err := strconv.Atoi(port); err != nil || number < 0 || number > 65535 {
		return fmt.Errorf("%s %q has no port between 0 and 65535", name, address)
	}
	return nil
}

func checkDialable(name, address string) error {
	if err := checkAddress(name, address); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(address)
	if isUnspecifiedHost(host) || port == "0" {
		return fmt.Errorf("%s %q is nothing that others can dial: give a host and a port above 0", name, address)
	}
	return nil
}

func isUnspecifiedHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || (ip != nil && ip.IsUnspecified())
}

// isBeyondLoopback says whether another machine could connect. A name other than localhost might lead anywhere.
func isBeyondLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false // a fault of its own
	}
	ip := net.ParseIP(host)
	return host != "localhost" && (ip == nil || !ip.IsLoopback())
}
