// Package liveness decides, for one leadership, which game servers are gone. Detector weighs renewals, streams, pings and
// gossip at each tick (detector.go), proposes expiries, and has the profiles of the gone granted to their waiters
// (expiries.go). It observes streams (stream_observer.go) and asks ping ports (ping_prober.go), and logs each takeover
// (takeover_log.go). The rules by which signals become grounds are lock's; the facts that an expiry was applied are fsm's.
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
	Term() uint64        // of its opening command
	OpenedAt() time.Time // when its opening command was applied
	OpenView() (View, error)
	// Propose writes a command to the log and waits for its outcome. It waits while too many commands wait already.
	Propose(ctx context.Context, c *fsm.Command) (fsm.Result, error)
	// IsRefusal reports whether an error of Propose says that the command was not applied and will not be.
	IsRefusal(err error) bool
	// CheckPrompt returns an error while this leader is too slow to confirm renewals.
	CheckPrompt() error
	// SeemsDead reports whether gossip holds a game server for dead. It does not block.
	SeemsDead(inc lock.Incarnation) bool
}

// View is a read snapshot of the tables. It must be closed.
type View interface {
	Server(inc lock.Incarnation) (fsm.Server, bool, error)
	Servers() ([]fsm.Server, error)
	Contested(owner lock.Incarnation, limit int) ([]fsm.OwnedGrant, error)
	Close() error
}

// Metrics is told of takeovers.
type Metrics interface {
	// RecordExpiry tells of the outcome of an expiry, and for how long its incarnation was silent.
	RecordExpiry(ground lock.Ground, refused bool, silent time.Duration)
	// RecordTakeover tells how long after an expiry the last waiter of its incarnation was served.
	RecordTakeover(took time.Duration)
}

// Config holds the settings of a Detector.
type Config struct {
	Settings lock.Detector
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error) // of ping ports
	Log      *slog.Logger
	Metrics  Metrics
}

// ErrLeadershipOver is returned by a call that the end of the leadership interrupted.
var ErrLeadershipOver = errors.New("this leadership is over")
