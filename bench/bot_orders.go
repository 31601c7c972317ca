package main

import "time"

// botOrder is one line that a game server of the takeover benchmark reads from its stdin. It answers with one line for each
// key, or with one line if there are none.
type botOrder struct {
	ID    uint64                   `json:"id"`
	Do    string                   `json:"do"`
	Keys  []string                 `json:"keys,omitempty"`
	Steal bool                     `json:"steal,omitempty"` // start: rob a living owner
	Every time.Duration            `json:"every,omitempty"` // send, scribble: from one to the next; sends vary by half
	After map[string]monotonicTime `json:"after,omitempty"` // saved, tries: a moment for each key
}

const (
	doStart    = "start"    // open a session, and save that it is ours
	doTouch    = "touch"    // change the data, unsaved
	doSend     = "send"     // a message to each profile, one after the other
	doHeard    = "heard"    // how long each message took that was handled here since the last time
	doScribble = "scribble" // save again and again, until the session is over or drop
	doSaved    = "saved"    // when the first save was acknowledged that was begun after a moment
	doAcked    = "acked"    // when the first save was acknowledged after a moment, whenever it was begun
	doTries    = "tries"    // once the scribbling is over: what it tried after a moment
	doDrop     = "drop"     // end the scribbling
	doRead     = "read"     // who wrote what is stored
	doSave     = "save"     // save once
	doCount    = "count"    // what has become of its sessions
)

// botAnswer is the answer.
type botAnswer struct {
	ID    uint64          `json:"id"`
	Key   string          `json:"key,omitempty"`
	Began monotonicTime   `json:"began,omitempty"`
	Ended monotonicTime   `json:"ended,omitempty"`
	Heard []time.Duration `json:"heard,omitempty"`
	Who   string          `json:"who,omitempty"`   // wrote what is stored
	Tries staleWrites     `json:"tries,omitzero"`  // of a scribbling
	Count tryCounts       `json:"count,omitzero"`  // of all sessions
	Fault string          `json:"fault,omitempty"` // empty: done
}

// tryCounts is what became of one game server's sessions, since it started.
type tryCounts struct {
	Held   int `json:"held"`   // now
	Lost   int `json:"lost"`   // ended, though nobody asked for it
	Doubts int `json:"doubts"` // times that all of them came into doubt
}

func (c *tryCounts) addCounts(other tryCounts) {
	c.Held += other.Held
	c.Lost += other.Lost
	c.Doubts += other.Doubts
}

// staleWrite is one save by an owner that may have been robbed.
type staleWrite struct {
	began, ended monotonicTime
	fault        error
	refused      bool // by a node, and not by this process alone
}

// staleWrites is what an old owner did once its profile was somebody else's.
type staleWrites struct {
	Tried   int `json:"tried"`   // saves that were unanswered then, or begun later
	Refused int `json:"refused"` // of them by a node; the others the client did not send, or gave up
	Landed  int `json:"landed"`  // begun after the takeover, and acknowledged
}

// countSince counts the tries that were not answered when somebody else's session had begun. A save that was begun before and
// is acknowledged later is none: it landed in time, and its owner was stopped before it could read so.
func countSince(taken monotonicTime, all []staleWrite) (t staleWrites) {
	for _, one := range all {
		switch {
		case one.ended <= taken, one.fault == nil && one.began <= taken:
			continue
		case one.fault == nil:
			t.Landed++
		case one.refused:
			t.Refused++
		}
		t.Tried++
	}
	return t
}

func (t *staleWrites) addCounts(other staleWrites) {
	t.Tried += other.Tried
	t.Refused += other.Refused
	t.Landed += other.Landed
}
