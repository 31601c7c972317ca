package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/profilenode/profilenode/api/profilev1"
)

// nodeProcess is a profilenode that this program runs, on loopback.
type nodeProcess struct {
	program string
	folder  string
	clients string // addresses
	peers   string
	nodes   []string // peers of all
	flags   []string // beside those for addresses and folder
	rumours uint16   // port for game servers' gossip; 0: none
	conn    *grpc.ClientConn

	within  processPlace // nil: beside this program
	process *exec.Cmd
	ended   chan struct{} // closed when the process has ended and its log is read

	mu        sync.Mutex
	snapshots []time.Time // when the log said that one was complete
	lastLines []string
	verdicts  []string // lines that say that a game server is gone
	leads     int      // how often the log said that it leads
}

// buildProgram makes the program from the sources of the module that this runs in.
func buildProgram(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "profilenode")
	command := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/profilenode/profilenode/cmd/profilenode")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build profilenode: %w\n%s", err, out)
	}
	return program, nil
}

// newNodes prepares nodes that do not run yet.
func newNodes(program, dir string, count int) ([]*nodeProcess, error) {
	free, err := readOrChooseAddresses(dir, 2*count)
	if err != nil {
		return nil, err
	}
	nodes := make([]*nodeProcess, count)
	for i := range nodes {
		conn, err := dialNode(free[i])
		if err != nil {
			return nil, err
		}
		nodes[i] = &nodeProcess{
			program: program, folder: filepath.Join(dir, fmt.Sprintf("n%d", i+1)), clients: free[i], peers: free[count+i],
			nodes: free[count:], conn: conn,
		}
	}
	return nodes, nil
}

// dialNode is a connection for an operator's calls, which wait until the node is there.
func dialNode(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)), grpc.WithChainUnaryInterceptor(new(profilev1.Binder).Bind))
}

// readOrChooseAddresses are those that the nodes of this folder had before, since a cluster knows its members by them; if
// there were none, free ones that are kept there.
func readOrChooseAddresses(dir string, count int) ([]string, error) {
	file := filepath.Join(dir, "addresses")
	switch text, err := os.ReadFile(file); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		kept := strings.Fields(string(text))
		if len(kept) != count {
			return nil, fmt.Errorf("%s is of %d nodes, not %d: give the folder's own number, or another folder", dir, len(kept)/2, count/2)
		}
		return kept, nil
	}
	free, err := freeAddresses(count)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return free, os.WriteFile(file, []byte(strings.Join(free, "\n")+"\n"), 0o600)
}

// freeAddresses are of ports that were free a moment ago.
func freeAddresses(count int) ([]string, error) {
	addresses := make([]string, count)
	for i := range addresses {
		port, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer port.Close()
		addresses[i] = port.Addr().String()
	}
	return addresses, nil
}

// startProcess starts the process, with flags beside those of the node.
func (n *nodeProcess) startProcess(flags ...string) error {
	args := []string{"serve", "--data", n.folder, "--bind", n.clients, "--bind-nodes", n.peers, "--bind-gossip", "", "--bind-http", "", "--exit-with-stdin"}
	if len(n.nodes) > 1 {
		args = append(args, "--nodes", strings.Join(n.nodes, ","))
	}
	n.process = exec.Command(n.program, append(append(args, n.flags...), flags...)...)
	// Its own group, so that an interrupt at the terminal reaches this program alone, which then ends it; and with this
	// program its stdin ends, and so does it.
	startInOwnGroup(n.process)
	if _, err := n.process.StdinPipe(); err != nil {
		return err
	}
	log, err := n.process.StderrPipe()
	if err != nil {
		return err
	}
	start := n.process.Start
	if n.within != nil {
		start = func() error { return n.within.startProcess(n.process) }
	}
	if err := start(); err != nil {
		return fmt.Errorf("start a node: %w", err)
	}
	process, ended := n.process, make(chan struct{})
	n.ended = ended
	go func() {
		n.readLog(log)
		_ = process.Wait() // how it ended is in its log
		close(ended)
	}()
	return nil
}

// readLog keeps of the log what is measured, and its last lines for errors.
func (n *nodeProcess) readLog(log io.Reader) {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line, at := lines.Text(), time.Now()
		n.mu.Lock()
		if strings.Contains(line, "snapshot complete up to") {
			n.snapshots = append(n.snapshots, at)
		}
		if strings.Contains(line, "game server is gone") {
			n.verdicts = append(n.verdicts, line)
		}
		if strings.Contains(line, "msg=leads ") {
			n.leads++
		}
		n.lastLines = append(n.lastLines, line)
		n.lastLines = n.lastLines[max(0, len(n.lastLines)-20):]
		n.mu.Unlock()
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

func (n *nodeProcess) lastLine() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.lastLines, "\n")
}

// whileAllRun is cancelled when one of the nodes ends: its clients would try again for ever.
func whileAllRun(ctx context.Context, nodes []*nodeProcess) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	for i, n := range nodes {
		go func() {
			select {
			case <-n.ended:
				cancel(fmt.Errorf("node %d ended:\n%s", i+1, n.lastLine()))
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}

func (n *nodeProcess) processID() int { return n.process.Process.Pid }

// killProcess ends the process at once.
func (n *nodeProcess) killProcess() {
	if n.process == nil {
		return
	}
	_ = n.process.Process.Kill()
	<-n.ended
	n.process = nil
}

// stopProcess asks the process to end, and says how long it took.
func (n *nodeProcess) stopProcess() (time.Duration, error) {
	began := time.Now()
	if err := n.process.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, fmt.Errorf("stop a node: %w", err)
	}
	select {
	case <-n.ended:
	case <-time.After(time.Minute):
		return 0, errors.New("stop a node: it has not ended within a minute")
	}
	n.process = nil
	return time.Since(began), nil
}

// waitForAnswer waits until the node answers a proved read of one profile, which must be there if it is wanted.
func (n *nodeProcess) waitForAnswer(ctx context.Context, store, key string, want bool) error {
	for {
		select {
		case <-n.ended:
			return fmt.Errorf("the node ended:\n%s", n.lastLine())
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

func (n *nodeProcess) readUsage() (u resourceUsage, err error) {
	dir := fmt.Sprintf("/proc/%d/", n.processID())
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
	d.Tables, errs[0] = sum(filepath.Join(n.folder, "tables"))
	d.Snapshots, errs[1] = sum(filepath.Join(n.folder, "snapshots"))
	d.Log, errs[2] = sum(n.folder) // what is left
	d.Total = d.Tables + d.Snapshots + d.Log
	return d, errors.Join(errs[:]...)
}

func sleepUnlessDone(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
