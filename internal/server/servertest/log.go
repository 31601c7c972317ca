// Package servertest is a scripted cluster for tests: the service of package server over real tables, behind a log that a
// test holds in its hand. A client that is tested with it meets the very code that answers its requests and renewals in a
// node; only raft is missing, so a test says when the lead is lost, the log rolled back, or leadership not confirmed.
package servertest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
)

// Log is a log of one copy with its tables: each command is an entry of its own, applied at once. Its nodes share it.
type Log struct {
	t       testing.TB
	cluster []byte // its id; nil: there is no cluster yet

	mu       sync.Mutex
	machine  *fsm.Machine
	opened   []*fsm.Machine // one more after each roll-back
	index    uint64
	end      uint64 // where the log ends, if that is not where the tables are
	entries  []fsm.Log
	commands []*fsm.Command // of these
	hubs     []*server.Hub
	deaf     bool   // events are lost
	epoch    uint64 // 0: that of the tables
	leader   string // client address of the node that leads
}

// NewLog is the log of a cluster that has been founded, or of none yet if id is nil. Its build is one of a level to come.
func NewLog(t testing.TB, id []byte) *Log {
	t.Helper()
	l := &Log{t: t, cluster: id}
	t.Cleanup(l.closeMachines) // after the nodes that are added later have stopped
	l.openMachine()
	if id == nil {
		return l
	}
	l.Do(&fsm.FoundCluster{Cluster: id, Level: fsm.Level, Policies: fsm.DefaultPolicies(), Classes: fsm.DefaultClasses()})
	return l
}

// openMachine opens empty tables. Those before stay open until the test ends, since calls under way may read them.
func (l *Log) openMachine() {
	machine, err := fsm.Open(fsm.Options{FS: vfs.NewMem(), Dir: "tables", Logger: quiet{}, Build: fsm.Build{Level: fsm.Level + 1}})
	if err != nil {
		l.t.Fatal(err)
	}
	l.machine = machine
	l.opened = append(l.opened, machine)
}

func (l *Log) closeMachines() {
	for _, machine := range l.opened {
		if err := machine.Close(); err != nil {
			l.t.Errorf("close the tables: %v", err)
		}
	}
}

// Apply puts a command into the log and applies it.
func (l *Log) Apply(c *fsm.Command) (fsm.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index++
	data, err := fsm.Encode(fsm.Level, l.cluster, int64(l.index)*1000, []*fsm.Command{c})
	if err != nil {
		return fsm.Result{}, err
	}
	entry := fsm.Log{Index: l.index, Term: 1, Data: data}
	out, err := l.machine.Apply([]fsm.Log{entry})
	if err != nil {
		return fsm.Result{}, err
	}
	l.entries, l.commands = append(l.entries, entry), append(l.commands, c)
	if !l.deaf {
		for _, hub := range l.hubs {
			hub.Publish(out[0].Events)
		}
	}
	return out[0].Results[0], nil
}

// Do is Apply of a command without a request; a refusal fails the test.
func (l *Log) Do(act any) fsm.Result {
	l.t.Helper()
	result, err := l.Apply(fsm.NewCommand(nil, act))
	if err != nil || result.Code != fsm.OK {
		l.t.Errorf("apply %T: %v, %v", act, result.Code, err)
	}
	return result
}

// Index is the place of the newest entry.
func (l *Log) Index() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.index
}

// EndAt makes the log say that it ends at an index, which need not be where the tables are.
func (l *Log) EndAt(index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = index
}

// Skip leaves entries free, as those of raft's own.
func (l *Log) Skip(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index += n
}

// RollBack takes the newest entries away, down to an index, as old disks do that were put back under all nodes.
func (l *Log) RollBack(index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	keep := 0
	for keep < len(l.entries) && l.entries[keep].Index <= index {
		keep++
	}
	l.entries, l.commands, l.index = l.entries[:keep], l.commands[:keep], index
	l.openMachine()
	if _, err := l.machine.Apply(l.entries); err != nil {
		l.t.Error(err)
	}
}

// SetEpoch makes the nodes say that the cluster is in an epoch. The tables themselves know the first one only.
func (l *Log) SetEpoch(epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = epoch
}

// Deafen makes events get lost from here on, or not.
func (l *Log) Deafen(deaf bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = deaf
}

// Tell pushes events to the streams, whatever the tables say.
func (l *Log) Tell(events ...fsm.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, hub := range l.hubs {
		hub.Publish(events)
	}
}

// Lead makes the node with a client address the leader; empty: there is none.
func (l *Log) Lead(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leader = address
}

// Count counts the commands of a kind in the log, as "Save".
func (l *Log) Count(kind string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.commands {
		if strings.HasSuffix(fmt.Sprintf("%T", c.Act), "Command_"+kind) {
			n++
		}
	}
	return n
}

// quiet is a log of Pebble's that is not read.
type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }
