package client

import (
	"crypto/sha256"
	"errors"

	"github.com/profilenode/profilenode/api/profilev1"
)

// encodeForSave takes the image to be written: for a write, or if there is none for the one that is requested by then. It
// runs the game's functions, and waits for the profile's lock, so the caller holds nothing that others wait for.
func (q *saveQueue) encodeForSave(w *saveRequest) (*saveRequest, encodedData, error) {
	s := q.s
	locked := s.data.lockUnless(s.doneUnlessKept(), s.ctx.Done())
	if locked {
		defer s.data.Unlock()
	}
	s.mu.Lock()
	if w == nil {
		w = q.next
		q.next, q.current = nil, w
	}
	stored, cleared := q.stored, q.cleared
	q.cleared = nil
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
	if w.lazy && !w.last && stored.known && changes == stored.changes && len(s.inbox.handled) == 0 && !q.hasHandlers.Load() {
		return w, encodedData{changes: changes, skip: true}, nil
	}
	if err := q.knownUnstorable(w, changes); err != nil {
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
	q.unclear = q.unclear && q.changesInFlight == changes
	q.changesInFlight = changes
	if w.last {
		s.state.apply(lastSaveEncoded)
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
func (q *saveQueue) noteUnstorable(changes uint64, err error) {
	s := q.s
	s.mu.Lock()
	defer s.mu.Unlock()
	q.unstorable = unstorable{}
	if errors.Is(err, ErrInvalid) && reasonOf(err) == profilev1.Reason_REASON_UNSPECIFIED {
		q.unstorable = unstorable{changes, s.grant.incarnation, err}
	}
}

// knownUnstorable is the refusal of data that has not changed since. To encode it again at each autosave would cost the
// other profiles of this process their time, for the same refusal. Handlers that run before a save may make it storable.
func (q *saveQueue) knownUnstorable(w *saveRequest, changes uint64) error {
	s := q.s
	if w.last || q.hasHandlers.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.unstorable.changes != changes || q.unstorable.incarnation != s.grant.incarnation {
		return nil
	}
	return q.unstorable.err
}
