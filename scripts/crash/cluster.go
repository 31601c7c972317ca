//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	nodes    = 3
	maxReply = 8 << 20
	pause    = 20 * time.Millisecond // between two looks
)

// nodeCluster is three nodes, each a process with a folder of its own, on a disk of its own where power is cut or disks are filled.
type nodeCluster struct {
	program string
	home    string
	nodes   [nodes]*nodeProcess
}

type nodeProcess struct {
	name                         string
	clients, nodes, gossip, http string
	data                         string
	disk                         *loopDisk // nil: no power is cut, and no disk filled
	logDisk                      *loopDisk // nil: the log lies with the rest
	log, pid                     string
	began                        int64 // bytes of log before this life
	mayEnd                       bool  // by itself: its disk is full
	unguarded                    bool  // it keeps no reserve
	conn                         *grpc.ClientConn

	process *exec.Cmd
	ended   chan struct{}
}

func startCluster(s crashSettings, home string) (*nodeCluster, error) {
	c := &nodeCluster{program: s.program, home: home}
	const ports = 4
	free, err := freeAddresses(nodes * ports)
	if err != nil {
		return nil, err
	}
	for i := range c.nodes {
		n := &nodeProcess{name: fmt.Sprintf("node%d", i+1)}
		n.clients, n.nodes, n.gossip, n.http = free[i*ports], free[i*ports+1], free[i*ports+2], free[i*ports+3]
		n.log, n.pid = filepath.Join(home, n.name+".log"), filepath.Join(home, n.name+".pid")
		n.data = filepath.Join(home, n.name)
		c.nodes[i] = n
		if s.power+s.full > 0 {
			if n.disk, err = newLoopDisk(filepath.Join(home, n.name+".ext4"), filepath.Join(home, n.name)); err != nil {
				return nil, errors.Join(err, c.closeCluster())
			}
			n.data = filepath.Join(n.data, "data")
		}
		n.conn, err = grpc.NewClient("passthrough:///"+n.clients, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply)), grpc.WithChainUnaryInterceptor(new(pb.Binder).Bind),
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: pause, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: time.Second}))
		if err != nil {
			return nil, errors.Join(err, c.closeCluster())
		}
	}
	return c, nil
}

func freeAddresses(count int) (addresses []string, err error) {
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // after the last, so that all differ
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// startNode runs a node on its folder. Snapshots are due after little, and leave little of the log behind.
func (c *nodeCluster) startNode(n *nodeProcess) error {
	var peers []string
	for _, n := range c.nodes {
		peers = append(peers, n.nodes)
	}
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	n.began = n.logBytes()
	p := exec.Command(c.program, "serve", "--data", n.data, "--bind", n.clients, "--bind-nodes", n.nodes, "--bind-gossip", n.gossip,
		"--bind-http", n.http, "--nodes", strings.Join(peers, ","), "--snapshot-bytes", "1MiB", "--trailing-bytes", "256KiB", "--exit-with-stdin")
	if n.unguarded {
		p.Args = append(p.Args, "--reserve", "0", "--hard-reserve", "0")
	}
	if _, err := p.StdinPipe(); err != nil { // its end ends the node, should this process die first
		return err
	}
	p.Stdout, p.Stderr = log, log
	if err := p.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	n.process, n.ended = p, ended
	go func() {
		_ = p.Wait() // killed, mostly
		close(ended)
	}()
	return os.WriteFile(n.pid, fmt.Appendf(nil, "%d\n", p.Process.Pid), 0o600)
}

// killProcess returns once the process is gone.
func (n *nodeProcess) killProcess() error {
	if n.process == nil {
		return nil
	}
	if err := n.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-n.ended
	n.process = nil
	return os.Remove(n.pid)
}

func (n *nodeProcess) pauseProcess() error { return pauseAndWait(n.process.Process.Pid) }

// hasEnded says that the process ended by itself.
func (n *nodeProcess) hasEnded() bool {
	if n.process == nil {
		return false
	}
	select {
	case <-n.ended:
		return true
	default:
		return false
	}
}

func (n *nodeProcess) askStatus(ctx context.Context) (*pb.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return pb.NewClusterClient(n.conn).Status(ctx, &pb.StatusRequest{})
}

// findLeader is nil when nobody who can be reached leads.
func (c *nodeCluster) findLeader(ctx context.Context) (*nodeProcess, *pb.StatusResponse) {
	var newest *pb.StatusResponse
	var at *nodeProcess
	for _, n := range c.nodes {
		if n.process == nil {
			continue
		}
		s, err := n.askStatus(ctx)
		if err == nil && s.GetState() == "leader" && s.GetTerm() > newest.GetTerm() {
			newest, at = s, n
		}
	}
	return at, newest
}

// waitCaughtUp returns once all vote, and have what the leader had applied at the time of asking.
func (c *nodeCluster) waitCaughtUp(ctx context.Context, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	why := "nobody leads"
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

// checkNoneEnded is an error where a node ended by itself, which is right only on a full disk.
func (c *nodeCluster) checkNoneEnded() error {
	for _, n := range c.nodes {
		if n.hasEnded() && !n.mayEnd {
			return fmt.Errorf("%s ended by itself: %s", n.name, lastLines(n.log))
		}
	}
	return nil
}

// describeLag says who has not applied the entry at target, or does not vote; "": nobody.
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

// compareDigests asks until all answer at one index.
func (c *nodeCluster) compareDigests(ctx context.Context) error {
	var index uint64
	for range 100 {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		var answers [nodes]*pb.DigestResponse
		for i, n := range c.nodes {
			d, err := pb.NewClusterClient(n.conn).Digest(ctx, &pb.DigestRequest{Index: index})
			if err != nil {
				cancel()
				return fmt.Errorf("digest of %s: %w", n.name, err)
			}
			answers[i] = d
		}
		cancel()
		apart := false
		for _, d := range answers {
			apart = apart || d.GetIndex() != answers[0].GetIndex()
			index = max(index, d.GetIndex())
		}
		if apart {
			continue
		}
		for i, d := range answers {
			if d.GetDigest() != answers[0].GetDigest() {
				return fmt.Errorf("digests differ at entry %d: %s has %016x, node1 %016x", index, c.nodes[i].name, d.GetDigest(), answers[0].GetDigest())
			}
		}
		return nil
	}
	return errors.New("digests could not be compared: the nodes are never at one index")
}

// closeCluster ends everything that was started here.
func (c *nodeCluster) closeCluster() error {
	var errs []error
	for _, n := range c.nodes {
		if n == nil {
			continue
		}
		if n.process != nil {
			_ = n.process.Process.Signal(syscall.SIGCONT) // it may have ended
		}
		errs = append(errs, n.killProcess())
		if n.conn != nil {
			errs = append(errs, n.conn.Close())
		}
		if n.logDisk != nil {
			errs = append(errs, unmountFolder(n.logDisk.at))
		}
		if n.disk != nil {
			errs = append(errs, unmountFolder(n.disk.at))
		}
	}
	return errors.Join(errs...)
}
