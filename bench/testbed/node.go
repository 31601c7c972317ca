// Package testbed starts the subjects of the benchmarks, each a process of its own.
//
// Run (run.go) is one run of a benchmark: its flags, its folder, its report. Cluster (cluster.go) is nodes, and Node (node.go)
// one of them. GameServer (game_server.go) is a game server, which is this very program (process.go) and does as it is told
// by orders (order.go): game_loop.go is the code that runs in it, saver.go its profiles that are saved again and again. Bed
// (bed.go) is all of that together, on loopback or on hosts of a network.Switch. busy.go keeps processors busy.
package testbed

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/internal/nodeproc"
	"github.com/profilenode/profilenode/internal/wire"
)

// Node is a node that this program runs.
type Node struct {
	*nodeproc.Node
	link *wire.Link

	mu    sync.Mutex
	lines []logLine
}

type logLine struct {
	at   time.Time
	text string
}

// Codes of the events in a node's log (docs/alarms.md) whose lines are kept.
const (
	SnapshotComplete = "SNAPSHOT_COMPLETE"
	ServerGone       = "SERVER_GONE"
	Leads            = "LEADS"
)

// newNode connects to a node that does not run yet, and reads its log from now on.
func newNode(node *nodeproc.Node) (n *Node, err error) {
	n = &Node{Node: node}
	node.OnStderr = n.readLogLine
	links := wire.BoundLinks()
	links.Options = append(links.Options, grpc.WithDefaultCallOptions(grpc.WaitForReady(true))) // requests wait until the node is there
	n.link, err = wire.Connect(node.Addresses.Clients, links)
	return n, err
}

func (n *Node) readLogLine(line string) {
	for _, code := range []string{SnapshotComplete, ServerGone, Leads} {
		if hasCode(line, code) {
			n.mu.Lock()
			n.lines = append(n.lines, logLine{time.Now(), line})
			n.mu.Unlock()
		}
	}
}

func hasCode(line, code string) bool { return strings.Contains(line+" ", " code="+code+" ") }

// LogLines are the lines of the log since a time with one of the codes that are kept.
func (n *Node) LogLines(code string, since time.Time) (lines []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.lines {
		if l.at.After(since) && hasCode(l.text, code) {
			lines = append(lines, l.text)
		}
	}
	return lines
}

// Status asks the node for its status.
func (n *Node) Status(ctx context.Context) (*profilev1.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return profilev1.NewClusterClient(n.link.Conn()).Status(ctx, &profilev1.StatusRequest{})
}

// GameServers asks the node, which must lead, for the game servers that it knows.
func (n *Node) GameServers(ctx context.Context) (servers []*profilev1.Server, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request := &profilev1.ServersRequest{}
	for {
		answer, err := profilev1.NewClusterClient(n.link.Conn()).Servers(ctx, request)
		if err != nil {
			return servers, err
		}
		for _, s := range answer.GetServers() {
			request.After = s.GetIncarnation()
			if s.GetKind() == profilev1.ServerKind_SERVER_KIND_GAME_SERVER {
				servers = append(servers, s)
			}
		}
		if !answer.GetMore() {
			return servers, nil
		}
	}
}

// WaitForAnswer waits until the node answers a linearizable read of a profile. The profile may have to exist.
func (n *Node) WaitForAnswer(ctx context.Context, store, key string, mustExist bool) error {
	for {
		if n.HasEnded() {
			return fmt.Errorf("the node ended:\n%s", n.LastLines())
		}
		try, cancel := context.WithTimeout(ctx, time.Second)
		got, err := profilev1.NewProfilesClient(n.link.Conn()).Get(try, &profilev1.GetRequest{Store: store, Key: key})
		cancel()
		if err == nil {
			if mustExist && got.GetProfile().GetRevision() == 0 {
				return fmt.Errorf("profile %s/%s does not exist", store, key)
			}
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for an answer: %w", err)
		}
		n.link.Conn().ResetConnectBackoff()
		measure.Sleep(ctx, 10*time.Millisecond)
	}
}
