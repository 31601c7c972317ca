package fsm

import (
	"github.com/profilenode/profilenode/lock"
)

// GrantRow is a grant as the tables keep it.
type GrantRow struct {
	lock.Grant
	SinceMS int64  // stamp of the grant
	Loads   uint64 // grants ever made
}

// OwnedGrant is a grant with the profile that it is of.
type OwnedGrant struct {
	Store, Key string
	GrantRow
}

func (g GrantRow) encode() []byte {
	w := newRow(48 + 16*len(g.Waiters))
	w.uint(uint64(g.Token))
	w.uint(uint64(g.Ticket))
	w.uint(uint64(g.Owner))
	w.uint(g.marks())
	w.int(g.SinceMS)
	w.uint(g.Loads)
	w.uint(uint64(len(g.Waiters)))
	for _, waiter := range g.Waiters {
		w.uint(uint64(waiter.Server))
		w.uint(uint64(waiter.Ticket))
	}
	for _, waiter := range g.Waiters {
		w.int(waiter.SinceMS)
	}
	return w
}

const (
	markRevoked = 1
	markAsked   = 2
	markOrphan  = 4
	markCause   = 3 // bits below the cause
)

func (g GrantRow) marks() uint64 {
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
	return marks
}

func (g *GrantRow) mark(marks uint64) {
	g.Revoked, g.Asked, g.Orphan = marks&markRevoked != 0, marks&markAsked != 0, marks&markOrphan != 0
	g.Cause = lock.Cause(marks >> markCause)
}

func decodeGrant(row []byte) (GrantRow, error) {
	f := readRow(row)
	g := GrantRow{Grant: lock.Grant{
		Token: lock.Token(f.uint()), Ticket: lock.Token(f.uint()), Owner: lock.Incarnation(f.uint()),
	}}
	g.mark(f.uint())
	g.SinceMS, g.Loads = f.int(), f.uint()
	for n := f.uint(); n > 0 && !f.bad; n-- {
		g.Waiters = append(g.Waiters, lock.Waiter{Server: lock.Incarnation(f.uint()), Ticket: lock.Token(f.uint())})
	}
	for i := range g.Waiters {
		g.Waiters[i].SinceMS = f.int()
	}
	return g, f.done(tableGrant)
}

func (r *reader) grant(store, key string) GrantRow {
	row, ok := r.get(profileKey(tableGrant, store, key))
	if !ok {
		return GrantRow{}
	}
	g, err := decodeGrant(row)
	r.check(err)
	return g
}

// touch is how every command comes to a profile's grant: brought up to date, so that a profile whose owner is gone is
// its first waiter's before anybody else is heard.
func (t *tx) touch(store, key string) GrantRow {
	old := t.grant(store, key)
	grant, out := old.Inherit(t.at, t.alive)
	if !out.Granted && grant.Owner == old.Owner && len(grant.Waiters) == len(old.Waiters) {
		return old
	}
	return t.decide(store, key, old, grant, out)
}

// decide writes what the law decided, keeps what is derived from it in step, and tells those whom it concerns.
func (t *tx) decide(store, key string, old GrantRow, grant lock.Grant, out lock.Outcome) GrantRow {
	row := GrantRow{Grant: grant, SinceMS: old.SinceMS, Loads: old.Loads}
	if out.Granted && !out.Reclaimed {
		row.SinceMS, row.Loads = t.standing.StampMS, old.Loads+1
	}
	t.put(profileKey(tableGrant, store, key), row.encode())
	t.keepStep(store, key, old, row)

	switch {
	case out.Reclaimed: // who reclaims is answered, and may do it for many
	case out.Granted:
		t.tell(Event{Kind: Granted, Server: row.Owner, Store: store, Key: key, Token: row.Token, Ticket: row.Ticket, Cause: t.ended(old)})
	case out.Revoked:
		t.tell(Event{Kind: Lost, Server: row.Owner, Store: store, Key: key, Token: row.Token, Cause: row.Cause})
	}
	if row.Wanted() && row.Owner != 0 && !row.Revoked && (out.Granted || out.Queued || out.Asked) {
		t.tell(Event{Kind: LetGo, Server: row.Owner, Store: store, Key: key, Token: row.Token, Cause: row.wants()})
	}
	return row
}

// ended is what ended the session before a grant, if its owner did not.
func (t *tx) ended(old GrantRow) lock.Cause {
	if old.Owner != 0 && !t.alive(old.Owner) {
		return lock.Expired
	}
	return old.Cause
}

func (g GrantRow) wants() lock.Cause {
	if g.Asked {
		return lock.Freed
	}
	return lock.NoCause
}

// keepStep keeps the tables of owned and contested profiles, and the owner's held set, in step with a grant.
func (t *tx) keepStep(store, key string, old, row GrantRow) {
	moved := old.Owner != row.Owner || old.Token != row.Token
	if moved && old.Owner != 0 {
		t.delete(ownedKey(tableOwned, old.Owner, store, key))
	}
	if moved && row.Owner != 0 {
		t.put(ownedKey(tableOwned, row.Owner, store, key), newRow(0))
	}
	if moved && t.mailbox(store, key).Waiting > 0 {
		if old.Owner != 0 {
			t.delete(ownedKey(tableMail, old.Owner, store, key))
		}
		if row.Owner != 0 {
			t.put(ownedKey(tableMail, row.Owner, store, key), newRow(0))
		}
	}
	if old.holds() && (moved || !row.holds()) {
		t.held(old.Owner, -1, store, key, old.Token)
	}
	if row.holds() && (moved || !old.holds()) {
		t.held(row.Owner, 1, store, key, row.Token)
	}
	was, is := old.contested(), row.contested()
	if was && (!is || old.Owner != row.Owner) {
		t.delete(ownedKey(tableContested, old.Owner, store, key))
	}
	if is && (!was || old.Owner != row.Owner) {
		t.put(ownedKey(tableContested, row.Owner, store, key), newRow(0))
	}
}

func (g GrantRow) holds() bool     { return g.Owner != 0 && !g.Revoked }
func (g GrantRow) contested() bool { return g.Owner != 0 && (g.Revoked || g.Wanted()) }
