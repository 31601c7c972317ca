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

// State is how a member seems.
type State uint8

const (
	Alive State = iota // answers, or is only suspected: memberlist does not tell which
	Dead               // nobody got an answer from it
	Left               // said that it leaves
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
	Since time.Time // when it came to seem so, here
}

// maxGoneMembers bounds the members that are remembered although they are gone. Older ones are forgotten first.
const maxGoneMembers = 1024

// memberTable is what memberlist tells us. It calls back under its own lock, so nothing here waits for anything.
type memberTable struct {
	now      func() time.Time
	log      *slog.Logger
	self     string
	meta     []byte
	remember time.Duration

	leaving atomic.Bool   // our own meta says so
	changed chan struct{} // of capacity 1

	mu      sync.Mutex
	members map[string]Member
	living  int  // of members
	closed  bool // after it nothing changes any more
}

var (
	_ memberlist.Delegate         = (*memberTable)(nil)
	_ memberlist.EventDelegate    = (*memberTable)(nil)
	_ memberlist.ConflictDelegate = (*memberTable)(nil)
)

// The first byte of the meta on the wire says whether the member is leaving. memberlist itself knows, but its callbacks do
// not tell: the state in its Node is never set.
const (
	staying = 0
	leaving = 1
)

// NodeMeta is memberlist asking what to tell about us.
func (t *memberTable) NodeMeta(int) []byte {
	flag := byte(staying)
	if t.leaving.Load() {
		flag = leaving
	}
	return append([]byte{flag}, t.meta...)
}

func isLeaving(meta []byte) bool { return len(meta) > 0 && meta[0] == leaving }

// NotifyJoin, NotifyUpdate and NotifyLeave are memberlist's news.
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

// forgetOld drops those who have been gone for too long, and the oldest of too many. t.mu is held.
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

// findMember needs t.mu.
func (t *memberTable) findMember(name string) (Member, bool) {
	m, ok := t.members[name]
	return m, ok && (m.State == Alive || t.now().Sub(m.Since) < t.remember)
}

func (t *memberTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}

// NotifyConflict comes when a name in use turns up at another address. The first one keeps it.
func (t *memberTable) NotifyConflict(existing, other *memberlist.Node) {
	t.log.Warn("gossip refuses a name that is in use: every start needs a name of its own",
		"name", other.Name, "in_use_at", existing.Address(), "refused_at", other.Address())
}

// Nothing of ours travels besides names and meta.
func (t *memberTable) NotifyMsg([]byte)                {}
func (t *memberTable) GetBroadcasts(int, int) [][]byte { return nil }
func (t *memberTable) LocalState(bool) []byte          { return nil }
func (t *memberTable) MergeRemoteState([]byte, bool)   {}
