// Package history is the record of a chaos run: what was asked, what was answered, and which faults there were, one event a line.
package history

import (
	"encoding/json"
	"strings"
	"time"
)

// Type says where in an operation's life an event stands.
type Type string

const (
	Invoke Type = "invoke" // the operation begins
	OK     Type = "ok"     // it happened, and this is its result
	Fail   Type = "fail"   // it did not happen, and never will
	Info   Type = "info"   // its outcome is unknown; also each event that is no operation (faults, observations)
)

// Action is what an operation or an observation is.
type Action string

// Operations. Each begins with an event of type Invoke.
const (
	Start Action = "start" // a session; OK: Session, Loads, Revision, Doc as loaded. Steal says that it was asked to steal
	Save  Action = "save"  // of a session; Doc is what is saved; OK: Revision
	End   Action = "end"   // of a session, with its last save if Doc is set; OK: Revision
	Set   Action = "set"   // without a session; Expected revision (AnyRevision: none); OK: Revision
	Get   Action = "get"   // OK: Revision, Doc; Stale says that it was not linearizable; Node answers it
	Send  Action = "send"  // a message, named Body, to the profile Key; OK
	// Zombie is a raw save with the token of a session that is lost; OK would be a violation. Lost says how it was lost, Current
	// whether it names the current revision as its base.
	Zombie Action = "zombie"
)

// Observations. They have the type Info and no completion.
const (
	// Active says that IsActive of Session returned true last at Time of this event, which is read before IsActive is called. It
	// is written when it turned false, and at the end.
	Active Action = "active"
	Over   Action = "over"  // the session has ended; Reason says why
	Fault  Action = "fault" // a nemesis began (Phase "begin") or healed (Phase "end"); Name, Node, Detail
	// Final is the last linearizable read of a key, after every fault is healed and every operation answered: Revision and Doc,
	// and as Detail the bodies of the messages that wait, as a JSON list.
	Final Action = "final"
)

// Phases of a fault.
const (
	Begin   = "begin"
	Heal    = "end"
	Skipped = "skipped" // this machine cannot do it; Detail says why
)

// AnyRevision is the Expected of a Set that replaces whatever is there.
const AnyRevision = -1

// Doc is the data of every profile. Writer and Seq name one write: each save and each set raises Seq before it is asked for, so
// that wherever a document is seen it is known which operation wrote it. The invocation is recorded before the game's value is
// changed: a client may store a change at any time after that. A set of a profile that gets messages carries Applied on.
type Doc struct {
	Writer  string   `json:"writer"`            // session or set that wrote it: unique
	Seq     int      `json:"seq"`               // rises with each change by that writer
	Applied []string `json:"applied,omitempty"` // bodies of messages whose effect is in it, in order
	List    []int    `json:"list,omitempty"`    // the append workload's
	Coins   int64    `json:"coins,omitempty"`
	Bulk    string   `json:"bulk,omitempty"` // makes it large; not written to the history
}

// Event is one line of a history.
type Event struct {
	Time     time.Duration `json:"t"` // since the run began, on the machine's monotonic clock; in nanoseconds
	Type     Type          `json:"ty"`
	Process  string        `json:"p,omitempty"`  // game server or program, e.g. "g2"; worker within it after a dot, e.g. "g2.5"
	Op       uint64        `json:"op,omitempty"` // pairs an invocation with its completion, within one process
	Action   Action        `json:"act"`
	Key      string        `json:"key,omitempty"`
	Session  string        `json:"sess,omitempty"` // unique for the whole run
	Loads    uint64        `json:"loads,omitempty"`
	Revision int64         `json:"rev,omitempty"`
	Expected int64         `json:"exp,omitempty"`
	Doc      *Doc          `json:"doc,omitempty"`
	Body     string        `json:"body,omitempty"`
	Stale    bool          `json:"stale,omitempty"`
	Steal    bool          `json:"steal,omitempty"`
	Current  bool          `json:"cur,omitempty"`
	Node     string        `json:"node,omitempty"`
	Reason   string        `json:"why,omitempty"`
	Lost     string        `json:"lost,omitempty"`
	Phase    string        `json:"ph,omitempty"`
	Name     string        `json:"name,omitempty"`
	Detail   string        `json:"more,omitempty"`
	Error    string        `json:"err,omitempty"`
	Token    uint64        `json:"tok,omitempty"`
}

// IsObservation says that the event belongs to no operation.
func (e *Event) IsObservation() bool {
	return e.Action == Active || e.Action == Over || e.Action == Fault || e.Action == Final
}

// Waiting is the messages that wait in a profile, by a Final.
func (e *Event) Waiting() (bodies []string, err error) {
	if e.Detail == "" {
		return nil, nil
	}
	err = json.Unmarshal([]byte(e.Detail), &bodies)
	return bodies, err
}

// GameServer is the part of a process before the dot: the game server of a worker.
func GameServer(process string) string {
	server, _, _ := strings.Cut(process, ".")
	return server
}
