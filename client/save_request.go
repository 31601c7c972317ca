package client

import (
	"context"
	"crypto/sha256"
)

// LastSaveReason is why a last save is made.
type LastSaveReason uint8

const (
	LastSaveManual   LastSaveReason = iota // the game called EndSession
	LastSaveExternal                       // another game server waits for the profile
	LastSaveShutdown                       // the client is closing
	LastSaveOperator                       // an operator asked for the profile
)

func (r LastSaveReason) String() string {
	switch r {
	case LastSaveManual:
		return "manual"
	case LastSaveExternal:
		return "external"
	case LastSaveOperator:
		return "operator"
	}
	return "shutdown"
}

// encodedData is the data as encoded at one moment, with its facts as of the same hold of the profile's lock.
type encodedData struct {
	data    []byte
	hash    [sha256.Size]byte
	known   bool // hash is that of the stored data
	marks   []uint64
	changes uint64
	skip    bool // nothing can have changed
}

// saveRequest is one save that callers wait for. A caller that comes before it is encoded joins it; a later one waits for
// the next.
type saveRequest struct {
	last        bool // the session ends with it
	reason      LastSaveReason
	kept        bool          // it is the kept last copy of a session that is over
	lazy        bool          // only the autosave asked for it: look only if something may have changed
	overtaken   chan struct{} // closed when a last save waits behind it
	encoded     chan struct{} // closed when the game's own code is not needed any more
	done        chan struct{}
	err         error          // written before done closes
	revision    uint64         // likewise, if it stored something or found it stored
	joinedSaves []*saveRequest // that store nothing beyond this one, and never will be made
}

func newSaveRequest() *saveRequest {
	return &saveRequest{lazy: true, overtaken: make(chan struct{}), encoded: make(chan struct{}), done: make(chan struct{})}
}

// endReason returns why the session ends with this save, which is its last.
func (w *saveRequest) endReason() EndReason {
	if w.kept {
		return EndOutOfReach
	}
	return endOfLastSave(w.reason)
}

// joinSave lets the callers of another save, which stores nothing beyond this one and never will be made, share the outcome
// of this one.
func (w *saveRequest) joinSave(other *saveRequest) { w.joinedSaves = append(w.joinedSaves, other) }

func (w *saveRequest) finishSave(err error, revision uint64) {
	w.err, w.revision = err, revision
	close(w.done)
	for _, heir := range w.joinedSaves {
		heir.finishSave(err, revision)
	}
}

func (w *saveRequest) waitForSave(ctx context.Context, s *session) error {
	select {
	case <-w.done:
		return w.err
	case <-s.saves.keeping:
		if isClosed(w.done) {
			return w.err
		}
		return &Error{
			Act: "save", Ref: s.ref, Kind: ErrUnknown, pending: &pendingOutcome{done: w.done, save: w},
			Sentence: "the cluster is out of reach; the data is kept for a while, and saved if that comes back",
		}
	case <-ctx.Done():
		return &Error{
			Act: "save", Ref: s.ref, Kind: ErrUnknown, Sentence: "it is still being tried", Cause: context.Cause(ctx),
			pending: &pendingOutcome{done: w.done, save: w},
		}
	}
}

// waitUntilEncoded waits until a last save has left the profile's lock behind, and with it the game's own code.
func (w *saveRequest) waitUntilEncoded(ctx context.Context, ref Ref) error {
	select {
	case <-w.encoded:
	case <-w.done:
	case <-ctx.Done():
		return &Error{
			Act: "end session", Ref: ref, Kind: ErrUnavailable, Code: CodeLockHeld,
			Sentence: "a function of the game holds the profile's lock, so its data cannot be saved", Cause: ctx.Err(),
		}
	}
	return nil
}
