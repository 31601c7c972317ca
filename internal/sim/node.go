package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/gossip"
	"github.com/profilenode/profilenode/internal/memnet"
	"github.com/profilenode/profilenode/internal/server"
	"github.com/profilenode/profilenode/lock"
)

// node is a node's machine: its disk outlives its processes.
type node struct {
	world  *World
	number int
	name   string
	clock  *clock
	draw   *rand.Rand // for the unsynced data that survives a crash, and for sizes

	snapshotBytes, trailingBytes uint64

	reportsAllDead atomic.Bool // to its gossip every game server seems dead
	losesEvents    atomic.Bool // the events of its log reach no stream

	mu      sync.Mutex
	disk    *vfs.MemFS
	process *process // nil: stopped
	joined  bool     // it was started once
	level   uint32   // of its build
}

// newer is the level of a build to come.
const newer = fsm.Level + 1

func (n *node) runsOldBuild() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.level < newer
}

// process is one run of a node.
type process struct {
	node   *cluster.Node
	server *server.Server
	served chan error
	disk   *disk
}

func newNode(w *World, i int, draw *rand.Rand) *node {
	n := &node{
		world: w, number: i, name: clustertest.Name(i), clock: newClock(), draw: draw, disk: vfs.NewCrashableMem(), level: fsm.Level,
		snapshotBytes: 16<<10 + draw.Uint64N(64<<10), trailingBytes: 4<<10 + draw.Uint64N(64<<10),
	}
	w.skews[n.name] = n.clock
	return n
}

func (n *node) nodesAddress() string   { return n.name + ":7401" }
func (n *node) clientsAddress() string { return n.name + ":7400" }

// start runs the node on the data of its disk.
func (n *node) start() {
	n.mu.Lock()
	running, disk := n.process != nil, newDisk(n.disk)
	if founder := n.number < n.world.scenario.Nodes; n.world.scenario.Upgrade && !running && (n.joined || !founder) {
		n.level = newer
	}
	level := n.level
	n.joined = true
	n.mu.Unlock()
	if running {
		return
	}
	host := n.world.network.Host(n.name)
	n.world.network.Return(n.name)
	hub := server.NewHub()
	c := cluster.DefaultConfig()
	c.Memory, c.FS, c.Level = true, disk, level
	c.Bind, c.Client = n.nodesAddress(), n.clientsAddress()
	for _, other := range n.world.founders() {
		c.Nodes = append(c.Nodes, other.nodesAddress())
	}
	c.Listen, c.Dial = host.Listen, n.dialFunc(host)
	c.Classes = append(fsm.DefaultClasses(), fsm.ClassOf(fsm.TimingClass{Name: timingClass, Timing: n.world.Timing}))
	c.Now, c.OnEvents = n.clock.now, n.forwardEvents(hub)
	c.SeemsDead = func(lock.Incarnation) bool { return n.reportsAllDead.Load() }
	if n.world.scenario.Gossip {
		c.ServerGossip = n.world.gossipAt(host, n.name, fmt.Sprintf("127.1.0.%d", n.number+1))
	}
	c.SnapshotBytes, c.TrailingBytes, c.TrailingLogs = n.snapshotBytes, n.trailingBytes, 20
	if d := n.world.scenario.Heartbeat; d > 0 {
		c.Heartbeat, c.Election, c.LeaderLease = d, d, d
	}
	opened, err := cluster.Open(context.Background(), c)
	if err != nil {
		n.world.Complain("", "%s does not start: %v", n.name, err)
		return
	}
	p := &process{node: opened, served: make(chan error, 1), disk: disk}
	p.server = server.New(server.Config{
		Node: opened, Hub: hub, Version: "sim", Limits: server.Limits{GrantsPage: n.world.scenario.GrantsPage},
	})
	clients, err := host.Listen("tcp", n.clientsAddress())
	if err != nil {
		n.world.Complain("", "%s does not listen: %v", n.name, err)
		p.served <- nil
		n.closeProcess(p)
		return
	}
	go func() { p.served <- p.server.Serve(clients) }()
	n.mu.Lock()
	n.process = p
	n.mu.Unlock()
}

// gossipAt is a host's part in the game servers' gossip. memberlist needs an IP address.
func (w *World) gossipAt(host memnet.Host, name, ip string) gossip.ServerConfig {
	w.network.AddIP(name, ip)
	return gossip.ServerConfig{Bind: ip + ":7404", Listen: host.Listen, ListenPacket: host.ListenPacket, Dial: host.Dial}
}

// dialFunc is the Dial of the node. In a walled world every game server's host seems to refuse n0.
func (n *node) dialFunc(host memnet.Host) func(ctx context.Context, network, address string) (net.Conn, error) {
	if !n.world.scenario.Walled || n.number > 0 {
		return host.Dial
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasSuffix(address, ":7401") {
			return host.Dial(ctx, network, address)
		}
		return nil, syscall.ECONNREFUSED
	}
}

// forwardEvents passes on the log's events, unless the node loses them. Then only messages come through: of the other events
// a node knows by itself which ones a stream has missed.
func (n *node) forwardEvents(hub *server.Hub) func([]fsm.Event) {
	return func(events []fsm.Event) {
		if n.losesEvents.Load() {
			events = slices.DeleteFunc(slices.Clone(events), func(e fsm.Event) bool { return e.Kind != fsm.MessageWait })
		}
		hub.Publish(events)
	}
}

func (n *node) hasJoined() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.joined
}

// runningProcess is nil while the node is stopped.
func (n *node) runningProcess() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}

// runningNode is nil while the node is stopped, or has stopped itself.
func (n *node) runningNode() *cluster.Node {
	p := n.runningProcess()
	if p == nil {
		return nil
	}
	select {
	case <-p.node.Done():
		return nil
	default:
		return p.node
	}
}

// failure is why a node has stopped itself.
func (n *node) failure() error {
	if p := n.runningProcess(); p != nil {
		return p.node.Err()
	}
	return nil
}

// stopProcess crashes the node: its machine vanishes from the network, or its process ends on it, and the disk keeps all
// synced data, and by chance some of the rest.
func (n *node) stopProcess(vanish bool) {
	n.mu.Lock()
	p := n.process
	n.process = nil
	n.mu.Unlock()
	if p == nil {
		return
	}
	if vanish {
		n.world.network.Vanish(n.name)
	} else {
		n.world.network.Crash(n.name)
	}
	n.world.unfreezeHost(n.name, n.clock)
	left := n.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: n.draw.IntN(3) * 50, RNG: n.draw})
	n.mu.Lock()
	n.disk = left
	n.mu.Unlock()
	p.disk.releaseWrites()
	n.closeProcess(p)
}

// wipeDisk gives a stopped node an empty disk.
func (n *node) wipeDisk() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.disk = vfs.NewCrashableMem()
}

// closeProcess closes the rest of a process in the background. Its packets reach no host any more.
func (n *node) closeProcess(p *process) {
	n.world.ending.Go(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		if p.server != nil {
			p.server.Close(now)
		}
		_ = errors.Join(p.node.Close(now), <-p.served) // the errors of a crash say nothing
		<-p.node.Done()
	})
}
