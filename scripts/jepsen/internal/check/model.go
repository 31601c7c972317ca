package check

import (
	"fmt"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// docState is what the model keeps of a document.
type docState struct {
	docID
	applied int // messages
}

func docStateOf(d *history.Doc) docState {
	if d == nil {
		return docState{}
	}
	return docState{idOf(d), len(d.Applied)}
}

// profileState is the model's state: one profile and its grant.
type profileState struct {
	revision int64
	doc      docState
	vague    bool   // the owner may have stored a later change of its own as this revision; only with autosaves
	loads    uint64 // of the last grant that was acknowledged
	owner    string // the session that may save; empty: none
}

func (s profileState) String() string {
	owner := s.owner
	if owner == "" {
		owner = "nobody"
	}
	return fmt.Sprintf("revision %d of %s#%d, %d applied, grant %d of %s", s.revision, s.doc.writer, s.doc.seq, s.doc.applied, s.loads, owner)
}

// step is an operation as the model takes it.
type step struct {
	action    history.Action
	session   string
	loads     uint64 // of a start
	revision  int64  // that was answered
	expected  int64  // of a set
	doc       docState
	writes    bool // an end: with a document
	unknown   bool // it takes effect where it can, and otherwise has none
	operation *history.Operation
}

// profileModel is the sequential specification of a profile, after ARCHITECTURE.md: one owner by token, saves only by it, revisions
// that rise by one, linearizable reads. Sessions expire at any time, so each start is legal.
type profileModel struct {
	autosave bool // sessions also save by themselves, see history.Header
}

// apply returns the state after a step, and whether the step is legal in s.
func (m profileModel) apply(s profileState, a *step) (profileState, bool) {
	switch a.action {
	case history.Start:
		if a.unknown { // its session went on, so it was granted; under which number nobody said
			s.owner = a.session
			return s, true
		}
		after, ok := m.learn(s, a.revision, a.doc)
		if !ok || a.loads <= s.loads {
			return s, false
		}
		after.loads, after.owner = a.loads, a.session
		return after, true
	case history.Get:
		return m.learn(s, a.revision, a.doc)
	case history.Save, history.End:
		return m.applyOfSession(s, a)
	case history.Set:
		fits := a.expected == history.AnyRevision || a.expected == s.revision
		if a.unknown && !fits {
			return s, true
		}
		if !fits || !a.unknown && a.revision != s.revision+1 {
			return m.setOverAutosaves(s, a)
		}
		s.revision++
		s.doc, s.vague, s.owner = a.doc, false, ""
		return s, true
	}
	return s, false
}

// learn is a read of the whole profile.
func (m profileModel) learn(s profileState, revision int64, doc docState) (profileState, bool) {
	if revision == s.revision && doc == s.doc {
		s.vague = false
		return s, true
	}
	if !m.autosave {
		return s, false
	}
	later := doc.writer == s.doc.writer && doc.seq >= s.doc.seq && doc.applied >= s.doc.applied
	switch {
	case revision == s.revision && s.vague && later:
	case revision > s.revision && s.owner != "" && doc.writer == s.owner && (doc.writer != s.doc.writer || doc.seq > s.doc.seq):
	default:
		return s, false
	}
	s.revision, s.doc, s.vague = revision, doc, false
	return s, true
}

// applyOfSession is a save or an end.
func (m profileModel) applyOfSession(s profileState, a *step) (profileState, bool) {
	writes := a.action == history.Save || a.writes
	if a.unknown {
		stale := s.owner != a.session || writes && s.doc.writer == a.doc.writer && s.doc.seq >= a.doc.seq
		if stale || !writes {
			return s, true
		}
		s.revision++
		s.doc = a.doc
	} else {
		if s.owner != a.session {
			return s, false
		}
		var ok bool
		if s, ok = m.save(s, a, writes); !ok {
			return s, false
		}
	}
	if a.action == history.End {
		s.owner = ""
	}
	return s, true
}

// save is an answered save of the owner.
func (m profileModel) save(s profileState, a *step, writes bool) (profileState, bool) {
	// A session that ends at once stores a profile that was never saved as it was loaded.
	newer := s.doc.writer != a.doc.writer || a.doc.seq > s.doc.seq || s.revision == 0
	switch {
	case !m.autosave && writes && a.revision == s.revision+1 && newer:
		s.revision, s.doc = a.revision, a.doc
	case !m.autosave:
		return s, !writes && (a.revision == 0 || a.revision == s.revision)
	case a.revision == 0 && !writes:
		s.vague = true
	case a.revision > s.revision && (newer || !writes):
		if s.revision = a.revision; writes {
			s.doc = a.doc
		} else {
			s.doc = docState{docID: docID{writer: a.session, seq: s.seqOf(a.session)}}
		}
		s.vague = true
	case a.revision == s.revision && (!writes || !newer):
	case a.revision == s.revision && s.vague && s.doc.writer == a.doc.writer:
		s.doc = a.doc
	default:
		return s, false
	}
	return s, true
}

// seqOf is the last change of a writer that is known to be stored.
func (s *profileState) seqOf(writer string) int {
	if s.doc.writer == writer {
		return s.doc.seq
	}
	return 0
}

// setOverAutosaves is an answered set over revisions that the owner made by itself and nobody saw.
func (m profileModel) setOverAutosaves(s profileState, a *step) (profileState, bool) {
	expected := a.expected == history.AnyRevision || a.revision == a.expected+1
	if !m.autosave || s.owner == "" || a.revision <= s.revision || !expected {
		return s, false
	}
	s.revision, s.doc, s.vague, s.owner = a.revision, a.doc, false, ""
	return s, true
}

// isSpent says that an unknown step has no effect in s, nor in any state that can follow.
// Of a session whose start was not answered the grant is unknown, so it may be yet to come.
func (m profileModel) isSpent(s profileState, a *step) bool {
	switch a.action {
	case history.Save, history.End:
		return a.loads > 0 && s.loads >= a.loads && s.owner != a.session || s.doc.writer == a.doc.writer && s.doc.seq >= a.doc.seq
	case history.Set:
		return a.expected != history.AnyRevision && s.revision > a.expected
	}
	return false
}
