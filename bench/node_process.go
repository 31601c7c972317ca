package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/nodeproc"
)

// nodeProcess is a node that this program runs, and what its log and its answers tell.
type nodeProcess struct {
	*nodeproc.Node
	conn *grpc.ClientConn

	mu        sync.Mutex
	snapshots []time.Time // when the log said that one was complete
	verdicts  []string    // lines that say that a game server is gone
	leads     int         // how often the log said that it leads
}

// newNodes prepares nodes that do not run yet.
func newNodes(program, dir string, count int) ([]*nodeProcess, error) {
	c, err := nodeproc.NewCluster(program, dir, count)
	if err != nil {
		return nil, err
	}
	nodes := make([]*nodeProcess, count)
	for i, n := range c.Nodes {
		n.Addresses.Gossip, n.Addresses.HTTP = "", ""
		if nodes[i], err = observeNode(n); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// observeNode connects to a node that does not run yet, and watches its log.
func observeNode(node *nodeproc.Node) (n *nodeProcess, err error) {
	n = &nodeProcess{Node: node}
	node.OnStderr = n.readLogLine
	n.conn, err = dialNode(node.Addresses.Clients)
	return n, err
}

// dialNode is a connection for an operator's calls, which wait until the node is there.
func dialNode(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)), grpc.WithChainUnaryInterceptor(new(profilev1.Binder).Bind))
}

// closeNodes ends every process.
func closeNodes(nodes []*nodeProcess) {
	for _, n := range nodes {
		_ = n.Kill() // it may have ended
		_ = n.conn.Close()
	}
}

// readLogLine keeps of the log what is measured.
func (n *nodeProcess) readLogLine(line string) {
	at := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if strings.Contains(line, "snapshot complete up to") {
		n.snapshots = append(n.snapshots, at)
	}
	if strings.Contains(line, "game server is gone") {
		n.verdicts = append(n.verdicts, line)
	}
	if strings.Contains(line, "msg=leads ") {
		n.leads++
	}
}

// snapshotsSince are the moments at which snapshots were complete.
func (n *nodeProcess) snapshotsSince(since time.Time) (moments []time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, at := range n.snapshots {
		if at.After(since) {
			moments = append(moments, at)
		}
	}
	return moments
}

// expiredServers are the lines in which this node said that a game server is gone.
func (n *nodeProcess) expiredServers() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.verdicts)
}

// timesLeading is how often it said that it leads.
func (n *nodeProcess) timesLeading() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leads
}

// whileAllRun is cancelled when one of the nodes ends: its clients would try again for ever.
func whileAllRun(ctx context.Context, nodes []*nodeProcess) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	for i, n := range nodes {
		go func() {
			select {
			case <-n.Ended():
				cancel(fmt.Errorf("node %d ended:\n%s", i+1, n.LastLines()))
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}

// waitForAnswer waits until the node answers a proved read of one profile, which must be there if it is wanted.
func (n *nodeProcess) waitForAnswer(ctx context.Context, store, key string, want bool) error {
	for {
		select {
		case <-n.Ended():
			return fmt.Errorf("the node ended:\n%s", n.LastLines())
		default:
		}
		try, cancel := context.WithTimeout(ctx, time.Second)
		got, err := profilev1.NewProfilesClient(n.conn).Get(try, &profilev1.GetRequest{Store: store, Key: key})
		cancel()
		if err == nil {
			if want && got.GetProfile().GetRevision() == 0 {
				return fmt.Errorf("profile %s/%s is gone", store, key)
			}
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for an answer: %w", err)
		}
		n.conn.ResetConnectBackoff()
		sleepUnlessDone(ctx, 10*time.Millisecond)
	}
}

func (n *nodeProcess) askStatus(ctx context.Context) (*profilev1.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return profilev1.NewClusterClient(n.conn).Status(ctx, &profilev1.StatusRequest{})
}

// resourceUsage is what the process has used since it started.
type resourceUsage struct {
	CPU     time.Duration
	Written uint64 // bytes given to the disk
	Memory  memoryUsage
}

// memoryUsage is what the kernel says, in bytes. File is what it could drop: pages of mapped files.
type memoryUsage struct {
	RSS  uint64 `json:"rss"`
	Peak uint64 `json:"peak"`
	Own  uint64 `json:"own"`
	File uint64 `json:"file"`
}

const clockTick = 10 * time.Millisecond // of /proc/PID/stat on Linux: USER_HZ is 100

// readUsage is of a process by its id.
func readUsage(pid int) (u resourceUsage, err error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	fields, err := procFields(dir + "status")
	if err != nil {
		return u, err
	}
	kib := func(name string) uint64 { return parseNumber(strings.TrimSuffix(fields[name], " kB")) << 10 }
	u.Memory = memoryUsage{RSS: kib("VmRSS"), Peak: kib("VmHWM"), Own: kib("RssAnon"), File: kib("RssFile")}
	if fields, err = procFields(dir + "io"); err != nil {
		return u, err
	}
	u.Written = parseNumber(fields["write_bytes"])
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return u, err
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name before it may hold anything
	columns := strings.Fields(after)
	if len(columns) < 13 {
		return u, fmt.Errorf("%sstat has %d columns", dir, len(columns))
	}
	u.CPU = time.Duration(parseNumber(columns[11])+parseNumber(columns[12])) * clockTick
	return u, nil
}

func procFields(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields, nil
}

func parseNumber(text string) uint64 {
	n, _ := strconv.ParseUint(text, 10, 64) // the kernel wrote it
	return n
}

// diskUsage is what the node's folder takes, each file once however many links it has.
type diskUsage struct {
	Tables    uint64 `json:"tables"`
	Snapshots uint64 `json:"snapshots"` // only what the tables no longer share
	Log       uint64 `json:"log"`
	Total     uint64 `json:"total"`
}

func (n *nodeProcess) readDiskUsage() (diskUsage, error) {
	seen := make(map[fileIdentity]bool)
	sum := func(folder string) (total uint64, err error) {
		err = filepath.WalkDir(folder, func(_ string, entry os.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) {
				return nil // compacted away meanwhile
			}
			if err != nil || entry.IsDir() {
				return err
			}
			info, err := entry.Info()
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			file, bytes, known := readAllocation(info)
			if !known || seen[file] {
				return nil
			}
			seen[file] = true
			total += bytes
			return nil
		})
		return total, err
	}
	var d diskUsage
	var errs [3]error
	d.Tables, errs[0] = sum(filepath.Join(n.Folder, "tables"))
	d.Snapshots, errs[1] = sum(filepath.Join(n.Folder, "snapshots"))
	d.Log, errs[2] = sum(n.Folder) // what is left
	d.Total = d.Tables + d.Snapshots + d.Log
	return d, errors.Join(errs[:]...)
}

func sleepUnlessDone(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
