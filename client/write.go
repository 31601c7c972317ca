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

// image is the data as encoded at one moment, and what was true of it under the profile's lock.
type image struct {
	data    []byte
	hash    [sha256.Size]byte
	known   bool // hash is that of what the store has
	marks   []uint64
	changes uint64
	skip    bool // nothing can have changed
}

// write is one save that callers wait for. Whoever comes before it is encoded joins it; whoever comes later waits for
// the next one.
type write struct {
	last      bool // the session ends with it
	reason    LastSaveReason
	kept      bool          // it is of a session that is over, whose last copy was kept
	lazy      bool          // nobody asked for it but the autosave: look only if something may have changed
	overtaken chan struct{} // closed when a last save waits behind it
	encoded   chan struct{} // closed when the game's own code is not needed any more
	done      chan struct{}
	err       error    // written before done closes
	revision  uint64   // likewise, if it stored something or found it stored
	heirs     []*write // that store nothing beyond this one, and never will be made
}

func newWrite() *write {
	return &write{lazy: true, overtaken: make(chan struct{}), encoded: make(chan struct{}), done: make(chan struct{})}
}

func (w *write) finish(err error, revision uint64) {
	w.err, w.revision = err, revision
	close(w.done)
	for _, heir := range w.heirs {
		heir.finish(err, revision)
	}
}

func (w *write) wait(ctx context.Context, s *session) error {
	select {
	case <-w.done:
		return w.err
	case <-s.keeping:
		if closedNow(w.done) {
			return w.err
		}
		return &Error{
			Act: "save", Ref: s.ref, Kind: ErrUnknown, pending: &pending{done: w.done, save: w},
			Sentence: "the cluster is out of reach; the data is kept for a while, and saved if that comes back",
		}
	case <-ctx.Done():
		return &Error{
			Act: "save", Ref: s.ref, Kind: ErrUnknown, Sentence: "it is still being tried", Cause: context.Cause(ctx),
			pending: &pending{done: w.done, save: w},
		}
	}
}

// save stores the data as it is now, or later.
func (s *session) save(ctx context.Context) error { return s.made(ctx, false, LastSaveManual) }

// end makes the last save.
func (s *session) end(ctx context.Context, reason LastSaveReason) error {
	return s.made(ctx, true, reason)
}

func (s *session) made(ctx context.Context, last bool, reason LastSaveReason) error {
	if ctx.Err() != nil {
		return s.client.unsent(ctx, "save", s.ref)
	}
	w, err := s.request(last, reason, false)
	if err != nil || w == nil {
		return err
	}
	return w.wait(ctx, s)
}

// request joins the write that is not yet encoded, or makes one. When nothing can be changed any more, the write under way
// is joined if it has all: what becomes of it becomes of every change, and nobody may be told otherwise. Without a write and
// an error all is stored.
func (s *session) request(last bool, reason LastSaveReason, lazy bool) (*write, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stage == over && s.carries(), s.stage == ending && s.current != nil:
		return s.current, nil
	case s.kept.Load():
		return s.lastCopy, nil
	case !s.begun:
		return nil, overError("save", s.ref, s.why)
	case s.stage == over || s.stage == ending:
		return nil, s.fate(overError("save", s.ref, s.why))
	}
	if s.next == nil {
		s.next = newWrite()
	}
	w := s.next
	w.lazy = w.lazy && lazy
	if last && !w.last {
		w.last, w.reason = true, reason
		if s.current != nil && !closedNow(s.current.overtaken) {
			close(s.current.overtaken)
		}
	}
	if !s.running {
		s.running = s.client.spawn(s.write)
		if !s.running {
			s.next = nil
			return nil, &Error{Act: "save", Ref: s.ref, Kind: ErrClosed}
		}
	}
	return w, nil
}

// fate is err, which says that nothing was stored, unless that is not known, or not so: an earlier save may have had all
// that was changed. A session that was taken away is over all the same, and whoever saves is told. It is asked under mu.
func (s *session) fate(err error) error {
	changes := s.changes.Load()
	switch {
	case s.stage == over && s.why == nil:
		return nil
	case s.stage == over && s.stored.known && s.stored.changes == changes:
		return &Error{Act: "save", Ref: s.ref, Kind: ErrSessionOver, Sentence: "all that was changed had been stored", Cause: s.why}
	case s.unclear && s.flying == changes && !errors.Is(err, ErrUnknown):
		return &Error{Act: "save", Ref: s.ref, Kind: ErrUnknown, Sentence: "the save that had it was not answered", pending: s.unanswered}
	}
	return err
}

// carries says that the write under way has all that was changed. It is asked under mu.
func (s *session) carries() bool { return s.current != nil && s.flying == s.changes.Load() }

// write works off what was requested, one write at a time.
func (s *session) write() {
	for {
		s.mu.Lock()
		if s.next == nil {
			s.running = false
			s.mu.Unlock()
			s.retire()
			return
		}
		s.mu.Unlock()
		if w, err := s.attempt(); w != nil {
			s.conclude(w, err)
		}
	}
}

// attempt makes the write that is requested by the time that the profile's lock is free. It returns none if the session
// ended before.
func (s *session) attempt() (*write, error) {
	var w *write
	for try := 0; ; try++ {
		var im image
		var err error
		if w, im, err = s.encode(w); w == nil {
			return nil, nil
		}
		if err == nil {
			err = s.put(w, im)
		}
		s.noteUnstorable(im.changes, err)
		switch {
		case reasonOf(err) == profilev1.Reason_REASON_NO_MESSAGE && try < 3 && s.forgetCleared() == nil:
			// A message that a handler took has been cleared by somebody else since. Its effect stays in the data.
		case w.last && errors.Is(err, ErrInvalid) && !closedNow(s.done):
			return w, s.endUnsaved(w, err)
		default:
			return w, err
		}
	}
}

// conclude tells what became of a write to those who wait for it. One that a last save overtook becomes part of that.
func (s *session) conclude(w *write, err error) {
	s.mu.Lock()
	s.current = nil
	if errors.Is(err, errOvertaken) {
		if s.next != nil {
			s.next.heirs = append(s.next.heirs, w)
			s.mu.Unlock()
			return
		}
		err = overError("save", s.ref, s.why)
	}
	if p := pendingIn(err); p != nil {
		s.unanswered = p
	}
	if s.unclear = s.unclear || errors.Is(err, ErrUnknown); err != nil {
		err = s.fate(err)
	}
	s.mu.Unlock()
	if w.kept && err != nil && !errors.Is(err, ErrUnknown) {
		err = s.keptError(err)
	}
	if err != nil {
		s.client.tally.failed.Add(1)
		var e *Error
		if errors.As(err, &e) && !errors.Is(err, ErrClosed) {
			s.client.report(e)
		}
		s.tellSaved(Saved{Ref: s.ref, Revision: s.knownRevision(), Last: w.last, Err: err})
	}
	if w.kept && err != nil {
		s.lose(err)
	}
	s.client.saver.saved(s, err)
	w.finish(err, s.knownRevision())
}

// put stores an image, under the incarnation that the session has by then.
func (s *session) put(w *write, im image) error {
	s.mu.Lock()
	unchanged := s.stored.known && im.hash == s.stored.hash && len(im.marks) == 0
	if !w.last && (im.skip || unchanged) {
		s.stored.changes = im.changes
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	for {
		stands, err := s.send(w, im, unchanged)
		if err == nil {
			s.acknowledged(w, im, stands, unchanged)
			return nil
		}
		if reasonOf(err) == profilev1.Reason_REASON_SERVER_GONE && (w.kept || !closedNow(s.done)) {
			continue // it did not happen; the session may go on under another incarnation
		}
		if w.last {
			s.thaw(err)
		}
		switch reasonOf(err) {
		case profilev1.Reason_REASON_FENCED, profilev1.Reason_REASON_REVISION_DIFFERS, profilev1.Reason_REASON_FORGOTTEN:
			s.lose(err)
		}
		return err
	}
}

// encode takes the image to be written: for a write, or if there is none for the one that is requested by then. It runs the
// game's functions, and waits for the profile's lock, so the caller holds nothing that others wait for.
func (s *session) encode(w *write) (*write, image, error) {
	locked := s.data.lockUnless(s.unlessOver(), s.ctx.Done())
	if locked {
		defer s.data.Unlock()
	}
	s.mu.Lock()
	if w == nil {
		w = s.next
		s.next, s.current = nil, w
	}
	stored, cleared := s.stored, s.cleared
	s.cleared = nil
	s.mu.Unlock()
	switch {
	case w == nil:
		return nil, image{}, nil
	case !locked && closedNow(s.done):
		return w, image{}, s.writable("save")
	case !locked:
		return w, image{}, s.client.unsent(s.ctx, "save", s.ref)
	}
	s.mail.cleared(cleared)
	if err := s.writable("save"); err != nil && !w.kept {
		return w, image{}, err
	}
	changes := s.changes.Load()
	if w.lazy && !w.last && stored.known && changes == stored.changes && len(s.mail.handled) == 0 && !s.hooked.Load() {
		return w, image{changes: changes, skip: true}, nil
	}
	if err := s.knownUnstorable(w, changes); err != nil {
		return w, image{changes: changes}, err
	}
	var data []byte
	var err error
	if !w.kept {
		if over := s.withData("OnSave or OnLastSave", func() { s.body.beforeSave(w.last, w.reason) }); over != nil {
			return w, image{}, over
		}
	}
	if over := s.withData("the codec", func() { data, err = s.body.encode() }); over != nil {
		return w, image{}, over
	}
	if err != nil {
		return w, image{changes: changes}, &Error{Act: "save", Ref: s.ref, Kind: ErrInvalid, Sentence: "the data cannot be encoded", Cause: err}
	}
	s.mu.Lock()
	s.unclear = s.unclear && s.flying == changes
	s.flying = changes
	if w.last {
		s.frozen = true
		if s.stage == held {
			s.stage = ending
		}
		if !closedNow(w.encoded) {
			close(w.encoded)
		}
	}
	s.mu.Unlock()
	return w, image{data: data, hash: sha256.Sum256(data), marks: s.mail.marks(), changes: changes}, nil
}

// unstorable is data that this side refused before it took a number: too large for any cluster of this kind, or not encodable.
type unstorable struct {
	changes uint64
	life    *life // whose limits it was held against
	err     error // nil: there is none
}

// noteUnstorable takes down a refusal by this side. What a node refuses is not noted: its policies may change.
func (s *session) noteUnstorable(changes uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unstorable = unstorable{}
	if errors.Is(err, ErrInvalid) && reasonOf(err) == profilev1.Reason_REASON_UNSPECIFIED {
		s.unstorable = unstorable{changes, s.life, err}
	}
}

// knownUnstorable is the refusal of data that has not changed since. To encode it again at each autosave would cost the other
// profiles of this process their time, for the same refusal. Handlers that run before a save may make it storable.
func (s *session) knownUnstorable(w *write, changes uint64) error {
	if w.last || s.hooked.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unstorable.changes != changes || s.unstorable.life != s.life {
		return nil
	}
	return s.unstorable.err
}

// send sends an image, or if that is stored already the release alone.
func (s *session) send(w *write, im image, stored bool) (*profilev1.Stands, error) {
	l, err := s.step(s.ctx)
	if err != nil {
		return nil, err
	}
	defer s.rest()
	if stored {
		return s.sendRelease(l)
	}
	return s.sendSave(l, w, im)
}

func (s *session) sendSave(l *life, w *write, im image) (*profilev1.Stands, error) {
	s.mu.Lock()
	token, base := s.token, s.revision
	s.mu.Unlock()
	answer := &profilev1.SaveResponse{}
	ch := &change{
		act: "save", ref: s.ref, life: l, method: profilev1.Profiles_Save_FullMethodName,
		request: &profilev1.SaveRequest{
			Store: s.ref.Store, Key: s.ref.Key, Token: token, Base: base,
			Codec: s.body.codec(), Data: im.data, Hash: im.hash[:], KeepTags: true, ClearMessages: im.marks, End: w.last,
		},
		answer: answer,
	}
	if !w.last {
		ch.overtaken = w.overtaken
	}
	err := s.client.do(s.ctx, ch)
	return answer.Stands, err
}

func (s *session) sendRelease(l *life) (*profilev1.Stands, error) {
	s.mu.Lock()
	token := s.token
	s.mu.Unlock()
	answer := &profilev1.ReleaseResponse{}
	err := s.client.do(s.ctx, &change{
		act: "end session", ref: s.ref, life: l, method: profilev1.Profiles_Release_FullMethodName,
		request: &profilev1.ReleaseRequest{Store: s.ref.Store, Key: s.ref.Key, Token: token},
		answer:  answer,
	})
	return answer.Stands, err
}

// acknowledged notes what the store has now. It does not wait for the profile's lock: the marks are taken off at the next
// save, which is the first to look.
func (s *session) acknowledged(w *write, im image, stands *profilev1.Stands, released bool) {
	s.mu.Lock()
	s.cleared = append(s.cleared, im.marks...)
	if !released {
		s.revision = stands.GetRevision()
	}
	s.stored = image{hash: im.hash, known: true, changes: im.changes}
	revision := s.revision
	if w.last && s.next != nil { // of a kept copy, which this was
		w.heirs, s.next = append(w.heirs, s.next), nil
	}
	s.mu.Unlock()
	if !released {
		s.client.tally.saves.Add(1)
		s.client.tally.savedBytes.Add(uint64(len(im.data)))
		s.tellSaved(Saved{Ref: s.ref, Revision: revision, Last: w.last})
	}
	s.offerLater()
	if w.last {
		s.mu.Lock()
		s.ended = endOfLastSave(w.reason)
		s.mu.Unlock()
		s.finish(nil)
		s.dropKept()
		s.leave()
	}
}

// endUnsaved ends a session whose data can never be stored, with what was stored before: a profile that could neither be
// saved nor given back would be locked for as long as this game server lives.
func (s *session) endUnsaved(w *write, why error) error {
	err := endError(s.ref, endOfLastSave(w.reason), nil, why)
	err.Act, err.Sentence = "end session", "it ended with the data that was stored before, since what it had last cannot be stored"
	s.lose(err)
	select {
	case <-s.left:
	case <-s.ctx.Done():
	}
	return err
}

// thaw lets the session go on after a last save that did not happen. One that may have happened leaves it frozen.
func (s *session) thaw(err error) {
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
