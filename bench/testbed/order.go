package testbed

import (
	"time"

	"github.com/profilenode/profilenode/bench/measure"
)

// Order is a call of a game server. It has one answer for each key, or one if there are none.
type Order struct {
	Do    Act
	Keys  []string
	Every time.Duration             // SendMessage, KeepSaving: from one to the next; sends vary by half
	After map[string]measure.Moment // WaitForNewSave, WaitForSave, ReportSaves: a moment for each key
}

// Act is the act that an order asks for.
type Act string

// The acts. All but ReportMessages and ReportSessions need keys.
const (
	StartSession   Act = "start session"     // and save, with the game server's name in the data
	Steal          Act = "steal"             // the same, without waiting for a living owner
	ChangeData     Act = "change data"       // and do not save
	Save           Act = "save"              // once
	KeepSaving     Act = "keep saving"       // until a few times after the session is over
	WaitForNewSave Act = "wait for new save" // of KeepSaving: the first begun after a moment and acknowledged
	WaitForSave    Act = "wait for save"     // of KeepSaving: the first acknowledged after a moment, whenever it was begun
	ReportSaves    Act = "report saves"      // of KeepSaving, once the session is over: the tries after a moment
	ReadWriter     Act = "read writer"       // the game server whose data is stored
	SendMessage    Act = "send message"      // to each profile, one after the other
	ReportMessages Act = "report messages"   // the time that each took that was handled here since the last report
	ReportSessions Act = "report sessions"   // their number, and how many were lost
)

// Answer is the answer to an order.
type Answer struct {
	Key          string
	Began, Ended measure.Moment
	Messages     []time.Duration
	Writer       string
	Saves        LateSaves
	Sessions     SessionCounts
	Fault        string // empty: done
}

// SessionCounts counts the sessions of one game server since it started.
type SessionCounts struct {
	Held   int `json:"held"`   // now
	Lost   int `json:"lost"`   // ended, although the game did not ask for it
	Doubts int `json:"doubts"` // times that all of them came into doubt
}

// Add adds the counts of another game server.
func (c *SessionCounts) Add(other SessionCounts) {
	c.Held += other.Held
	c.Lost += other.Lost
	c.Doubts += other.Doubts
}

// LateSaves counts the saves of a former owner once its profile had another one.
type LateSaves struct {
	Tried   int // without an answer at that moment, or begun later
	Refused int // of these by a node; the client did not send the others, or gave them up
	Landed  int // begun after the takeover, and acknowledged
}

// Add adds other counts.
func (c *LateSaves) Add(other LateSaves) {
	c.Tried += other.Tried
	c.Refused += other.Refused
	c.Landed += other.Landed
}
