// Package bed runs the subject of a chaos run: nodes and game servers, each a process of its own, on hosts of a switch where this
// machine can make them, else on loopback.
//
// A Node (node.go) is a node with what it logged, its disk and its clock; a GameServer (game_server.go) plays a workload. Bed (this
// file) is all of them; settle.go waits until they are well again and compares them, read.go reads what is stored at the end.
package bed

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"path/filepath"
	"sync"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/internal/network"
	"github.com/profilenode/profilenode/internal/nodeproc"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/game"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// Settings say what a bed has.
type Settings struct {
	Program     string // profilenode
	GameProgram string // that has the command of a game server; empty: this one
	Folder      string // of everything that the run keeps
	Nodes       int
	GameServers int
	Workload    game.Workload
	Seed        uint64
	Hosts       bool // each node and game server on a host of its own, joined by a switch; it needs root
	Disks       bool // each node on a file system of its own; it needs root
}

// DataFolder is the folder of the nodes' data within that of the run.
const DataFolder = "data"

// Bed is nodes and game servers.
type Bed struct {
	Settings
	Nodes       []*Node
	GameServers []*GameServer
	Switch      *network.Switch // nil: on loopback
	History     *history.Writer
	Began       measure.Moment
	Random      *mathrand.Rand // of the nemeses; one goroutine uses it

	mu      sync.Mutex
	effects map[string]uint64 // counted by nemeses
}

// Ports of the nodes on hosts of a switch, the same on each.
const (
	clientPort       = 7400
	nodePort         = 7401
	gossipPort       = 7402
	httpPort         = 7403
	serverGossipPort = 7404
	gamePort         = 7405 // of game servers in their gossip
)

// Open prepares a bed. Nothing runs yet.
func Open(s Settings, events *history.Writer, began measure.Moment) (_ *Bed, err error) {
	b := &Bed{Settings: s, History: events, Began: began, Random: mathrand.New(mathrand.NewPCG(s.Seed, 0)), effects: map[string]uint64{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	if s.Hosts {
		if b.Switch, err = network.OpenSwitch(s.Nodes + s.GameServers); err != nil {
			return nil, err
		}
	}
	if err := b.prepareNodes(); err != nil {
		return nil, err
	}
	for i := range s.GameServers {
		b.GameServers = append(b.GameServers, &GameServer{bed: b, Number: i, host: b.host(s.Nodes + i)})
	}
	return b, nil
}

// host is a host of the switch, the first after this program's own being 0; nil: loopback.
func (b *Bed) host(number int) *network.Host {
	if b.Switch == nil {
		return nil
	}
	return b.Switch.Hosts[1+number]
}

// NodeHost and GameHost are numbers of the switch's hosts, for links.
func (b *Bed) NodeHost(node int) int { return 1 + node }

// GameHost is the number of a game server's host.
func (b *Bed) GameHost(server int) int { return 1 + b.Settings.Nodes + server }

func (b *Bed) prepareNodes() error {
	prepared, err := nodeproc.NewCluster(b.Program, filepath.Join(b.Folder, DataFolder), b.Settings.Nodes)
	if err != nil {
		return err
	}
	ports, err := nodeproc.FreeAddresses(b.Settings.Nodes)
	if err != nil {
		return err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	var members []string
	for i, p := range prepared.Nodes {
		p.Addresses.ServerGossip = ports[i]
		if h := b.host(i); h != nil {
			p.Addresses = nodeproc.Addresses{
				Clients: h.At(clientPort), Nodes: h.At(nodePort), Gossip: h.At(gossipPort), HTTP: h.At(httpPort), ServerGossip: h.At(serverGossipPort),
			}
			p.StartIn = h.Start
		}
		members = append(members, p.Addresses.Nodes)
	}
	for i, p := range prepared.Nodes {
		p.Members = members
		p.Flags = []string{
			"--insecure", "--gossip-key", base64.StdEncoding.EncodeToString(key),
			"--server-gossip-key", base64.StdEncoding.EncodeToString(game.GossipKey()),
			"--snapshot-bytes", "512KiB", "--trailing-bytes", "256KiB", // so that short runs have snapshots and cuts of the log, too
		}
		n, err := b.newNode(i, p)
		if n != nil {
			b.Nodes = append(b.Nodes, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ClientAddresses are where clients reach the nodes.
func (b *Bed) ClientAddresses() (all []string) {
	for _, n := range b.Nodes {
		all = append(all, n.Addresses.Clients)
	}
	return all
}

// Start starts the nodes, waits until they are ready, and starts the game servers.
func (b *Bed) Start(ctx context.Context) error {
	for _, n := range b.Nodes {
		if err := n.StartProcess(); err != nil {
			return err
		}
	}
	if err := b.WaitUntilWell(ctx, startLimit); err != nil {
		return fmt.Errorf("first start: %w", err)
	}
	for _, g := range b.GameServers {
		if err := g.Start(); err != nil {
			return err
		}
	}
	return nil
}

// Note writes an event of this program.
func (b *Bed) Note(e history.Event) error {
	e.Time, e.Type = measure.Now().Since(b.Began), history.Info
	if e.Process == "" {
		e.Process = "nemesis"
	}
	return b.History.Write(e)
}

// CountEffect counts that a fault had an effect, under the name of its counter.
func (b *Bed) CountEffect(counter string, by uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.effects[counter] += by
}

// Effects are the counters of all effects so far.
func (b *Bed) Effects() map[string]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[string]uint64, len(b.effects))
	for name, count := range b.effects {
		all[name] = count
	}
	return all
}

// Close ends every process and takes hosts and disks away. The folder stays.
func (b *Bed) Close() error {
	var faults []error
	for _, g := range b.GameServers {
		g.Kill()
	}
	for _, n := range b.Nodes {
		faults = append(faults, n.close())
	}
	if b.Switch != nil {
		b.Switch.Close()
	}
	return errors.Join(faults...)
}
