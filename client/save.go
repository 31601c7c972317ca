package client

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/profilenode/profilenode/api/profilev1"
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

// endReason returns why the session ends with this save, which is its last.
func (w *saveRequest) endReason() EndReason {
	if w.kept {
		return EndOutOfReach
	}
	return endOfLastSave(w.reason)
}

func newSaveRequest() *saveRequest {
	return &saveRequest{lazy: true, overtaken: make(chan struct{}), encoded: make(chan struct{}), done: make(chan struct{})}
}

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
	case <-s.keeping:
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

// saveNow stores the data as it is now, or later.
func (s *session) saveNow(ctx context.Context) error {
	return s.queueAndWait(ctx, false, LastSaveManual)
}

// saveAndEnd makes the last save.
func (s *session) saveAndEnd(ctx context.Context, reason LastSaveReason) error {
	return s.queueAndWait(ctx, true, reason)
}

func (s *session) queueAndWait(ctx context.Context, last bool, reason LastSaveReason) error {
	if ctx.Err() != nil {
		return s.client.notSentError(ctx, "save", s.ref)
	}
	w, err := s.queueSave(last, reason, false)
	if err != nil || w == nil {
		return err
	}
	return w.waitForSave(ctx, s)
}

// queueSave joins the write that is not yet encoded, or makes one. When nothing can be changed any more, the write under way
// is joined if it carries every change: its outcome is that of every change, and no caller may be told otherwise. Without a
// write and an error all is stored.
func (s *session) queueSave(last bool, reason LastSaveReason, lazy bool) (*saveRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stage == over && s.currentSaveHasAll(), s.stage == ending && s.currentSave != nil:
		return s.currentSave, nil
	case s.kept.Load():
		return s.lastCopy, nil
	case !s.begun:
		return nil, overError("save", s.ref, s.overReason)
	case s.stage == over || s.stage == ending:
		return nil, s.correctByOutcome(overError("save", s.ref, s.overReason))
	}
	if s.nextSave == nil {
		s.nextSave = newSaveRequest()
	}
	w := s.nextSave
	w.lazy = w.lazy && lazy
	if last && !w.last {
		w.last, w.reason = true, reason
		if s.currentSave != nil && !isClosed(s.currentSave.overtaken) {
			close(s.currentSave.overtaken)
		}
	}
	if !s.savesRunning {
		s.savesRunning = s.client.startGoroutine(s.runSaves)
		if !s.savesRunning {
			s.nextSave = nil
			return nil, &Error{Act: "save", Ref: s.ref, Kind: ErrClosed}
		}
	}
	return w, nil
}

// correctByOutcome returns err, which says that nothing was stored, unless this is not known or not true: an earlier save
// may have carried every change. A session that was taken away is over all the same, and the caller of Save is told. It is
// called under mu.
func (s *session) correctByOutcome(err error) error {
	changes := s.changes.Load()
	switch {
	case s.stage == over && s.overReason == nil:
		return nil
	case s.stage == over && s.stored.known && s.stored.changes == changes:
		return &Error{Act: "save", Ref: s.ref, Kind: ErrSessionOver, Sentence: "all that was changed had been stored", Cause: s.overReason}
	case s.lastSaveUnclear && s.changesInFlight == changes && !errors.Is(err, ErrUnknown):
		return &Error{Act: "save", Ref: s.ref, Kind: ErrUnknown, Sentence: "the save that had it was not answered", pending: s.unanswered}
	}
	return err
}

// currentSaveHasAll says that the write under way has all that was changed. It is asked under mu.
func (s *session) currentSaveHasAll() bool {
	return s.currentSave != nil && s.changesInFlight == s.changes.Load()
}

// runSaves carries out the requested saves, one write at a time.
func (s *session) runSaves() {
	for {
		s.mu.Lock()
		if s.nextSave == nil {
			s.savesRunning = false
			s.mu.Unlock()
			s.leaveWhenIdle()
			return
		}
		s.mu.Unlock()
		if w, err := s.saveOnce(); w != nil {
			s.concludeSave(w, err)
		}
	}
}

// saveOnce makes the write that is requested by the time that the profile's lock is free. It returns none if the session
// ended before.
func (s *session) saveOnce() (*saveRequest, error) {
	var w *saveRequest
	for try := 0; ; try++ {
		var im encodedData
		var err error
		if w, im, err = s.encodeForSave(w); w == nil {
			return nil, nil
		}
		if err == nil {
			err = s.sendUntilStored(w, im)
		}
		s.noteUnstorable(im.changes, err)
		switch {
		case reasonOf(err) == profilev1.Reason_REASON_NO_MESSAGE && try < 3 && s.forgetCleared() == nil:
			// A message that a handler took has been cleared by another request since. Its effect stays in the data.
		case w.last && errors.Is(err, ErrInvalid) && !isClosed(s.done):
			return w, s.endUnsaved(w, err)
		default:
			return w, err
		}
	}
}

// concludeSave gives the outcome of a write to the callers that wait for it. One that a last save overtook becomes part of
// that.
func (s *session) concludeSave(w *saveRequest, err error) {
	s.mu.Lock()
	s.currentSave = nil
	if errors.Is(err, errOvertaken) {
		if s.nextSave != nil {
			s.nextSave.joinedSaves = append(s.nextSave.joinedSaves, w)
			s.mu.Unlock()
			return
		}
		err = overError("save", s.ref, s.overReason)
	}
	if p := pendingOutcomeIn(err); p != nil {
		s.unanswered = p
	}
	if s.lastSaveUnclear = s.lastSaveUnclear || errors.Is(err, ErrUnknown); err != nil {
		err = s.correctByOutcome(err)
	}
	s.mu.Unlock()
	if w.kept && err != nil && !errors.Is(err, ErrUnknown) {
		err = s.keptCopyError(err)
	}
	if err != nil {
		s.client.counters.failed.Add(1)
		var e *Error
		if errors.As(err, &e) && !errors.Is(err, ErrClosed) {
			s.client.reportError(e)
		}
		s.runSavedHandlers(Saved{Ref: s.ref, Revision: s.knownRevision(), Last: w.last, Err: err})
	}
	if w.kept && err != nil {
		s.loseSession(err)
	}
	s.client.saver.noteSaved(s, err)
	w.finishSave(err, s.knownRevision())
}

// sendUntilStored stores an image, under the incarnation that the session has by then.
func (s *session) sendUntilStored(w *saveRequest, im encodedData) error {
	s.mu.Lock()
	unchanged := s.stored.known && im.hash == s.stored.hash && len(im.marks) == 0
	if !w.last && (im.skip || unchanged) {
		s.stored.changes = im.changes
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	for {
		stands, err := s.sendSaveOrRelease(w, im, unchanged)
		if err == nil {
			s.noteAcknowledged(w, im, stands, unchanged)
			return nil
		}
		if reasonOf(err) == profilev1.Reason_REASON_SERVER_GONE && (w.kept || !isClosed(s.done)) {
			continue // it did not happen; the session may go on under another incarnation
		}
		if w.last {
			s.thawData(err)
		}
		switch reasonOf(err) {
		case profilev1.Reason_REASON_FENCED, profilev1.Reason_REASON_REVISION_DIFFERS, profilev1.Reason_REASON_FORGOTTEN:
			s.loseSession(err)
		}
		return err
	}
}

// encodeForSave takes the image to be written: for a write, or if there is none for the one that is requested by then. It
// runs the game's functions, and waits for the profile's lock, so the caller holds nothing that others wait for.
func (s *session) encodeForSave(w *saveRequest) (*saveRequest, encodedData, error) {
	locked := s.data.lockUnless(s.doneUnlessKept(), s.ctx.Done())
	if locked {
		defer s.data.Unlock()
	}
	s.mu.Lock()
	if w == nil {
		w = s.nextSave
		s.nextSave, s.currentSave = nil, w
	}
	stored, cleared := s.stored, s.clearedMessages
	s.clearedMessages = nil
	s.mu.Unlock()
	switch {
	case w == nil:
		return nil, encodedData{}, nil
	case !locked && isClosed(s.done):
		return w, encodedData{}, s.checkWritable("save")
	case !locked:
		return w, encodedData{}, s.client.notSentError(s.ctx, "save", s.ref)
	}
	s.inbox.dropCleared(cleared)
	if err := s.checkWritable("save"); err != nil && !w.kept {
		return w, encodedData{}, err
	}
	changes := s.changes.Load()
	if w.lazy && !w.last && stored.known && changes == stored.changes && len(s.inbox.handled) == 0 && !s.hasSaveHandlers.Load() {
		return w, encodedData{changes: changes, skip: true}, nil
	}
	if err := s.knownUnstorable(w, changes); err != nil {
		return w, encodedData{changes: changes}, err
	}
	var data []byte
	var err error
	if !w.kept {
		if over := s.withData("OnSave or OnLastSave", func() { s.body.runSaveHandlers(w.last, w.reason) }); over != nil {
			return w, encodedData{}, over
		}
	}
	if over := s.withData("the codec", func() { data, err = s.body.encodeData() }); over != nil {
		return w, encodedData{}, over
	}
	if err != nil {
		return w, encodedData{changes: changes}, &Error{Act: "save", Ref: s.ref, Kind: ErrInvalid, Sentence: "the data cannot be encoded", Cause: err}
	}
	s.mu.Lock()
	s.lastSaveUnclear = s.lastSaveUnclear && s.changesInFlight == changes
	s.changesInFlight = changes
	if w.last {
		s.frozen = true
		if s.stage == held {
			s.stage = ending
		}
		if !isClosed(w.encoded) {
			close(w.encoded)
		}
	}
	s.mu.Unlock()
	return w, encodedData{data: data, hash: sha256.Sum256(data), marks: s.inbox.handledIDs(), changes: changes}, nil
}

// unstorable is data that this side refused before it took a number: too large for any cluster of this kind, or not
// encodable.
type unstorable struct {
	changes     uint64
	incarnation *incarnation // the data was checked against the limits of this one
	err         error        // nil: there is none
}

// noteUnstorable takes down a refusal by this side. A refusal by a node is not noted: its policies may change.
func (s *session) noteUnstorable(changes uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unstorable = unstorable{}
	if errors.Is(err, ErrInvalid) && reasonOf(err) == profilev1.Reason_REASON_UNSPECIFIED {
		s.unstorable = unstorable{changes, s.incarnation, err}
	}
}

// knownUnstorable is the refusal of data that has not changed since. To encode it again at each autosave would cost the
// other profiles of this process their time, for the same refusal. Handlers that run before a save may make it storable.
func (s *session) knownUnstorable(w *saveRequest, changes uint64) error {
	if w.last || s.hasSaveHandlers.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unstorable.changes != changes || s.unstorable.incarnation != s.incarnation {
		return nil
	}
	return s.unstorable.err
}

// sendSaveOrRelease sends an image, or if that is stored already the release alone.
func (s *session) sendSaveOrRelease(w *saveRequest, im encodedData, stored bool) (*profilev1.Stands, error) {
	l, err := s.beginStep(s.ctx)
	if err != nil {
		return nil, err
	}
	defer s.endStep()
	if stored {
		return s.sendRelease(l, w)
	}
	return s.sendSave(l, w, im)
}

func (s *session) sendSave(l *incarnation, w *saveRequest, im encodedData) (*profilev1.Stands, error) {
	s.mu.Lock()
	token, base := s.token, s.revision
	s.mu.Unlock()
	answer := &profilev1.SaveResponse{}
	ch := &change{
		act: "save", ref: s.ref, incarnation: l, method: profilev1.Profiles_Save_FullMethodName,
		request: &profilev1.SaveRequest{
			Store: s.ref.Store, Key: s.ref.Key, Token: token, Base: base,
			Codec: s.body.codecID(), Data: im.data, Hash: im.hash[:], KeepTags: true, ClearMessages: im.marks, End: w.last,
		},
		answer: answer,
	}
	if !w.last {
		ch.overtaken = w.overtaken
	}
	err := s.client.sendUntilAnswered(s.ctx, ch)
	return answer.Stands, err
}

func (s *session) sendRelease(l *incarnation, w *saveRequest) (*profilev1.Stands, error) {
	s.mu.Lock()
	token := s.token
	s.mu.Unlock()
	answer := &profilev1.ReleaseResponse{}
	err := s.client.sendUntilAnswered(s.ctx, &change{
		act: "end session", ref: s.ref, incarnation: l, method: profilev1.Profiles_Release_FullMethodName,
		request: &profilev1.ReleaseRequest{Store: s.ref.Store, Key: s.ref.Key, Token: token, Cause: causeOf(w.endReason())},
		answer:  answer,
	})
	return answer.Stands, err
}

// noteAcknowledged notes the data that the store has now. It does not wait for the profile's lock: the marks are taken off
// at the next save, which is the first to look.
func (s *session) noteAcknowledged(w *saveRequest, im encodedData, stands *profilev1.Stands, released bool) {
	s.mu.Lock()
	s.clearedMessages = append(s.clearedMessages, im.marks...)
	if !released {
		s.revision = stands.GetRevision()
	}
	s.stored = encodedData{hash: im.hash, known: true, changes: im.changes}
	revision := s.revision
	if w.last && s.nextSave != nil { // of a kept copy, which this was
		w.joinedSaves, s.nextSave = append(w.joinedSaves, s.nextSave), nil
	}
	s.mu.Unlock()
	if !released {
		s.client.counters.saves.Add(1)
		s.client.counters.savedBytes.Add(uint64(len(im.data)))
		s.runSavedHandlers(Saved{Ref: s.ref, Revision: revision, Last: w.last})
	}
	s.offerLater()
	if w.last {
		s.mu.Lock()
		s.ended = endOfLastSave(w.reason)
		s.mu.Unlock()
		s.finishSession(nil)
		s.dropKeptGrant()
		s.freeKey()
	}
}

// endUnsaved ends a session, with the data stored before, because its present data can never be stored: a profile that could
// neither be saved nor given back would be locked for as long as this game server lives.
func (s *session) endUnsaved(w *saveRequest, why error) error {
	err := endError(s.ref, endOfLastSave(w.reason), nil, why)
	err.Act, err.Sentence = "end session", "it ended with the data that was stored before, since the last data cannot be stored"
	s.loseSession(err)
	select {
	case <-s.keyFreed:
	case <-s.ctx.Done():
	}
	return err
}

// thawData lets the session go on after a last save that did not happen. One that may have happened leaves it frozen.
func (s *session) thawData(err error) {
	if errors.Is(err, ErrUnknown) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = false
	if s.stage == ending {
		s.stage = held
	}
}
