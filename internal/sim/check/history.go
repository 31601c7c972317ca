// Package check compares the answers that game servers of a simulation got with the log. It knows the promises and
// none of the code that keeps them: it imports nothing of ours.
package check

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Doc is the data of every profile of a simulation. It names its own writer, so that any copy of it tells where it comes
// from.
type Doc struct {
	Writer  string   // the session, or the Set, that wrote it
	Seq     int      // rises with each change of that writer
	Applied []string // messages with their effect in it, in order
	Bulk    []byte   `json:",omitempty"` // makes it large
}

// Forged is the writer of data, and the body of a message, that only copies with a wrong binding, a wrong registration or an
// unknown field have. Nothing of it may be stored.
const Forged = "forged"

func (d Doc) String() string { return fmt.Sprintf("%s#%d+%d", d.Writer, d.Seq, len(d.Applied)) }

func (d Doc) equal(o Doc) bool {
	return d.Writer == o.Writer && d.Seq == o.Seq && slices.Equal(d.Applied, o.Applied) && bytes.Equal(d.Bulk, o.Bulk)
}

// Outcome is the result that a caller was told.
type Outcome uint8

const (
	Unknown Outcome = iota // no answer, or an unknown outcome
	Done
	Refused // it did not happen, and never will
)

func (o Outcome) String() string { return [...]string{"unknown", "done", "refused"}[o] }

// Span is from the call to the answer, in time since the simulation began. An operation without an answer never returned.
type Span struct {
	Call, Return time.Duration
	Answered     bool
}

// before says that one was over when the other began.
func (s Span) before(o Span) bool { return s.Answered && s.Return < o.Call }

// Session is a session that a game server was given.
type Session struct {
	Span
	Writer   string // unique
	Profile  string
	Loads    uint64 // the number of its grant among the profile's
	Revision uint64 // that it loaded
	Loaded   Doc
}

// Save is a save that a game server asked for; autosaves show in the log alone.
type Save struct {
	Span
	Session  *Session
	Seq      int // of the data, when it was asked for
	Outcome  Outcome
	Revision uint64 // with Done: known at the session when it was told
}

// Set is an overwriting without a session.
type Set struct {
	Span
	Writer   string
	Profile  string
	Outcome  Outcome
	Revision uint64
}

// Send is a message.
type Send struct {
	Span
	Sender  string // process
	Body    string // unique
	Profile string
	Outcome Outcome
	Poison  bool // its handler panics
}

// Read is a linearizable Get.
type Read struct {
	Span
	Profile  string
	Revision uint64
	Exists   bool
	Doc      Doc
}

// Revision is one revision of a profile as the log has it at the end.
type Revision struct {
	Number uint64
	Token  uint64 // of the grant that wrote it; 0: a Set
	Doc    Doc
}

// Profile is a profile as the log has it at the end.
type Profile struct {
	Key       string
	Revisions []Revision     // from 1
	Loads     uint64         // grants ever made
	Waiting   []string       // bodies of messages that no handler took
	Panics    map[string]int // by body: the log's count of panics
}

// Violation is a promise that was not kept.
type Violation struct {
	Profile string // empty: of no one profile
	What    string
}

func (v Violation) String() string {
	if v.Profile == "" {
		return v.What
	}
	return v.Profile + ": " + v.What
}

// History is the recorded answers, and the log's revisions.
type History struct {
	Sessions []*Session
	Saves    []*Save
	Sets     []*Set
	Sends    []*Send
	Reads    []*Read
	Panics   map[string]int // by body: handlers that panicked over a message
	Profiles map[string]*Profile
}

type checker struct {
	h     *History
	found []Violation
}

func (j *checker) addViolation(profile, format string, args ...any) {
	j.found = append(j.found, Violation{profile, fmt.Sprintf(format, args...)})
}

// Check returns every promise that was not kept.
func Check(h *History) []Violation {
	j := &checker{h: h}
	for _, p := range h.Profiles {
		j.checkRevisions(p)
		j.checkSessions(p)
		j.checkMessages(p)
	}
	j.checkSaves()
	j.checkSets()
	j.checkMonotonic()
	slices.SortFunc(j.found, func(a, b Violation) int { return strings.Compare(a.String(), b.String()) })
	return j.found
}
