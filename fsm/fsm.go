// Package fsm is the replicated state machine: it applies the entries of the log to tables in Pebble. Commands go in,
// results and events come out.
//
// Its invariants: the same log gives the same tables, digest and results on every node, however the log is divided into
// batches and wherever a node stopped in between; a write is applied only under the token in force and on the revision that
// it names; a request is carried out once. Apply reads only the entry and the tables: no clock, no randomness, no network,
// no goroutine, no order of a map.
//
// Read this file first, then transaction.go, which hands each command to its table, answer.go for retries, session.go for
// ownership (its rules are in package lock) and save.go for data.
package fsm

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options say where the tables are stored, and how.
type Options struct {
	FS         vfs.FS // nil: the disk
	Dir        string
	Logger     pebble.Logger // its Fatalf must stop the node, and not return
	CacheBytes int64         // of blocks read; 0: 64 MiB
	Build      Build         // what this machine applies and reads

	// OnCompare is called by Apply with each range of rows that all nodes compare. It must not block, and must close the View.
	// nil: none is compared.
	OnCompare func(ComparedRange)

	// OnFault is called when the disk fails in Pebble's background work: rows may never reach the disk, however often
	// Pebble tries again; and when a read meets a damaged file. It may be called often, with Pebble's locks held. The caller then closes Broken, so that no flush,
	// which may never end, is waited for any more. With OnFault nil every flush is waited for.
	OnFault func(error)
	Broken  <-chan struct{}
}

// Machine applies entries to the tables. One goroutine calls Apply; any goroutine may call View.
type Machine struct {
	db       *pebble.DB
	position Position
	build    Build
	policies policyCache
	rows     *rowCache
	broken   <-chan struct{}

	onCompare func(ComparedRange)
}

// errBroken says that the disk failed, and that it is unknown which rows have reached it.
var errBroken = errors.New("the disk has failed")

// Open opens the tables as the last flush left them: a prefix of the log, which is applied again from there.
func Open(o Options) (*Machine, error) {
	db, err := openPebble(o, false)
	if err != nil {
		return nil, err
	}
	m := &Machine{db: db, build: o.Build, policies: policyCache{}, rows: newRowCache(), broken: o.Broken, onCompare: o.OnCompare}
	r := tableReader{from: db}
	m.position = r.readPosition()
	if r.err == nil {
		r.err = m.build.CheckReads(m.position.Level, db.FormatMajorVersion())
	}
	if r.err == nil { // a crash may have come between the entry that raised the level and the format of the files
		r.err = m.raiseFileFormat()
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
		FormatMajorVersion: o.Build.FormatAt(FirstLevel), // Pebble keeps a higher one that the folder has
		MemTableSize:       16 << 20,
	}
	if options.FS == nil {
		options.FS = vfs.Default
	}
	// Without DataCorruption Pebble calls Fatalf for a read that meets a damaged file, and that read does not return.
	options.EventListener = &pebble.EventListener{BackgroundError: o.OnFault, DataCorruption: func(damage pebble.DataCorruptionInfo) {
		if o.OnFault != nil {
			o.OnFault(fmt.Errorf("read %s: %w", damage.Path, damage.Details))
		}
	}}
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	if err := o.Build.CheckFolder(options.FS, o.Dir); err != nil {
		return nil, fmt.Errorf("open the tables in %s: %w", o.Dir, err)
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

// ReadPosition reads the position of a checkpoint. A checkpoint that Pebble cannot read is an error, and does not end the
// process.
func ReadPosition(fs vfs.FS, dir string, build Build) (s Position, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case checkpointDamaged:
			err = fmt.Errorf("read the checkpoint in %s: %s", dir, string(p))
		default:
			panic(p)
		}
	}()
	db, err := openPebble(Options{FS: fs, Dir: dir, CacheBytes: 1 << 20, Logger: checkpointLog{}, Build: build}, true)
	if err != nil {
		return Position{}, err
	}
	r := tableReader{from: db}
	s = r.readPosition()
	return s, closeAfterError(db, r.err)
}

// checkpointLog drops Pebble's log lines about a checkpoint, and turns a fatal one into a panic that ReadPosition recovers,
// since Pebble would otherwise end the process.
type checkpointLog struct{}

type checkpointDamaged string

func (checkpointLog) Infof(string, ...any)  {}
func (checkpointLog) Errorf(string, ...any) {}
func (checkpointLog) Fatalf(format string, args ...any) {
	panic(checkpointDamaged(fmt.Sprintf(format, args...)))
}

// Close flushes, so that the next start has nothing to apply again. It does not flush to a failed disk: the next start
// applies the lost entries again. Every View must be closed before.
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

// Position returns the position of the tables after the last Apply. Only the goroutine that applies may call it.
func (m *Machine) Position() Position { return m.position }

// Flush writes all applied entries to disk. It may run concurrently with Apply.
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

// Checkpoint creates dir, which must not exist, as a copy of the tables by hard links. It must not run concurrently with
// Apply; a Flush shortly before keeps it short.
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

// Applied holds the outcome of an entry: one result for each command, and the events for game servers. An entry at or below
// the applied index is skipped.
type Applied struct {
	Skipped bool
	Digest  uint64 // of the tables after it; 0 with Skipped
	Results []Result
	Events  []Event
}

// batchBytes is the size at which Apply begins another Pebble batch. Each batch writes its own row of the position, so a
// crash between two leaves the tables at a prefix of the log.
const batchBytes = 4 << 20

// Apply carries out entries in order. An error means that this node must stop: the disk failed, or this build cannot apply
// an entry. The entries applied before it stay applied.
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
	for n < len(logs) && (n == 0 || batch.Len() < batchBytes) && t.comparison.due == nil { // rows are compared as they are after the entry
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
	raised := t.position.Level > m.position.Level
	m.position = t.position
	if raised {
		if err := m.raiseFileFormat(); err != nil {
			return 0, fmt.Errorf("raise the format of the tables' files: %w", err)
		}
	}
	if due := t.comparison.due; due != nil && m.onCompare != nil {
		view, err := m.View()
		if err != nil {
			return 0, fmt.Errorf("view the rows that are compared: %w", err)
		}
		m.onCompare(ComparedRange{From: due.From, To: due.To, View: view})
	}
	return n, nil
}

// raiseFileFormat brings the files to the format of the tables' level. From then on a build that does not apply that level cannot
// read them, and it could not before: it stops at the entry that raised the level.
func (m *Machine) raiseFileFormat() error {
	if format := m.build.FormatAt(m.position.Level); format > m.db.FormatMajorVersion() {
		return m.db.RatchetFormatMajorVersion(format)
	}
	return nil
}
