// Package fsm is the memory: what the log has made true. Commands go in, results and events come out, tables lie on disk
// in Pebble.
//
// It promises that the same log gives the same tables, digest and results on every node, however it is cut into batches
// and whenever a node stopped in between; that a write lands only under the token in force and on the revision that it
// names; and that a request is carried out once. It reads only the entry and the tables: no clock, no randomness, no
// network, no goroutine, no order of a map. Read this file first, then answer.go for retries, session.go for ownership
// (whose law is in package lock) and save.go for data.
package fsm

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options say where the tables lie.
type Options struct {
	FS         vfs.FS // nil: the disk
	Dir        string
	Logger     pebble.Logger // its Fatalf must stop the node, and not return
	CacheBytes int64         // of blocks read; 0: 64 MiB
	Level      uint32        // the highest that this machine applies; 0: the build's. Tests alone take another.

	// OnFault is told when the disk fails beside the applies: rows may never reach it, however often Pebble tries again.
	// It may be told often, with Pebble's locks held. Whoever listens closes Broken: from then on a flush, which may never
	// end, is waited for by nobody. nil: nobody is told, and every flush is waited for.
	OnFault func(error)
	Broken  <-chan struct{}
}

// Machine applies entries to the tables. One goroutine applies; any may View.
type Machine struct {
	db           *pebble.DB
	position     Position
	highestLevel uint32 // level that it applies
	policies     policyCache
	rows         *rowCache
	broken       <-chan struct{}
}

// errBroken: the disk failed, and nobody knows what has reached it.
var errBroken = errors.New("the disk has failed")

// Open opens the tables as the last flush left them: a prefix of the log, which is applied again from there.
func Open(o Options) (*Machine, error) {
	db, err := openPebble(o, false)
	if err != nil {
		return nil, err
	}
	m := &Machine{db: db, highestLevel: cmp.Or(o.Level, Level), policies: policyCache{}, rows: newRowCache(), broken: o.Broken}
	r := tableReader{from: db}
	m.position = r.readPosition()
	if level := m.position.Level; r.err == nil && level > m.highestLevel {
		r.err = fmt.Errorf("they are of level %d, this build knows %d: %w", level, m.highestLevel, ErrOldBuild)
	}
	if r.err != nil {
		return nil, fmt.Errorf("open the tables: %w", closeAfterError(db, r.err))
	}
	return m, nil
}

func openPebble(o Options, readOnly bool) (*pebble.DB, error) {
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	cache := pebble.NewCache(o.CacheBytes)
	defer cache.Unref()
	options := &pebble.Options{
		FS:                 o.FS,
		Cache:              cache,
		DisableWAL:         true, // the raft log is the log
		ReadOnly:           readOnly,
		Logger:             o.Logger,
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       16 << 20,
	}
	if options.FS == nil {
		options.FS = vfs.Default
	}
	if o.OnFault != nil {
		options.EventListener = &pebble.EventListener{BackgroundError: o.OnFault}
	}
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(o.Dir, options)
	if err != nil {
		return nil, fmt.Errorf("open the tables in %s: %w", o.Dir, err)
	}
	return db, nil
}

func closeAfterError(db *pebble.DB, err error) error {
	if e := db.Close(); e != nil && err == nil {
		return e
	}
	return err
}

// ReadPosition reads where a checkpoint stands. One that Pebble cannot read is an error, and harms nobody else.
func ReadPosition(fs vfs.FS, dir string) (s Position, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case checkpointDamaged:
			err = fmt.Errorf("read the checkpoint in %s: %s", dir, string(p))
		default:
			panic(p)
		}
	}()
	db, err := openPebble(Options{FS: fs, Dir: dir, CacheBytes: 1 << 20, Logger: checkpointLog{}}, true)
	if err != nil {
		return Position{}, err
	}
	r := tableReader{from: db}
	s = r.readPosition()
	return s, closeAfterError(db, r.err)
}

// checkpointLog keeps Pebble quiet about a folder that is only looked at, and from ending the process over it.
type checkpointLog struct{}

type checkpointDamaged string

func (checkpointLog) Infof(string, ...any)  {}
func (checkpointLog) Errorf(string, ...any) {}
func (checkpointLog) Fatalf(format string, args ...any) {
	panic(checkpointDamaged(fmt.Sprintf(format, args...)))
}

// Close flushes, so that the next start has nothing to apply again. On a disk that failed it does not: the next start
// applies again what never reached it. Every View must be closed before.
func (m *Machine) Close() error {
	select {
	case <-m.broken:
		return m.db.Close()
	default:
	}
	if err := m.Flush(); err != nil {
		return closeAfterError(m.db, err)
	}
	return m.db.Close()
}

// Position is where the tables stand after the last Apply. It is for the goroutine that applies.
func (m *Machine) Position() Position { return m.position }

// Flush puts on disk what has been applied so far. It may run beside Apply.
func (m *Machine) Flush() error {
	flushed, err := m.db.AsyncFlush()
	if err != nil {
		return fmt.Errorf("flush the tables: %w", err)
	}
	select {
	case <-flushed:
		return nil
	case <-m.broken:
		return fmt.Errorf("flush the tables: %w", errBroken)
	}
}

// Checkpoint makes dir, which must not exist, a copy of the tables by hard links. It must not run beside Apply; a Flush
// shortly before keeps it short.
func (m *Machine) Checkpoint(dir string) error {
	if err := m.Flush(); err != nil {
		return err
	}
	if err := m.db.Checkpoint(dir); err != nil {
		return fmt.Errorf("link the tables: %w", err)
	}
	return nil
}

// Log is one entry of the raft log.
type Log struct {
	Index, Term uint64
	Data        []byte
}

// Applied is what became of an entry: one result for each command, and what there is to tell. An entry at or below the
// applied row is skipped.
type Applied struct {
	Skipped bool
	Digest  uint64 // of the tables after it; 0 with Skipped
	Results []Result
	Events  []Event
}

// batchBytes is where one Apply cuts its work into several batches of Pebble. Each carries its own row, so a crash
// between two leaves a prefix.
const batchBytes = 4 << 20

// Apply carries out entries in order. An error means that this node must stop: the disk failed, or an entry is one that
// this build cannot apply. What was applied before it stays.
func (m *Machine) Apply(logs []Log) ([]Applied, error) {
	done := make([]Applied, 0, len(logs))
	for len(logs) > 0 {
		n, err := m.applyBatch(logs, &done)
		if err != nil {
			return done, err
		}
		logs = logs[n:]
	}
	return done, nil
}

// applyBatch applies as many entries as fit into one batch, at least one.
func (m *Machine) applyBatch(logs []Log, done *[]Applied) (int, error) {
	batch := m.db.NewIndexedBatch()
	t := newTransaction(m, batch)
	n, applied := 0, len(*done)
	for n < len(logs) && (n == 0 || batch.Len() < batchBytes) {
		out, err := t.applyEntry(logs[n])
		if err != nil {
			*done = (*done)[:applied]
			m.rows.clearAll()
			return 0, fmt.Errorf("apply entry %d: %w", logs[n].Index, err)
		}
		*done = append(*done, out)
		n++
	}
	t.finishSweep()
	t.noteError(batch.Set([]byte{tablePosition}, t.position.encode(), nil))
	if t.err == nil {
		t.noteError(batch.Commit(pebble.NoSync))
	}
	if t.err != nil {
		*done = (*done)[:applied]
		m.rows.clearAll()
		return 0, fmt.Errorf("apply entry %d: %w", logs[0].Index, t.err)
	}
	m.position = t.position
	return n, nil
}
