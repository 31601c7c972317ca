package fsm

import (
	"github.com/profilenode/profilenode/lock"
)

// GrantRow is a grant as the tables keep it.
type GrantRow struct {
	lock.Grant
	SinceMS int64  // timestamp of the grant
	Loads   uint64 // count of the grants ever made

	// WantedMS is the timestamp of the entry since which the owner of this grant is to let go: a game server began to wait, or
	// an operator asked. 0: it is not wanted. Only a new leader reads it, see liveness.Detector.
	WantedMS int64

	// By is the incarnation that asked for the profile as an operator, or took it from its owner by force; zero if none did. Its
	// name is kept, since a tool is forgotten minutes after its command. It stays until the next grant, so that an owner
	// which hears of its loss late still learns by whom.
	By Party
}

// OwnedGrant is a grant with its profile's store and key.
type OwnedGrant struct {
	Store, Key string
	GrantRow
}

func (g GrantRow) encode() []byte {
	w := newRowWriter(64 + 16*len(g.Waiters) + len(g.By.Name) + len(g.By.Where))
	w.writeUint(uint64(g.Token))
	w.writeUint(uint64(g.Ticket))
	w.writeUint(uint64(g.Owner))
	w.writeUint(g.listMarks())
	w.writeInt(g.SinceMS)
	w.writeUint(g.Loads)
	w.writeInt(g.WantedMS)
	w.writeUint(uint64(len(g.Waiters)))
	w.writeUint(uint64(g.CountStealers()))
	for _, waiter := range g.Waiters {
		w.writeUint(uint64(waiter.Server))
		w.writeUint(uint64(waiter.Ticket))
	}
	for _, waiter := range g.Waiters {
		w.writeInt(waiter.SinceMS)
	}
	if g.By.Incarnation != 0 {
		w.writeParty(g.By)
	}
	return w
}

const (
	markRevoked = 1
	markAsked   = 2
	markOrphan  = 4
	markBy      = 8
	markCause   = 4 // bits below the cause
)

func (g GrantRow) listMarks() uint64 {
	marks := uint64(g.Cause) << markCause
	if g.Revoked {
		marks |= markRevoked
	}
	if g.Asked {
		marks |= markAsked
	}
	if g.Orphan {
		marks |= markOrphan
	}
	if g.By.Incarnation != 0 {
		marks |= markBy
	}
	return marks
}

func (g *GrantRow) setListMarks(marks uint64) {
	g.Revoked, g.Asked, g.Orphan = marks&markRevoked != 0, marks&markAsked != 0, marks&markOrphan != 0
	g.Cause = lock.Cause(marks >> markCause)
}

func decodeGrant(row []byte) (GrantRow, error) {
	f := newRowReader(row)
	g := GrantRow{Grant: lock.Grant{
		Token: lock.Token(f.readUint()), Ticket: lock.Token(f.readUint()), Owner: lock.Incarnation(f.readUint()),
	}}
	marks := f.readUint()
	g.setListMarks(marks)
	g.SinceMS, g.Loads, g.WantedMS = f.readInt(), f.readUint(), f.readInt()
	waiters, stealers := f.readUint(), f.readUint()
	if stealers > waiters {
		f.markDamaged()
	}
	for i := uint64(0); i < waiters && !f.bad; i++ {
		w := lock.Waiter{Server: lock.Incarnation(f.readUint()), Ticket: lock.Token(f.readUint()), Steals: i < stealers}
		g.Waiters = append(g.Waiters, w)
	}
	for i := range g.Waiters {
		g.Waiters[i].SinceMS = f.readInt()
	}
	if marks&markBy != 0 {
		g.By = f.readParty()
	}
	return g, f.finishRow(tableGrant)
}

func (r *tableReader) readGrant(store, key string) GrantRow {
	row, ok := r.getRow(profileKey(tableGrant, store, key))
	if !ok {
		return GrantRow{}
	}
	g, err := decodeGrant(row)
	r.noteError(err)
	return g
}

// grantTable holds the grants, and the tables that are derived from them: owned and contested profiles, owned inboxes,
// held sets. Only it writes grants, so the derived tables never fall behind.
type grantTable struct {
	*tableWriter
	gameServers *gameServerTable
}

// readGrantPassedOn reads a grant for a command, and brings it up to date first: a profile without a living owner is granted
// to its first living waiter before the command is decided, so that no newcomer overtakes the queue.
func (t *grantTable) readGrantPassedOn(store, key string) GrantRow {
	old := t.readGrant(store, key)
	grant, out := old.Inherit(t.token, t.isAlive)
	if !out.Granted && grant.Owner == old.Owner && len(grant.Waiters) == len(old.Waiters) {
		return old
	}
	return t.storeDecision(store, key, old, grant, out)
}

// storeDecision writes a grant that package lock decided on, with old's By unless it is a new grant, updates the tables that are derived from it, and adds the
// events for the game servers concerned.
func (t *grantTable) storeDecision(store, key string, old GrantRow, grant lock.Grant, out lock.Outcome) GrantRow {
	row := GrantRow{Grant: grant, SinceMS: old.SinceMS, Loads: old.Loads, By: old.By}
	if out.Granted {
		row.By = Party{}
	}
	if out.Granted && !out.Reclaimed {
		row.SinceMS, row.Loads = t.position.StampMS, old.Loads+1
	}
	if row.Owner != 0 && row.Wanted() {
		if row.WantedMS = old.WantedMS; row.Token != old.Token || !old.Wanted() {
			row.WantedMS = t.position.StampMS
		}
	}
	t.putRow(profileKey(tableGrant, store, key), row.encode())
	t.updateGrantIndexes(store, key, old, row)

	switch {
	case out.Reclaimed: // the reply tells the game server, which may reclaim many at once
	case out.Granted:
		t.addEvent(Event{Kind: Granted, Server: row.Owner, Store: store, Key: key, Token: row.Token, Ticket: row.Ticket, Cause: t.causeOfEnd(old)})
	case out.Revoked:
		t.addEvent(Event{Kind: Lost, Server: row.Owner, Store: store, Key: key, Token: row.Token, Cause: row.Cause})
	}
	if row.Wanted() && row.Owner != 0 && !row.Revoked && (out.Granted || out.Queued || out.Asked) {
		t.addEvent(Event{
			Kind: LetGo, Server: row.Owner, Store: store, Key: key, Token: row.Token, Cause: row.requestedCause(), WantedMS: row.WantedMS,
		})
	}
	return row
}

// causeOfEnd returns the cause that ended the session before a grant, if its owner did not end it.
func (t *grantTable) causeOfEnd(old GrantRow) lock.Cause {
	if old.Owner != 0 && !t.isAlive(old.Owner) {
		return lock.Expired
	}
	return old.Cause
}

func (g GrantRow) requestedCause() lock.Cause {
	if g.Asked {
		return lock.ReleasedByOperator
	}
	return lock.NoCause
}

// updateGrantIndexes keeps the tables of owned and contested profiles, and the owner's held set, in step with a grant.
func (t *grantTable) updateGrantIndexes(store, key string, old, row GrantRow) {
	moved := old.Owner != row.Owner || old.Token != row.Token
	if moved && old.Owner != 0 {
		t.deleteRow(ownedKey(tableOwned, old.Owner, store, key))
	}
	if moved && row.Owner != 0 {
		w := newRowWriter(20)
		w.writeUint(uint64(row.Token))
		w.writeUint(uint64(row.Ticket))
		t.putRow(ownedKey(tableOwned, row.Owner, store, key), w)
	}
	if moved && t.readInbox(store, key).Waiting > 0 {
		if old.Owner != 0 {
			t.deleteRow(ownedKey(tableOwnedInbox, old.Owner, store, key))
		}
		if row.Owner != 0 {
			t.putRow(ownedKey(tableOwnedInbox, row.Owner, store, key), newRowWriter(0))
		}
	}
	if moved {
		t.gameServers.updateCounts(old.Owner, old.counts(), grantCounts{}, store, key, old.Token)
		t.gameServers.updateCounts(row.Owner, grantCounts{}, row.counts(), store, key, row.Token)
	} else {
		t.gameServers.updateCounts(row.Owner, old.counts(), row.counts(), store, key, row.Token)
	}
	was, is := old.isContested(), row.isContested()
	if was && (!is || old.Owner != row.Owner) {
		t.removeMember(contestedList, ownedKey(tableContested, old.Owner, store, key))
	}
	if is && (!was || old.Owner != row.Owner) {
		t.addMember(contestedList, ownedKey(tableContested, row.Owner, store, key))
	}
}

func (g GrantRow) isHeld() bool      { return g.Owner != 0 && !g.Revoked }
func (g GrantRow) isContested() bool { return g.Owner != 0 && (g.Revoked || g.Wanted()) }

// grantCounts is what one grant adds to the counts in its owner's row.
type grantCounts struct{ owned, held, contested int }

func (g GrantRow) counts() grantCounts {
	count := func(counts bool) int {
		if counts {
			return 1
		}
		return 0
	}
	return grantCounts{owned: count(g.Owner != 0), held: count(g.isHeld()), contested: count(g.isContested())}
}
