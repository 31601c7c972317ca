package bed

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/internal/network"
	"github.com/profilenode/profilenode/internal/nodeproc"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/game"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// GameServer is a game server of the bed: this very program as another process. Each start makes it another one, under a new name.
type GameServer struct {
	Number int
	Name   string // of its current or last process

	bed    *Bed
	host   *network.Host
	starts int

	command *exec.Cmd
	stdin   io.WriteCloser
	ended   chan struct{}
	err     error // how its process ended; read after ended

	saves atomic.Int64 // acknowledged, of all its processes
	mu    sync.Mutex
	keys  map[string]struct{} // that it named
}

// Start starts its process.
func (g *GameServer) Start() (err error) {
	program := g.bed.GameProgram
	if program == "" {
		if program, err = os.Executable(); err != nil {
			return err
		}
	}
	g.starts++
	g.Name = fmt.Sprintf("g%d", g.Number+1)
	if g.starts > 1 {
		g.Name = fmt.Sprintf("g%d-%d", g.Number+1, g.starts)
	}
	w := g.bed.Workload
	s := game.Settings{
		Name: g.Name, Seeds: g.bed.ClientAddresses(), Gossip: "127.0.0.1:0", Workload: w.Name, Workers: w.Workers, Keys: w.Keys,
		Seed: g.bed.Seed + uint64(1000*(g.Number+1)+g.starts), Began: int64(g.bed.Began),
	}
	if g.host != nil {
		s.Gossip, s.Host = g.host.At(gamePort), g.host.Address.String()
	}
	g.command = exec.Command(program, s.Arguments()...)
	nodeproc.UseOwnGroup(g.command)
	if g.stdin, err = g.command.StdinPipe(); err != nil {
		return err
	}
	stdout, err := g.command.StdoutPipe()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(g.bed.Folder, g.Name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	g.command.Stderr = log
	start := g.command.Start
	if g.host != nil {
		start = func() error { return g.host.Start(g.command) }
	}
	if err := start(); err != nil {
		return fmt.Errorf("start game server %s: %w", g.Name, err)
	}
	ended := make(chan struct{})
	g.ended = ended
	command := g.command
	go func() {
		err := g.readEvents(stdout)
		g.err = errors.Join(err, command.Wait())
		close(ended)
	}()
	return nil
}

// readEvents writes the events of its process to the history.
func (g *GameServer) readEvents(stdout io.Reader) error {
	lines := bufio.NewReaderSize(stdout, 1<<16)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil // the end; a killed process may leave half a line
		}
		var e history.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("game server %s says %q: %w", g.Name, line, err)
		}
		if e.Type == history.OK && (e.Action == history.Save || e.Action == history.Set) {
			g.saves.Add(1)
		}
		if e.Key != "" {
			g.mu.Lock()
			if g.keys == nil {
				g.keys = map[string]struct{}{}
			}
			g.keys[e.Key] = struct{}{}
			g.mu.Unlock()
		}
		if err := g.bed.History.Write(e); err != nil {
			return err
		}
	}
}

// Saves counts the acknowledged saves of all its processes.
func (g *GameServer) Saves() int64 { return g.saves.Load() }

// Running says whether its process runs.
func (g *GameServer) Running() bool {
	if g.ended == nil {
		return false
	}
	select {
	case <-g.ended:
		return false
	default:
		return true
	}
}

// Kill ends its process at once.
func (g *GameServer) Kill() {
	if g.ended == nil {
		return
	}
	_ = g.command.Process.Kill() // it may have ended
	<-g.ended
	_ = g.stdin.Close()
}

// PID is the id of its current or last process.
func (g *GameServer) PID() int { return g.command.Process.Pid }

// Pause stops its process where it is.
func (g *GameServer) Pause() error { return nodeproc.PauseProcess(g.command.Process) }

// Continue lets it go on.
func (g *GameServer) Continue() error { return nodeproc.ContinueProcess(g.command.Process) }

// Finish asks its process to end its sessions and itself.
func (g *GameServer) Finish(limit time.Duration) error {
	if !g.Running() {
		return fmt.Errorf("game server %s has ended: %w\n%s", g.Name, g.err, g.logEnd())
	}
	if _, err := io.WriteString(g.stdin, "finish\n"); err != nil {
		return err
	}
	select {
	case <-g.ended:
		if g.err != nil {
			return fmt.Errorf("game server %s: %w\n%s", g.Name, g.err, g.logEnd())
		}
		return nil
	case <-time.After(limit):
		return fmt.Errorf("game server %s has not ended within %v", g.Name, limit)
	}
}

func (g *GameServer) logEnd() string {
	text, err := os.ReadFile(filepath.Join(g.bed.Folder, g.Name+".log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}
