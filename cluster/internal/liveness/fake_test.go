package liveness

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

var errRefused = errors.New("refused")

// fakeLeadership is a leadership with tables in memory. It records proposed commands, and applies expiries at once.
type fakeLeadership struct {
	detector *Detector
	opened   time.Time
	outcome  func(*fsm.Command) (fsm.Result, error) // nil: every command is applied
	// waitBefore, if not nil, is called before each command, and may block.
	waitBefore func(*fsm.Command)
	slow       error                     // returned by CheckPrompt
	dead       map[lock.Incarnation]bool // incarnations that gossip says are dead
	dial       func() (net.Conn, error)  // dials every ping port
	// askVoters answers for the other voters; nil: two that reach no game server.
	askVoters func(ports []PingPort) (reached map[string]int, voters int)

	mu        sync.Mutex
	servers   map[lock.Incarnation]fsm.Server
	contested []fsm.OwnedGrant
	stampMS   int64 // the present one; 0: too few clocks are known
	proposed  []*fsm.Command
	expired   map[lock.Incarnation]lock.Ground
	suspected fsm.SuspectedLeader
	asked     int    // questions to the voters
	handedTo  string // voter to which the leadership was handed
}

var _ Leadership = (*fakeLeadership)(nil)

func newFakeLeadership(t *testing.T) *fakeLeadership {
	l := &fakeLeadership{
		opened: time.Now(), dead: map[lock.Incarnation]bool{}, servers: map[lock.Incarnation]fsm.Server{},
		expired: map[lock.Incarnation]lock.Ground{}, dial: func() (net.Conn, error) { return nil, syscall.ECONNREFUSED },
	}
	l.detector = New(t.Context(), l, Config{
		Settings: lock.DefaultDetector(), Log: slog.New(slog.DiscardHandler), Metrics: noMetrics{},
		Dial: func(context.Context, string, string) (net.Conn, error) {
			l.mu.Lock()
			dial := l.dial
			l.mu.Unlock()
			return dial()
		},
	})
	return l
}

// run runs the detector until the test's context ends.
func (l *fakeLeadership) run() { go l.detector.Run() }

// register adds a living game server with the default timing class.
func (l *fakeLeadership) register(inc lock.Incarnation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := fsm.Server{Incarnation: inc, Alive: true, Ping: "gs:6000", Peer: "gs:50000"}
	s.Class.Timing = lock.DefaultTiming()
	l.servers[inc] = s
}

// groundOf returns the ground on which an incarnation was expired, lock.Living if it was not.
func (l *fakeLeadership) groundOf(inc lock.Incarnation) lock.Ground {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.expired[inc]
}

func (l *fakeLeadership) Term() uint64            { return 5 }
func (l *fakeLeadership) OpenedAt() time.Time     { return l.opened }
func (l *fakeLeadership) OpenView() (View, error) { return fakeView{l}, nil }

func (l *fakeLeadership) Timestamp() (int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stampMS, l.stampMS > 0
}

func (l *fakeLeadership) IsRefusal(err error) bool { return errors.Is(err, errRefused) }

func (l *fakeLeadership) CheckPrompt() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slow
}

func (l *fakeLeadership) SeemsDead(inc lock.Incarnation) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead[inc]
}

// set changes the leadership while the detector runs.
func (l *fakeLeadership) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *fakeLeadership) Propose(_ context.Context, c *fsm.Command) (fsm.Result, error) {
	if l.waitBefore != nil {
		l.waitBefore(c)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proposed = append(l.proposed, c)
	if l.outcome != nil {
		return l.outcome(c)
	}
	if suspect := c.GetSuspectLeader(); suspect != nil {
		l.suspected = fsm.SuspectedLeader{Term: suspect.Term, StampMS: l.stampMS}
	}
	for _, v := range c.GetExpireServers().GetExpiries() {
		inc := lock.Incarnation(v.Incarnation)
		l.expired[inc] = lock.Ground(v.Ground)
		s := l.servers[inc]
		s.Alive, s.Ground = false, lock.Ground(v.Ground)
		l.servers[inc] = s
	}
	return fsm.Result{}, nil
}

func (l *fakeLeadership) AskVoters(_ context.Context, ports []PingPort) (map[string]int, int) {
	l.mu.Lock()
	l.asked++
	ask := l.askVoters
	l.mu.Unlock()
	if ask != nil {
		return ask(ports)
	}
	return map[string]int{"b": 0, "c": 0}, 3
}

func (l *fakeLeadership) HandOverTo(_ context.Context, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handedTo = id
	return nil
}

// fakeView is a view of the tables as they are.
type fakeView struct{ l *fakeLeadership }

func (v fakeView) Server(inc lock.Incarnation) (fsm.Server, bool, error) {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	s, ok := v.l.servers[inc]
	return s, ok, nil
}

func (v fakeView) Living() ([]fsm.Server, error) {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	var living []fsm.Server
	for _, s := range v.l.servers {
		if s.Alive {
			living = append(living, s)
		}
	}
	return living, nil
}

func (v fakeView) Contested(lock.Incarnation, int) ([]fsm.OwnedGrant, error) {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	return v.l.contested, nil
}

func (v fakeView) SuspectedLeader() (fsm.SuspectedLeader, bool, error) {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	return v.l.suspected, v.l.suspected.Term != 0, nil
}

func (fakeView) Close() error { return nil }

type noMetrics struct{}

func (noMetrics) RecordExpiry(lock.Ground, bool, time.Duration) {}
func (noMetrics) RecordTakeover(time.Duration)                  {}

func (l *fakeLeadership) handedToNow() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.handedTo
}
