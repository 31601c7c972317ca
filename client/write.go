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
	last   bool // the session ends with it
	reason LastSaveReason
	lazy   bool // nobody asked for it but the autosave: look only if something may have changed
	done   chan struct{}
	err    error  // written before done closes
	heir   *write // that stores nothing beyond this one, and never will be made
}

func (w *write) finish(err error) {
	w.err = err
	close(w.done)
	if w.heir != nil {
		w.heir.finish(err)
	}
}

func (w *write) wait(ctx context.Context, s *session) error {
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return &Error{Act: "save", Ref: s.ref, Kind: ErrUnknown, Sentence: "it is still being tried", Cause: context.Cause(ctx)}
	}
}

// save stores the data as it is now, or later.
func (s *session) save(ctx context.Context) error { return s.made(ctx, false, LastSaveManual) }

// end makes the last save.
func (s *session) end(ctx context.Context, reason LastSaveReason) error {
	return s.made(ctx, true, reason)
}

func (s *session) made(ctx context.Context, last bool, reason LastSaveReason) error {
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
	case !s.begun:
		return nil, overError("save", s.ref, s.why)
	case s.stage == over || s.stage == ending:
		return nil, s.fate(overError("save", s.ref, s.why))
	}
	if s.next == nil {
		s.next = &write{lazy: true, done: make(chan struct{})}
	}
	w := s.next
	w.lazy = w.lazy && lazy
	if last && !w.last {
		w.last, w.reason = true, reason
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
// that was changed. It is asked under mu.
func (s *session) fate(err error) error {
	changes := s.changes.Load()
	switch {
	case s.stage == over && (s.why == nil || s.stored.known && s.stored.changes == changes):
		return nil
	case s.unclear && s.flying == changes && !errors.Is(err, ErrUnknown):
		return &Error{Act: "save", Ref: s.ref, Kind: ErrUnknown, Sentence: "the save that had it was not answered"} // err is a refusal
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
		w, err := s.attempt(nil)
		for w != nil && reasonOf(err) == profilev1.Reason_REASON_SERVER_GONE && !closedNow(s.done) {
			w, err = s.attempt(w) // it did not happen; the session may go on under another incarnation
		}
		s.mu.Lock()
		s.current = nil
		if s.unclear = s.unclear || errors.Is(err, ErrUnknown); err != nil {
			err = s.fate(err)
		}
		s.mu.Unlock()
		if w == nil {
			continue
		}
		if err != nil {
			s.client.tally.failed.Add(1)
			s.tellSaved(Saved{Ref: s.ref, Revision: s.knownRevision(), Last: w.last, Err: err})
		}
		s.client.saver.saved(s, err)
		w.finish(err)
	}
}

// attempt makes a write under the present incarnation: w, or if there is none the one that is requested by then. It
// returns none if the session ended meanwhile.
func (s *session) attempt(w *write) (*write, error) {
	// The number comes first, since waiting for one may take long and the data should be fresh.
	var number uint64
	l, err := s.step(s.ctx)
	if err == nil {
		defer s.rest()
		if number, err = l.numbers.take(s.ctx); err != nil {
			err = s.client.unsent(s.ctx, "save", s.ref)
		}
	}
	if w == nil {
		s.mu.Lock()
		w = s.next
		s.next, s.current = nil, w
		s.mu.Unlock()
	}
	switch {
	case err != nil:
		return w, err
	case w == nil:
		l.numbers.settle(number)
		return nil, nil
	}
	return w, s.put(l, w, number)
}

// put encodes the data and stores it.
func (s *session) put(l *life, w *write, number uint64) error {
	for try := 0; ; try++ {
		im, err := s.encode(w)
		if err != nil {
			l.numbers.settle(number)
			return err
		}
		s.mu.Lock()
		stored := s.stored
		s.mu.Unlock()
		unchanged := stored.known && im.hash == stored.hash && len(im.marks) == 0
		if !w.last && (im.skip || unchanged) {
			l.numbers.settle(number)
			s.mu.Lock()
			s.stored.changes = im.changes
			s.mu.Unlock()
			return nil
		}
		var stands *profilev1.Stands
		if w.last && unchanged {
			stands, err = s.sendRelease(l, number)
		} else {
			stands, err = s.sendSave(l, w, im, number)
		}
		if err == nil {
			s.acknowledged(w, im, stands, unchanged)
			return nil
		}
		if w.last {
			s.thaw(err)
		}
		switch reasonOf(err) {
		case profilev1.Reason_REASON_FENCED, profilev1.Reason_REASON_REVISION_DIFFERS, profilev1.Reason_REASON_FORGOTTEN:
			s.lose(err)
		case profilev1.Reason_REASON_NO_MESSAGE:
			// A message that a handler took has been cleared by somebody else since. Its effect stays in the data.
			if try < 3 && s.forgetCleared() == nil {
				if number, err = l.numbers.take(s.ctx); err == nil {
					continue
				}
			}
		}
		return err
	}
}

// encode takes the image to be written.
func (s *session) encode(w *write) (image, error) {
	s.data.Lock()
	defer s.data.Unlock()
	if err := s.writable("save"); err != nil {
		return image{}, err
	}
	s.mu.Lock()
	stored, last, lazy, reason := s.stored, w.last, w.lazy, w.reason
	s.mu.Unlock()
	changes := s.changes.Load()
	if lazy && !last && stored.known && changes == stored.changes && len(s.mail.handled) == 0 && !s.hooked.Load() {
		return image{changes: changes, skip: true}, nil
	}
	s.body.beforeSave(last, reason)
	data, err := s.body.encode()
	if err != nil {
		return image{}, &Error{Act: "save", Ref: s.ref, Kind: ErrInvalid, Sentence: "the data cannot be encoded", Cause: err}
	}
	s.mu.Lock()
	s.unclear = s.unclear && s.flying == changes
	s.flying = changes
	if last {
		s.frozen = true
		if s.stage == held {
			s.stage = ending
		}
	}
	s.mu.Unlock()
	return image{data: data, hash: sha256.Sum256(data), marks: s.mail.marks(), changes: changes}, nil
}

func (s *session) sendSave(l *life, w *write, im image, number uint64) (*profilev1.Stands, error) {
	s.mu.Lock()
	token, base := s.token, s.revision
	s.mu.Unlock()
	answer := &profilev1.SaveResponse{}
	err := s.client.do(s.ctx, &change{
		act: "save", ref: s.ref, life: l, number: number, method: profilev1.Profiles_Save_FullMethodName,
		request: &profilev1.SaveRequest{
			Store: s.ref.Store, Key: s.ref.Key, Token: token, Base: base,
			Codec: s.body.codec(), Data: im.data, Hash: im.hash[:], KeepTags: true, ClearMessages: im.marks, End: w.last,
		},
		answer: answer,
	})
	return answer.Stands, err
}

func (s *session) sendRelease(l *life, number uint64) (*profilev1.Stands, error) {
	s.mu.Lock()
	token := s.token
	s.mu.Unlock()
	answer := &profilev1.ReleaseResponse{}
	err := s.client.do(s.ctx, &change{
		act: "end session", ref: s.ref, life: l, number: number, method: profilev1.Profiles_Release_FullMethodName,
		request: &profilev1.ReleaseRequest{Store: s.ref.Store, Key: s.ref.Key, Token: token},
		answer:  answer,
	})
	return answer.Stands, err
}

// acknowledged notes what the store has now.
func (s *session) acknowledged(w *write, im image, stands *profilev1.Stands, released bool) {
	s.data.Lock()
	s.mail.cleared(im.marks)
	s.data.Unlock()
	s.mu.Lock()
	if !released {
		s.revision = stands.GetRevision()
	}
	s.stored = image{hash: im.hash, known: true, changes: im.changes}
	revision := s.revision
	s.mu.Unlock()
	if !released {
		s.client.tally.saves.Add(1)
		s.client.tally.savedBytes.Add(uint64(len(im.data)))
		s.tellSaved(Saved{Ref: s.ref, Revision: revision, Last: w.last})
	}
	if w.last {
		s.mu.Lock()
		s.ended = endOfLastSave(w.reason)
		s.mu.Unlock()
		s.finish(nil)
		s.leave()
	}
}

// thaw lets the session go on after a last save that did not happen. One that may have happened leaves it frozen.
func (s *session) thaw(err error) {
	if errors.Is(err, ErrUnknown) {
		return
	}
	s.data.Lock()
	defer s.data.Unlock()
	s.frozen = false
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage == ending {
		s.stage = held
	}
}
