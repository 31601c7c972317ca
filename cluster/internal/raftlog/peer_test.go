package raftlog

import (
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// peer runs one real raft over a given log. It is its own FSM.
type peer struct {
	t         *testing.T
	name      raft.ServerID
	log       raft.LogStore
	stable    *raft.InmemStore
	snapshots *openedSnapshots
	transport *raft.InmemTransport
	raft      *raft.Raft
	fit       func(index, term uint64, running bool) error // called in Restore; nil: raft alone

	mu       sync.Mutex
	applied  map[uint64]string // data of the applied entries, by index
	restores int               // number of calls of Restore
}

// openedSnapshots is a snapshot store that remembers which snapshot was opened last, since raft does not tell an FSM
// which one it restores.
type openedSnapshots struct {
	*raft.InmemSnapshotStore
	opened raft.SnapshotMeta // label of the snapshot that was opened last
}

func (o *openedSnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, content, err := o.InmemSnapshotStore.Open(id)
	if err == nil {
		o.opened = *meta
	}
	return meta, content, err
}

func newPeer(t *testing.T, name string, term uint64, log raft.LogStore) *peer {
	p := &peer{t: t, name: raft.ServerID(name), log: log, stable: raft.NewInmemStore(), applied: map[uint64]string{},
		snapshots: &openedSnapshots{InmemSnapshotStore: raft.NewInmemSnapshotStore()}}
	if err := p.stable.SetUint64([]byte("CurrentTerm"), term); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *peer) Apply(l *raft.Log) any {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.applied[l.Index] = string(l.Data)
	return nil
}

func (p *peer) Snapshot() (raft.FSMSnapshot, error) { return p, nil }
func (p *peer) Persist(sink raft.SnapshotSink) error {
	_, err := io.WriteString(sink, "state")
	return err
}
func (p *peer) Release() {}

func (p *peer) Restore(io.ReadCloser) error {
	time.Sleep(100 * time.Millisecond) // raft alone installs again and again, and must not do so without time passing
	p.mu.Lock()
	p.restores++
	p.mu.Unlock()
	if p.fit == nil {
		return nil
	}
	return p.fit(p.snapshots.opened.Index, p.snapshots.opened.Term, true)
}

func (p *peer) installs() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.restores
}

func servers(names ...string) (c raft.Configuration) {
	for _, name := range names {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(name), Address: raft.ServerAddress(name)})
	}
	return c
}

// configuredEntries returns an entry 1 with the configuration, followed by entries of term 1 up to last.
func configuredEntries(last uint64, c raft.Configuration) []*raft.Log {
	logs := []*raft.Log{{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)}}
	return append(logs, termEntries(1, 2, last)...)
}

// termEntries returns the entries from first to last. Their data states their term.
func termEntries(term, first, last uint64) (logs []*raft.Log) {
	for i := first; i <= last; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "term %d", term)})
	}
	return logs
}

// keep puts a snapshot with the given label into the peer's snapshot store.
func (p *peer) keep(index, term uint64, c raft.Configuration) {
	p.t.Helper()
	_, anyone := raft.NewInmemTransport("")
	sink, err := p.snapshots.Create(1, index, term, c, 1, anyone)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.Persist(sink); err != nil {
		p.t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) start(others ...*peer) {
	p.t.Helper()
	p.startWith(p, others...)
}

func (p *peer) startWith(machine raft.FSM, others ...*peer) {
	p.t.Helper()
	_, p.transport = raft.NewInmemTransport(raft.ServerAddress(p.name))
	for _, o := range others {
		p.transport.Connect(o.transport.LocalAddr(), o.transport)
		o.transport.Connect(p.transport.LocalAddr(), p.transport)
	}
	c := raft.DefaultConfig()
	c.LocalID, c.Logger = p.name, hclog.NewNullLogger()
	c.SnapshotInterval, c.SnapshotThreshold = time.Hour, 1<<62
	r, err := raft.NewRaft(c, machine, p.log, p.stable, p.snapshots, p.transport)
	if err != nil {
		p.t.Fatal(err)
	}
	p.raft = r
}

func (p *peer) shut() {
	p.t.Helper()
	if err := p.raft.Shutdown().Error(); err != nil {
		p.t.Error(err)
	}
	p.transport.DisconnectAll()
	_ = p.transport.Close()
}

// commits reports whether this peer becomes the leader and commits all entries that it has, among them the first one of its
// term, within the given time. It does not wait for an Apply, which may never return.
func (p *peer) commits(within time.Duration) bool {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		last := p.raft.LastIndex()
		if p.raft.State() == raft.Leader && last > snapshotEnd && p.raft.CommitIndex() == last {
			return p.raft.Apply([]byte("next"), 0).Error() == nil
		}
	}
	return false
}
