package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/gossip"
	"github.com/profilenode/profilenode/internal/metrics"
	"github.com/profilenode/profilenode/internal/server"
)

// runningNode is everything that one node consists of, in the order in which it starts.
type runningNode struct {
	config  Config
	clients net.Listener
	web     net.Listener // nil: none
	node    *cluster.Node
	service *server.Server
	serves  atomic.Pointer[server.Server] // service, for goroutines of the node, which starts before it
	health  *http.Server

	certificates *certificateHolder // nil: none

	failed  chan error     // a port that ended by itself
	serving sync.WaitGroup // the goroutines that send on failed
}

// clusterConfig is the part of the configuration that the node itself takes.
func (c Config) clusterConfig() cluster.Config {
	n := cluster.DefaultConfig()
	n.Dir, n.Nodes, n.Version = c.Data, c.Nodes, buildVersion()
	n.Cluster = c.Cluster
	n.Bind, n.Advertise, n.Client = c.BindNodes, c.AdvertiseNodes, c.Advertise
	n.GossipBind, n.GossipAdvertise = c.BindGossip, c.AdvertiseGossip
	n.GossipKey, _ = parseGossipKey("gossip-key", c.GossipKey) // check has looked at it
	n.GossipInsecure = c.Insecure
	n.ServerGossip = gossip.ServerConfig{Bind: c.BindServerGossip, Advertise: c.AdvertiseServerGossip, Insecure: c.Insecure}
	n.ServerGossip.Key, _ = parseGossipKey("server-gossip-key", c.ServerGossipKey)
	n.Heartbeat, n.Election, n.LeaderLease = c.Heartbeat, c.Election, c.LeaderLease
	n.Detector.TickPeriod, n.Detector.PingPeriod, n.Detector.ReachFor, n.Detector.RefusalGap = c.Tick, c.Ping, c.PingReach, c.PingAgain
	n.SnapshotBytes, n.TrailingBytes, n.MaxInFlightBytes = c.SnapshotBytes, c.TrailingBytes, c.MaxInFlightBytes
	n.Reserve, n.HardReserve, n.DiskHangLimit = c.Reserve, c.HardReserve, c.DiskHangLimit
	return n
}

// startServing starts everything. The ports for clients and HTTP are taken before the node touches its data folder, so that a
// second process that was started by mistake fails on the port and not half way in.
func startServing(ctx context.Context, c Config, log *slog.Logger) (_ *runningNode, err error) {
	r := &runningNode{config: c, failed: make(chan error, 2)}
	defer func() {
		if err != nil {
			r.closeAll()
		}
	}()

	if err := server.CheckOpenFiles(); err != nil {
		return nil, err
	}
	if r.certificates, err = openCertificates(c, log); err != nil {
		return nil, &usageError{err}
	}
	if r.clients, err = listenOn("clients", "bind", c.Bind); err != nil {
		return nil, err
	}
	if c.BindHTTP != "" {
		if r.web, err = listenOn("HTTP", "bind-http", c.BindHTTP); err != nil {
			return nil, err
		}
	}

	hub := server.NewHub()
	n := c.clusterConfig()
	measured := metrics.New()
	n.Log, n.OnEvents, n.Metrics = log, hub.Publish, measured
	if n.Client == "" {
		n.Client = r.clients.Addr().String()
	}
	service := server.Config{Hub: hub, Version: n.Version, Limits: server.Limits{Conns: c.MaxConnections, ConnsPerHost: c.MaxConnectionsPerHost}}
	if r.certificates != nil {
		n.TLS, service.TLS = r.certificates.forNodes, r.certificates.forClients()
	}
	n.Alarms = r.processAlarms
	if r.node, err = cluster.Open(ctx, n); err != nil {
		return nil, explainListenError(err, "nodes and gossip", "bind-nodes, bind-gossip and bind-server-gossip")
	}
	measured.Watch(r.node)
	service.Node, service.Log = r.node, log.With("id", r.node.ID())
	r.service = server.New(service)
	r.serves.Store(r.service)
	r.servePort("clients", func() error { return r.service.Serve(r.clients) })
	if r.web != nil {
		r.health = newHealth(r.node, measured.Handler(), c.Pprof)
		r.health.ErrorLog = slog.NewLogLogger(service.Log.Handler(), slog.LevelWarn)
		r.servePort("HTTP", func() error { return r.health.Serve(r.web) })
	}
	return r, nil
}

func (r *runningNode) servePort(port string, run func() error) {
	r.serving.Go(func() {
		if err := run(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			r.failed <- fmt.Errorf("serve %s: %w", port, err)
		}
	})
}

// stopGracefully ends everything in the reverse order. The service comes before the node, since its calls read the node's
// tables; within the service streams are told where to go before they end. Health goes last: until then a probe is told how it
// is.
func (r *runningNode) stopGracefully(ctx context.Context) error {
	r.service.Close(ctx)
	err := r.node.Close(ctx)
	if r.health != nil {
		err = errors.Join(err, r.health.Close())
	}
	r.serving.Wait()
	return err
}

// processAlarms are those that do not come from the node itself.
func (r *runningNode) processAlarms() (alarms []cluster.Alarm) {
	if r.certificates != nil {
		alarms = r.certificates.alarms()
	}
	if service := r.serves.Load(); service != nil {
		alarms = append(alarms, service.Alarms()...)
	}
	return alarms
}

// stopWithHungDisk ends a node that stopped because its disk does not answer. Nothing here waits for the disk, for then it
// would wait for ever. The clients' port and its connections are closed at once: an open stream would hold a client here, and the
// other nodes take a closed port for the end of this one. Probes are answered with the reason for a while, for whoever looks why;
// then the process may end, even if the kernel keeps a thread of it until the disk answers.
func (r *runningNode) stopWithHungDisk(reportFor time.Duration) {
	go func() { // a call of the service may wait for the disk
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		r.service.Close(ended)
	}()
	_ = r.clients.Close()
	time.Sleep(reportFor)
	if r.web != nil {
		_ = r.web.Close()
	}
}

// closeAll closes everything that a failed start had opened.
func (r *runningNode) closeAll() {
	for _, port := range []net.Listener{r.clients, r.web} {
		if port != nil {
			_ = port.Close()
		}
	}
}

// listenAddresses is the line that tells where this node is.
func (r *runningNode) listenAddresses() string {
	parts := []string{
		"id=" + r.node.ID(),
		"clients=" + r.clients.Addr().String(),
		"nodes=" + r.node.Addr().String(),
	}
	if r.config.BindGossip != "" {
		parts = append(parts, "gossip="+r.config.BindGossip)
	}
	if r.config.BindServerGossip != "" {
		parts = append(parts, "server-gossip="+r.config.BindServerGossip)
	}
	if r.web != nil {
		parts = append(parts, "http="+r.web.Addr().String())
	}
	return strings.Join(append(parts, "data="+r.config.Data), " ")
}

func listenOn(what, setting, address string) (net.Listener, error) {
	port, err := net.Listen("tcp", address)
	if err != nil {
		return nil, explainListenError(fmt.Errorf("listen for %s: %w", what, err), what, setting)
	}
	return port, nil
}

// explainListenError adds a hint for a port that is taken.
func explainListenError(err error, what, setting string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return &hintedError{err, fmt.Sprintf("another process has this port: stop it, or choose another for %s with %s", what, setting)}
	}
	return err
}
