package fsm

import (
	"bytes"
	"crypto/sha256"

	"github.com/profilenode/profilenode/lock"
)

// save stores an owner's next revision; with end, the session is released in the same command.
func (t *tx) save(q *Request, c *Save) Result {
	server := lock.Incarnation(q.Incarnation)
	if !wellFormed(c.Store, c.Key) || c.Data == nil || len(c.ClearMessages) > MaxMarks {
		return Result{Code: Invalid}
	}
	grant := t.touch(c.Store, c.Key)
	old := t.record(c.Store, c.Key)
	if grant.MayWrite(server, lock.Token(c.Token)) != lock.None {
		return Result{Code: Fenced, Token: grant.Token, Revision: old.Revision}
	}
	if c.Base != old.Revision {
		return Result{Code: RevisionDiffers, Token: grant.Token, Revision: old.Revision}
	}
	next, data, refusal := t.next(q, old, c.Data, c.Tags)
	if refusal.Code != OK {
		return refusal
	}
	if !t.waitAll(c.Store, c.Key, c.ClearMessages) {
		return Result{Code: NoMessage, Token: grant.Token, Revision: old.Revision}
	}
	next.Token = grant.Token
	t.write(next, WhySave, data)
	t.clearMessages(c.Store, c.Key, c.ClearMessages)
	if c.End {
		freed, out := grant.Release(server, grant.Token, t.at, t.alive)
		t.decide(c.Store, c.Key, grant, freed, out)
	}
	return Result{Token: lock.Token(c.Token), Revision: next.Revision}
}

// set overwrites without a session.
func (t *tx) set(q *Request, c *Set) Result {
	if !wellFormed(c.Store, c.Key) || c.Data == nil || c.AnyRevision && c.Expected != 0 {
		return Result{Code: Invalid}
	}
	grant := t.touch(c.Store, c.Key)
	old, refusal := t.unowned(c, grant)
	if refusal.Code != OK {
		return refusal
	}
	next, data, refusal := t.next(q, old, c.Data, c.Tags)
	if refusal.Code != OK {
		return refusal
	}
	t.rob(lock.Overwritten, lock.Incarnation(q.Incarnation), c.Store, c.Key, grant)
	t.write(next, WhySet, data)
	return Result{Revision: next.Revision, Token: grant.Token}
}

// remove leaves a stone: the revision goes on from it, so that nothing old can land on a profile made anew.
func (t *tx) remove(server lock.Incarnation, c *Remove) Result {
	if !wellFormed(c.Store, c.Key) || c.AnyRevision && c.Expected != 0 {
		return Result{Code: Invalid}
	}
	grant := t.touch(c.Store, c.Key)
	old, refusal := t.unowned(c, grant)
	if refusal.Code != OK {
		return refusal
	}
	if !old.Exists {
		return Result{Code: NoProfile, Revision: old.Revision}
	}
	t.rob(lock.Removed, server, c.Store, c.Key, grant)
	t.clearMailbox(c.Store, c.Key)
	t.write(Profile{
		Store: c.Store, Key: c.Key, Revision: old.Revision + 1, CreatedMS: old.CreatedMS, SavedMS: t.standing.StampMS, Oldest: old.Oldest,
	}, WhyRemove, nil)
	return Result{Revision: old.Revision + 1, Token: grant.Token}
}

// sessionless is a write without a session.
type sessionless interface {
	GetStore() string
	GetKey() string
	GetExpected() uint64 // the revision that it replaces
	GetAnyRevision() bool
	GetForce() bool
}

// unowned checks what a write without a session stands on.
func (t *tx) unowned(c sessionless, grant GrantRow) (Profile, Result) {
	old := t.record(c.GetStore(), c.GetKey())
	if grant.Owner != 0 && !c.GetForce() {
		return old, Result{Code: Owned, Owner: grant.Owner, Token: grant.Token, Revision: old.Revision}
	}
	if !c.GetAnyRevision() && c.GetExpected() != old.Revision {
		return old, Result{Code: RevisionDiffers, Revision: old.Revision, Token: grant.Token}
	}
	return old, Result{}
}

// rob revokes the session of whoever owns the profile, since the profile was set or removed.
func (t *tx) rob(cause lock.Cause, by lock.Incarnation, store, key string, grant GrantRow) {
	if revoked, out := grant.Revoke(grant.Token, cause, t.alive); out.Revoked {
		t.decide(store, key, grant, revoked, out)
		deed := DeedSet
		if cause == lock.Removed {
			deed = DeedRemove
		}
		t.audit(deed, by, grant.Owner, Audit{Store: store, Key: key, Cause: cause})
	}
}

// next is the revision that data would make of a profile, if it is whole, small enough and what its hash says.
func (t *tx) next(q *Request, old Profile, d *Data, tags *Tags) (Profile, []byte, Result) {
	limit := uint64(min(max(t.policy(old.Store, PolicyMaxData), 0), MaxData)) // whatever was proposed: what follows allocates by it
	if d.Size > limit {
		return old, nil, Result{Code: TooLarge, Limit: limit, Revision: old.Revision}
	}
	if d.Codec > 255 || len(d.Hash) != sha256.Size {
		return old, nil, Result{Code: Invalid}
	}
	if tags != nil && (len(tags.Tags) > MaxTags || tagBytes(tags.Tags) > MaxTagBytes) {
		return old, nil, Result{Code: TooLarge, Limit: MaxTagBytes, Revision: old.Revision}
	}
	data, ok := t.assemble(q, d)
	if !ok {
		return old, nil, Result{Code: PartsMissing, Revision: old.Revision}
	}
	hash := sha256.Sum256(data)
	if uint64(len(data)) != d.Size || hash != [32]byte(d.Hash) {
		return old, nil, Result{Code: DataDamaged, Revision: old.Revision}
	}
	next := old
	next.Exists, next.Revision, next.Codec, next.Size, next.Hash = true, old.Revision+1, d.Codec, d.Size, hash
	next.SavedMS, next.Token = t.standing.StampMS, 0
	if !old.Exists {
		next.CreatedMS = t.standing.StampMS
	}
	if tags != nil {
		next.Tags = tags.Tags
	}
	return next, data, Result{}
}

func (t *tx) assemble(q *Request, d *Data) ([]byte, bool) {
	if d.Parts == 0 {
		return d.Whole, true
	}
	var parts [][]byte
	size := uint64(0)
	for part := range d.Parts {
		row, ok := t.get(partKey(lock.Incarnation(q.Incarnation), q.Number, part))
		if size += uint64(len(row)); !ok || size > d.Size {
			return nil, false
		}
		parts = append(parts, row)
	}
	return bytes.Join(parts, nil), size == d.Size // of what is there, whatever was said
}
