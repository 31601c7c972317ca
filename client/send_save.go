package client

import (
	"errors"

	"github.com/profilenode/profilenode/api/profilev1"
)

// sendUntilStored stores an image, under the incarnation that the session has by then.
func (q *saveQueue) sendUntilStored(w *saveRequest, im encodedData) error {
	s := q.s
	s.mu.Lock()
	unchanged := q.stored.known && im.hash == q.stored.hash && len(im.marks) == 0
	if !w.last && (im.skip || unchanged) {
		q.stored.changes = im.changes
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	for {
		stands, err := q.sendSaveOrRelease(w, im, unchanged)
		if err == nil {
			q.noteAcknowledged(w, im, stands, unchanged)
			return nil
		}
		if reasonOf(err) == profilev1.Reason_REASON_SERVER_GONE && (w.kept || !isClosed(s.done)) {
			continue // it did not happen; the session may go on under another incarnation
		}
		if w.last {
			q.resumeAfterRefusal(err)
		}
		switch reasonOf(err) {
		case profilev1.Reason_REASON_FENCED, profilev1.Reason_REASON_REVISION_DIFFERS, profilev1.Reason_REASON_FORGOTTEN:
			s.loseSession(err)
		}
		return err
	}
}

// sendSaveOrRelease sends an image, or if that is stored already the release alone.
func (q *saveQueue) sendSaveOrRelease(w *saveRequest, im encodedData, stored bool) (*profilev1.ReplyHeader, error) {
	s := q.s
	l, err := s.takeTurn(s.ctx)
	if err != nil {
		return nil, err
	}
	defer s.turn.giveBack()
	if stored {
		return q.sendRelease(l, w)
	}
	return q.sendSave(l, w, im)
}

func (q *saveQueue) sendSave(l *incarnation, w *saveRequest, im encodedData) (*profilev1.ReplyHeader, error) {
	s := q.s
	s.mu.Lock()
	token, base := s.grant.token, q.revision
	s.mu.Unlock()
	save := &profilev1.SaveRequest{
		Store: s.ref.Store, Key: s.ref.Key, Token: token, Base: base,
		Codec: s.body.codecID(), Data: im.data, Hash: im.hash[:], KeepTags: true, ClearMessages: im.marks, End: w.last,
	}
	answer := &profilev1.SaveResponse{}
	ch := &change{
		act: "save", ref: s.ref, incarnation: l, method: profilev1.Profiles_Save_FullMethodName,
		request: save, answer: answer,
	}
	if w.last {
		save.Cause = causeOf(w.endReason())
	} else {
		ch.overtaken = w.overtaken
	}
	err := s.client.link.sendUntilAnswered(s.ctx, ch)
	s.grant.noteNextOwner(answer.Next)
	return answer.Header, err
}

func (q *saveQueue) sendRelease(l *incarnation, w *saveRequest) (*profilev1.ReplyHeader, error) {
	s := q.s
	s.mu.Lock()
	token := s.grant.token
	s.mu.Unlock()
	answer := &profilev1.ReleaseResponse{}
	err := s.client.link.sendUntilAnswered(s.ctx, &change{
		act: "end session", ref: s.ref, incarnation: l, method: profilev1.Profiles_Release_FullMethodName,
		request: &profilev1.ReleaseRequest{Store: s.ref.Store, Key: s.ref.Key, Token: token, Cause: causeOf(w.endReason())},
		answer:  answer,
	})
	s.grant.noteNextOwner(answer.Next)
	return answer.Header, err
}

// noteAcknowledged notes the data that the store has now. It does not wait for the profile's lock: the marks are taken off
// at the next save, which is the first to look.
func (q *saveQueue) noteAcknowledged(w *saveRequest, im encodedData, stands *profilev1.ReplyHeader, released bool) {
	s := q.s
	s.mu.Lock()
	q.cleared = append(q.cleared, im.marks...)
	if !released {
		q.revision = stands.GetRevision()
	}
	q.stored = encodedData{hash: im.hash, known: true, changes: im.changes}
	revision := q.revision
	if w.last && q.next != nil { // of a kept copy, which this was
		w.joinSave(q.next)
		q.next = nil
	}
	s.mu.Unlock()
	if !released {
		s.client.counters.saves.Add(1)
		s.client.counters.savedBytes.Add(uint64(len(im.data)))
		q.runSavedHandlers(Saved{Ref: s.ref, Revision: revision, Last: w.last})
	}
	s.inbox.offerLater()
	if w.last {
		s.concludeSession(sessionEnded, endOfLastSave(w.reason), nil)
		s.dropKeptCopy()
		s.freeKey()
	}
}

// endUnsaved ends a session, with the data stored before, because its present data can never be stored: a profile that could
// neither be saved nor given back would be locked for as long as this game server lives.
func (q *saveQueue) endUnsaved(w *saveRequest, why error) error {
	s := q.s
	err := endError(s.ref, endOfLastSave(w.reason), nil, why)
	err.Act, err.Sentence = "end session", "it ended with the data that was stored before, since the last data cannot be stored"
	s.loseSession(err)
	select {
	case <-s.keyFreed:
	case <-s.ctx.Done():
	}
	return err
}

// resumeAfterRefusal lets the session go on after a last save that did not happen. One that may have happened leaves it ending.
func (q *saveQueue) resumeAfterRefusal(err error) {
	s := q.s
	if errors.Is(err, ErrUnknown) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.apply(lastSaveRefused)
}
