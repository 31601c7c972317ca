package testbed

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/internal/network"
	"github.com/profilenode/profilenode/internal/nodeproc"
)

const (
	// ServerCount is how many game servers a bed has.
	ServerCount = 4
	// SetUpLimit is for the start of a bed.
	SetUpLimit = 90 * time.Second
	// Lease is how long a game server may be silent before it is taken for gone.
	Lease = 10 * time.Second

	firstGossipPort = 7405 // of the first game server on a host of a switch
)

// Layout says where the processes of a bed live, and how many sessions each game server has.
type Layout struct {
	Sessions int
	Switch   *network.Switch // nil: everything is on loopback
	// NodeHosts and ServerHosts are numbers of the switch's hosts.
	NodeHosts   [NodeCount]int
	ServerHosts [ServerCount]int
}

// Bed is a cluster, and game servers with sessions.
type Bed struct {
	Layout
	Cluster     *Cluster
	Servers     [ServerCount]*GameServer
	GossipPorts map[uint16]bool // of game servers, and of nodes for game servers; only with a switch

	folder  string
	started int // game servers so far, for their names
}

// NewBed starts a cluster and game servers, which open their sessions.
func NewBed(ctx context.Context, program, folder string, l Layout) (_ *Bed, err error) {
	ctx, cancel := context.WithTimeout(ctx, SetUpLimit)
	defer cancel()
	b := &Bed{Layout: l, GossipPorts: make(map[uint16]bool), folder: folder}
	defer func() {
		if err != nil {
			b.Close()
			err = fmt.Errorf("set up: %w", err)
		}
	}()
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	if b.Cluster, err = b.prepareCluster(program); err != nil {
		return nil, err
	}
	if err := b.Cluster.Start(ctx); err != nil {
		return nil, err
	}
	return b, b.StartServers(ctx, allServers()...)
}

func (b *Bed) host(number int) *network.Host {
	if b.Switch == nil {
		return nil
	}
	return b.Switch.Hosts[number]
}

// prepareCluster prepares nodes that gossip, on their hosts.
func (b *Bed) prepareCluster(program string) (*Cluster, error) {
	free, err := nodeproc.FreeAddresses(2 * NodeCount)
	if err != nil {
		return nil, err
	}
	nodesKey := make([]byte, 32)
	_, _ = rand.Read(nodesKey) // it never fails
	return NewCluster(program, b.folder, NodeCount, func(i int, n *nodeproc.Node) {
		n.Addresses.Gossip, n.Addresses.ServerGossip = free[i], free[NodeCount+i]
		n.Flags = []string{"--server-gossip-key", base64.StdEncoding.EncodeToString(gossipKey())}
		h := b.host(b.NodeHosts[i])
		if h == nil {
			return
		}
		n.StartIn = h.Start
		n.Flags = append(n.Flags, "--insecure", "--gossip-key", base64.StdEncoding.EncodeToString(nodesKey))
		for _, address := range []*string{&n.Addresses.Clients, &n.Addresses.Nodes, &n.Addresses.Gossip, &n.Addresses.ServerGossip} {
			*address = moveTo(h, *address)
		}
		var members []string
		for j, member := range n.Members {
			members = append(members, moveTo(b.host(b.NodeHosts[j]), member))
		}
		n.Members = members
		b.GossipPorts[netip.MustParseAddrPort(n.Addresses.ServerGossip).Port()] = true
	})
}

// moveTo is an address with another host.
func moveTo(h *network.Host, address string) string {
	_, port, _ := net.SplitHostPort(address) // nodeproc made it
	return net.JoinHostPort(h.Address.String(), port)
}

// Close ends every process.
func (b *Bed) Close() {
	for _, s := range b.Servers {
		if s != nil {
			s.Kill()
		}
	}
	b.Cluster.Close()
}

// KeysOf are the profiles of which a game server has sessions while nothing is wrong.
func (b *Bed) KeysOf(server int) []string {
	keys := make([]string, b.Sessions)
	for i := range keys {
		keys[i] = fmt.Sprintf("player-%d-%03d", server, i)
	}
	return keys
}

// StartServers starts game servers, which open their sessions.
func (b *Bed) StartServers(ctx context.Context, which ...int) (err error) {
	for _, i := range which {
		host, gossipAt := b.host(b.ServerHosts[i]), "127.0.0.1:0"
		if host != nil {
			port := firstGossipPort + uint16(i)
			b.GossipPorts[port] = true
			gossipAt = host.At(port)
		}
		b.started++
		name := fmt.Sprintf("game-%d-%d", i+1, b.started)
		if b.Servers[i], err = startGameServer(b.folder, name, b.Cluster.Clients(), host, gossipAt); err != nil {
			return err
		}
	}
	return b.StartSessions(ctx, which...)
}

// StartSessions lets game servers open sessions of their own profiles, whichever game server has them now.
func (b *Bed) StartSessions(ctx context.Context, which ...int) error {
	orders := make(map[int]Order)
	for _, i := range which {
		orders[i] = Order{Do: StartSession, Keys: b.KeysOf(i)}
	}
	_, err := b.DoAll(ctx, orders)
	return err
}

func allServers() (all []int) {
	for i := range ServerCount {
		all = append(all, i)
	}
	return all
}

// DoOnAll gives every game server an order at once.
func (b *Bed) DoOnAll(ctx context.Context, order func(server int) Order) (answers map[int][]Answer, err error) {
	orders := make(map[int]Order)
	for i := range ServerCount {
		orders[i] = order(i)
	}
	return b.DoAll(ctx, orders)
}

// DoAll gives orders to game servers at once, and returns the answers of each. With an error there may be answers, too.
func (b *Bed) DoAll(ctx context.Context, orders map[int]Order) (answers map[int][]Answer, err error) {
	answers = make(map[int][]Answer)
	var mu sync.Mutex // of answers and err
	var waiting sync.WaitGroup
	for i, o := range orders {
		waiting.Go(func() {
			all, fault := b.Servers[i].Do(ctx, o)
			mu.Lock()
			defer mu.Unlock()
			answers[i], err = all, errors.Join(err, fault)
		})
	}
	waiting.Wait()
	return answers, err
}

// AllAt maps all keys to one moment.
func AllAt(keys []string, at measure.Moment) map[string]measure.Moment {
	all := make(map[string]measure.Moment, len(keys))
	for _, key := range keys {
		all[key] = at
	}
	return all
}
