package gossip

import (
	"bytes"
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// State says how a member seems from here.
type State uint8

const (
	Alive State = iota // it answers, or is only suspected: memberlist does not tell which
	Dead               // no member got an answer from it
	Left               // it said that it leaves
)

func (s State) String() string {
	switch s {
	case Dead:
		return "dead"
	case Left:
		return "left"
	}
	return "alive"
}

// Member is another member of the pool, as it seems from here.
type Member struct {
	Name  string
	Addr  string // host:port that it advertises
	Meta  []byte
	State State
	Since time.Time // when this member learned of that state
}

// maxGoneMembers bounds the dead and left members that are remembered. The oldest are forgotten first.
const maxGoneMembers = 1024

// memberTable keeps the state of each member as memberlist reports it. memberlist calls back under its own lock, so no
// method here waits for anything but mu.
type memberTable struct {
	now      func() time.Time
	log      *slog.Logger
	self     string
	meta     []byte
	remember time.Duration

	leaving atomic.Bool   // this member's own meta says that it leaves
	changed chan struct{} // has capacity 1, so that changes merge

	mu      sync.Mutex
	members map[string]Member
	living  int  // number of members that are Alive
	closed  bool // later reports change nothing
}

var (
	_ memberlist.Delegate         = (*memberTable)(nil)
	_ memberlist.EventDelegate    = (*memberTable)(nil)
	_ memberlist.ConflictDelegate = (*memberTable)(nil)
)

// The first byte of the meta on the wire says whether the member is leaving. memberlist knows it, but its callbacks do not
// pass it on: the state in its Node is never set.
const (
	staying = 0
	leaving = 1
)

// NodeMeta returns the meta that memberlist passes on with this member.
func (t *memberTable) NodeMeta(int) []byte {
	flag := byte(staying)
	if t.leaving.Load() {
		flag = leaving
	}
	return append([]byte{flag}, t.meta...)
}

func isLeaving(meta []byte) bool { return len(meta) > 0 && meta[0] == leaving }

// NotifyJoin, NotifyUpdate and NotifyLeave are called by memberlist when another member's state changes.
func (t *memberTable) NotifyJoin(n *memberlist.Node)   { t.recordMember(n, Alive) }
func (t *memberTable) NotifyUpdate(n *memberlist.Node) { t.recordMember(n, Alive) }

func (t *memberTable) NotifyLeave(n *memberlist.Node) {
	if isLeaving(n.Meta) {
		t.recordMember(n, Left)
		return
	}
	t.recordMember(n, Dead)
}

func (t *memberTable) recordMember(n *memberlist.Node, state State) {
	if n.Name == t.self {
		return
	}
	now := t.now()
	m := Member{Name: n.Name, Addr: n.Address(), State: state, Since: now}
	if len(n.Meta) > 1 {
		m.Meta = bytes.Clone(n.Meta[1:])
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if old, ok := t.members[n.Name]; ok && old.State == state && old.Addr == m.Addr {
		m.Since = old.Since
	}
	if old, ok := t.members[n.Name]; ok && old.State == Alive {
		t.living--
	}
	if state == Alive {
		t.living++
	}
	t.members[n.Name] = m
	t.forgetOld(now)
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// forgetOld drops the members that have been dead or left for longer than remember, and the oldest beyond maxGoneMembers.
// The caller holds t.mu.
func (t *memberTable) forgetOld(now time.Time) {
	var gone []Member
	for name, m := range t.members {
		switch {
		case m.State == Alive:
		case now.Sub(m.Since) >= t.remember:
			delete(t.members, name)
		default:
			gone = append(gone, m)
		}
	}
	if len(gone) <= maxGoneMembers {
		return
	}
	slices.SortFunc(gone, func(a, b Member) int { return a.Since.Compare(b.Since) })
	for _, m := range gone[:len(gone)-maxGoneMembers] {
		delete(t.members, m.Name)
	}
}

func (t *memberTable) listMembers() []Member {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetOld(now)
	list := make([]Member, 0, len(t.members))
	for _, m := range t.members {
		m.Meta = bytes.Clone(m.Meta)
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (t *memberTable) stateOf(name string) (State, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.findMember(name)
	return m.State, ok
}

func (t *memberTable) isDead(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.findMember(name)
	return ok && m.State == Dead && t.living > 0
}

// findMember returns a member that is not yet to be forgotten. The caller holds t.mu.
func (t *memberTable) findMember(name string) (Member, bool) {
	m, ok := t.members[name]
	return m, ok && (m.State == Alive || t.now().Sub(m.Since) < t.remember)
}

func (t *memberTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}

// NotifyConflict is called when a name in use turns up at another address. The first member keeps the name.
func (t *memberTable) NotifyConflict(existing, other *memberlist.Node) {
	t.log.Warn("gossip refuses a member whose name is in use at another address: give every start a name of its own",
		"name", other.Name, "in_use_at", existing.Address(), "refused_at", other.Address())
}

// Only names and meta travel through the pool, so memberlist's hooks for other data are empty.
func (t *memberTable) NotifyMsg([]byte)                {}
func (t *memberTable) GetBroadcasts(int, int) [][]byte { return nil }
func (t *memberTable) LocalState(bool) []byte          { return nil }
func (t *memberTable) MergeRemoteState([]byte, bool)   {}
