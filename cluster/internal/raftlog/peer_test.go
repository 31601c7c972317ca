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

// peer is one real raft over a log that it may not like.
type peer struct {
	t         *testing.T
	name      raft.ServerID
	log       raft.LogStore
	stable    *raft.InmemStore
	snapshots *openedSnapshots
	transport *raft.InmemTransport
	raft      *raft.Raft
	// fit is nil where raft is left alone.
	fit func(index, term uint64, running bool) error

	mu       sync.Mutex
	applied  map[uint64]string
	restores int
}

// openedSnapshots remembers what was opened last: an FSM is not told.
type openedSnapshots struct {
	*raft.InmemSnapshotStore
	opened raft.SnapshotMeta
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
	time.Sleep(100 * time.Millisecond) // or raft alone would go round and round in no time at all
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

// configured is an entry with the configuration, then entries of a term up to last, which say what they are.
func configured(last uint64, c raft.Configuration) []*raft.Log {
	logs := []*raft.Log{{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)}}
	return append(logs, told(1, 2, last)...)
}

func told(term, first, last uint64) (logs []*raft.Log) {
	for i := first; i <= last; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "term %d", term)})
	}
	return logs
}

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

// commits says whether all that this leader has, the first entry of its term with it, is committed in time. (To wait for
// the answer to an Apply could be to wait for ever.)
func (p *peer) commits(within time.Duration) bool {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		last := p.raft.LastIndex()
		if p.raft.State() == raft.Leader && last > snapshotEnd && p.raft.CommitIndex() == last {
			return p.raft.Apply([]byte("next"), 0).Error() == nil
		}
	}
	return false
}
