//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/nodeproc"
	"github.com/profilenode/profilenode/internal/wire"
	"github.com/profilenode/profilenode/scripts/internal/disks"
)

const (
	nodes = 3
	pause = 20 * time.Millisecond // between two looks

	diskBytes = 6 << 30 // of a sparse file; more than a node's reserve
)

// nodeCluster is three nodes, each on a disk of its own in runs that do more than kill.
type nodeCluster struct {
	nodes   [nodes]*nodeProcess
	clients []string // the addresses for clients
	program string   // profilenode
}

type nodeProcess struct {
	*nodeproc.Node
	name      string
	disk      *disks.Disk // nil: no power is cut, and no disk filled or frozen
	logDisk   *disks.Disk // nil: the log lies with the rest
	began     int64       // bytes of log before its last start
	mayEnd    bool        // its disk is full or hangs, so it may end by itself
	unguarded bool        // it keeps no reserve
	link      *wire.Link
}

// startCluster prepares the nodes. They make snapshots after few bytes, and leave little of the log behind them.
func startCluster(s crashSettings, home string) (*nodeCluster, error) {
	prepared, err := nodeproc.NewCluster(s.program, home, nodes)
	if err != nil {
		return nil, err
	}
	c := &nodeCluster{clients: prepared.Clients(), program: s.program}
	for i, p := range prepared.Nodes {
		n := &nodeProcess{Node: p, name: fmt.Sprintf("node%d", i+1)}
		n.Log, n.Folder = filepath.Join(home, n.name+".log"), filepath.Join(home, n.name)
		n.Flags = []string{"--snapshot-bytes", "1MiB", "--trailing-bytes", "256KiB"}
		c.nodes[i] = n
		if s.power+s.full+s.hang > 0 {
			if n.disk, err = disks.Open(n.Folder, diskBytes); err != nil {
				return nil, errors.Join(err, c.closeCluster())
			}
			n.Folder = filepath.Join(n.Folder, "data")
		}
		if n.link, err = wire.Connect(n.Addresses.Clients, wire.BoundLinks()); err != nil {
			return nil, errors.Join(err, c.closeCluster())
		}
	}
	return c, nil
}

// startProcess starts a node on its folder.
func (n *nodeProcess) startProcess() error {
	n.began = n.logBytes()
	if n.unguarded {
		return n.Start("--reserve", "0", "--hard-reserve", "0")
	}
	return n.Start()
}

func (n *nodeProcess) askStatus(ctx context.Context) (*pb.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return pb.NewClusterClient(n.link.Conn()).Status(ctx, &pb.StatusRequest{})
}

// findLeader is the leader with its status, nil if no reachable node leads.
func (c *nodeCluster) findLeader(ctx context.Context) (*nodeProcess, *pb.StatusResponse) {
	var newest *pb.StatusResponse
	var at *nodeProcess
	for _, n := range c.nodes {
		if !n.Up() {
			continue
		}
		s, err := n.askStatus(ctx)
		if err == nil && s.GetState() == "leader" && s.GetTerm() > newest.GetTerm() {
			newest, at = s, n
		}
	}
	return at, newest
}

// waitCaughtUp waits until all nodes vote and have applied as much as the leader had at the time of the call.
func (c *nodeCluster) waitCaughtUp(ctx context.Context, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	why := "no node leads"
	var target uint64
	for ; time.Now().Before(deadline); time.Sleep(pause) {
		if err := c.checkNoneEnded(); err != nil {
			return err
		}
		if target == 0 {
			if _, s := c.findLeader(ctx); s != nil {
				target = s.GetApplied()
			}
			continue
		}
		if why = c.describeLag(ctx, target); why == "" {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("not caught up within %v: %s", limit, why)
}

// checkNoneEnded is an error where a node ended by itself, which is right only on a disk that is full or hangs.
func (c *nodeCluster) checkNoneEnded() error {
	for _, n := range c.nodes {
		if n.HasEnded() && !n.mayEnd {
			return fmt.Errorf("%s ended by itself: %s", n.name, n.LastLines())
		}
	}
	return nil
}

// describeLag names a node that has not applied the entry at target, or does not vote; empty if there is none.
func (c *nodeCluster) describeLag(ctx context.Context, target uint64) string {
	for _, n := range c.nodes {
		s, err := n.askStatus(ctx)
		if err != nil {
			return fmt.Sprintf("%s: %v", n.name, err)
		}
		voters, self := 0, false
		for _, m := range s.GetMembers() {
			if m.GetVoter() {
				voters++
				self = self || m.GetId() == s.GetId()
			}
		}
		if s.GetApplied() < target || voters != nodes || !self {
			return fmt.Sprintf("%s is a %s at entry %d of %d, and knows %d voters", n.name, s.GetState(), s.GetApplied(), target, voters)
		}
	}
	return ""
}

// compareDigests fails unless all nodes have one digest at one index. No writer may be saving.
func (c *nodeCluster) compareDigests() error {
	return runCommand(c.program, "digest", "--addr", strings.Join(c.clients, ","))
}

func runCommand(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// closeCluster ends everything that was started here.
func (c *nodeCluster) closeCluster() error {
	var errs []error
	for _, n := range c.nodes {
		if n == nil {
			continue
		}
		errs = append(errs, n.Kill())
		if n.link != nil {
			n.link.Close()
		}
		if n.logDisk != nil {
			errs = append(errs, n.logDisk.Close())
		}
		if n.disk != nil {
			errs = append(errs, n.disk.Close())
		}
	}
	return errors.Join(errs...)
}
