package bed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/nodeproc"
	"github.com/profilenode/profilenode/internal/wire"
	"github.com/profilenode/profilenode/scripts/internal/disks"
)

// Node is a node of the bed.
type Node struct {
	*nodeproc.Node
	Number int
	Disk   *disks.Disk // nil: it has no file system of its own
	Name   string      // n1 and so on

	bed  *Bed
	link *wire.Link

	mu     sync.Mutex
	codes  map[string]int // events in its log, by code
	panics []string       // lines that tell of a crash
	mayEnd bool           // a fault lets it end by itself
	killAt string         // it is killed as soon as it logs this code; empty: none
	struck bool           // it was killed so, since KillAt
}

const (
	diskBytes  = 3 << 30 // of a sparse file: more than the reserve that a node keeps
	startLimit = 90 * time.Second
	askLimit   = 2 * time.Second
)

// crashSigns are parts of log lines that no fault excuses.
var crashSigns = []string{"panic:", "DATA RACE", "fatal error:", "SIGSEGV"}

func (b *Bed) newNode(number int, p *nodeproc.Node) (n *Node, err error) {
	n = &Node{Node: p, Number: number, Name: fmt.Sprintf("n%d", number+1), bed: b, codes: map[string]int{}}
	p.Log = filepath.Join(b.Folder, n.Name+".log")
	p.OnStderr = n.readLogLine
	n.link, err = wire.Connect(p.Addresses.Clients, wire.BoundLinks())
	if err != nil {
		return nil, err
	}
	if b.Disks {
		if err := os.MkdirAll(filepath.Dir(p.Folder), 0o700); err != nil {
			return n, err
		}
		if n.Disk, err = disks.Open(p.Folder, diskBytes); err != nil {
			return n, err
		}
		p.Folder = filepath.Join(n.Disk.Path(), "data")
	}
	return n, nil
}

func (n *Node) readLogLine(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, rest, found := strings.Cut(line, " code="); found {
		code, _, _ := strings.Cut(rest, " ")
		n.codes[code]++
		if code == n.killAt {
			n.killAt, n.struck = "", true
			_ = n.SendKill() // it may have ended
		}
	}
	for _, sign := range crashSigns {
		if strings.Contains(line, sign) && len(n.panics) < 20 {
			n.panics = append(n.panics, line)
		}
	}
}

// CountCode counts the lines of its log with a code.
func (n *Node) CountCode(code string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.codes[code]
}

// Crashes are lines of its log that tell of a crash of the program.
func (n *Node) Crashes() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.panics...)
}

// AllowEnd says whether a fault lets the node end by itself.
func (n *Node) AllowEnd(may bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mayEnd = may
}

// KillAt kills the node as soon as it logs an event with a code, once; empty: not any more. It returns whether an earlier call has
// killed it: then it has ended by itself, as far as the bed knows.
func (n *Node) KillAt(code string) (killed bool) {
	n.mu.Lock()
	killed = n.struck
	n.killAt, n.struck = code, false
	n.mu.Unlock()
	if killed {
		<-n.Ended()
	}
	return killed
}

func (n *Node) mayEndNow() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mayEnd
}

// StartProcess starts the node if it is not up.
func (n *Node) StartProcess(flags ...string) error {
	if n.Up() {
		return nil
	}
	return n.Start(flags...)
}

// Restart kills the node if it runs, and starts it.
func (n *Node) Restart() error {
	return errors.Join(n.Kill(), n.StartProcess())
}

// Status asks the node for its status.
func (n *Node) Status(ctx context.Context) (*pb.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	return pb.NewClusterClient(n.link.Conn()).Status(ctx, &pb.StatusRequest{})
}

// Cluster calls the node's service for operators.
func (n *Node) Cluster() pb.ClusterClient { return pb.NewClusterClient(n.link.Conn()) }

// LogEnd is the end of its log, for an error.
func (n *Node) LogEnd() string {
	text, err := os.ReadFile(n.Log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// LastLine is the last line of its log.
func (n *Node) LastLine() string {
	lines := strings.Split(strings.TrimSpace(n.LogEnd()), "\n")
	return lines[len(lines)-1]
}

func (n *Node) close() error {
	var err error
	if n.Disk != nil {
		err = n.Disk.Thaw() // a process that writes to a disk that hangs cannot end
	}
	_ = n.Kill() // it may have ended
	n.link.Close()
	if n.Disk != nil {
		err = errors.Join(err, n.Disk.Close())
	}
	return err
}
