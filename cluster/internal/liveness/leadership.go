// Package liveness decides, for one leadership, which game servers are gone. At each tick Detector looks at renewals,
// streams, pings and gossip (detector.go). It proposes expiries, and grants the profiles of expired game servers to their
// waiters (expiries.go). It observes streams (stream_observer.go), pings ping ports (ping_prober.go), and logs each
// takeover (takeover_log.go).
//
// The rules by which signals are a ground for an expiry are in package lock. Whether an expiry is applied is decided in
// package fsm, from the tables.
package liveness

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Leadership is the leadership for which a Detector works.
type Leadership interface {
	// Term returns the term of the leadership's opening command.
	Term() uint64
	// OpenedAt returns when the opening command was applied.
	OpenedAt() time.Time
	// OpenView opens a view of this node's tables.
	OpenView() (View, error)
	// Timestamp returns the timestamp that an entry would have now, in Unix milliseconds. ok is false until this leader knows
	// the clocks of a majority.
	Timestamp() (ms int64, ok bool)
	// Propose writes a command to the log and waits for its outcome. It waits while too many commands wait already.
	Propose(ctx context.Context, c *fsm.Command) (fsm.Result, error)
	// IsRefusal reports whether an error of Propose says that the command was not applied and will not be.
	IsRefusal(err error) bool
	// CheckPrompt returns an error while this leader is too slow to confirm renewals.
	CheckPrompt() error
	// SeemsDead reports whether gossip says that an incarnation is dead. It does not block.
	SeemsDead(inc lock.Incarnation) bool
	// AskVoters has every other voter call the ping ports, and returns how many of the game servers answered each, by the id of
	// the voter, and how many voters there are, this leader included. A voter that did not say is missing.
	AskVoters(ctx context.Context, ports []PingPort) (reached map[string]int, voters int)
	// HandOverTo hands the leadership to a voter.
	HandOverTo(ctx context.Context, id string) error
}

// View is a read snapshot of the tables. It must be closed.
type View interface {
	// Server returns the row of an incarnation. ok is false if there is none.
	Server(inc lock.Incarnation) (row fsm.Server, ok bool, err error)
	// Living returns the rows of the living incarnations.
	Living() ([]fsm.Server, error)
	// Contested returns at most limit contested grants of an owner, of all owners if owner is 0.
	Contested(owner lock.Incarnation, limit int) ([]fsm.OwnedGrant, error)
	// SuspectedLeader returns the last leader that handed over because it did not hear most game servers.
	SuspectedLeader() (leader fsm.SuspectedLeader, ok bool, err error)
	Close() error
}

// Metrics records takeovers.
type Metrics interface {
	// RecordExpiry records the outcome of an expiry, and for how long its incarnation was silent.
	RecordExpiry(ground lock.Ground, refused bool, silent time.Duration)
	// RecordTakeover records how long after an expiry the last waiter for a profile of its incarnation was served.
	RecordTakeover(took time.Duration)
}

// Dial opens a connection, as net.Dialer does.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Config holds the settings of a Detector.
type Config struct {
	Settings lock.Detector
	Dial     Dial // dials ping ports
	Log      *slog.Logger
	Metrics  Metrics
}

// ErrLeadershipOver is returned by a call that the end of the leadership interrupted.
var ErrLeadershipOver = errors.New("this leadership is over")
