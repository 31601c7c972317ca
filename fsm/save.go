package fsm

import (
	"bytes"
	"crypto/sha256"

	"github.com/profilenode/profilenode/lock"
)

// saveProfile stores an owner's next revision; with end, the session is released in the same command, for the cause that it
// states.
func (t *recordTable) saveProfile(q *Request, c *Save) Result {
	server := lock.Incarnation(q.Incarnation)
	if !isValidName(c.Store, c.Key) || c.Data == nil || len(c.ClearMessages) > MaxMarks {
		return Result{Code: Invalid}
	}
	if !isCauseOfOwner(c.Cause) || !c.End && c.Cause != 0 {
		return Result{Code: Invalid}
	}
	grant := t.grants.readGrantPassedOn(c.Store, c.Key)
	old := t.readRecord(c.Store, c.Key)
	if grant.MayWrite(server, lock.Token(c.Token)) != lock.None {
		return Result{Code: Fenced, Token: grant.Token, Revision: old.Revision}
	}
	if c.Base != old.Revision {
		return Result{Code: RevisionDiffers, Token: grant.Token, Revision: old.Revision}
	}
	next, data, refusal := t.nextRevision(q, old, c.Data, c.Tags)
	if refusal.Code != OK {
		return refusal
	}
	if !t.allMessagesWait(c.Store, c.Key, c.ClearMessages) {
		return Result{Code: NoMessage, Token: grant.Token, Revision: old.Revision}
	}
	next.Token = grant.Token
	t.writeRevision(next, WriteSave, data)
	t.messages.clearMessages(c.Store, c.Key, c.ClearMessages)
	done := Result{Token: grant.Token, Revision: next.Revision}
	if c.End {
		grant.Cause = grant.causeOfOwner(c.Cause)
		t.auditLastSave(grant, next)
		freed, out := grant.Release(server, grant.Token, t.token, t.isAlive)
		if row := t.grants.storeDecision(c.Store, c.Key, grant, freed, out); out.Granted {
			done.Owner = row.Owner
		}
	}
	return done
}

// setProfile overwrites a profile without a session.
func (t *recordTable) setProfile(q *Request, c *Set) Result {
	if !isValidName(c.Store, c.Key) || c.Data == nil || c.AnyRevision && c.Expected != 0 {
		return Result{Code: Invalid}
	}
	grant := t.grants.readGrantPassedOn(c.Store, c.Key)
	old, refusal := t.checkUnowned(c, grant)
	if refusal.Code != OK {
		return refusal
	}
	next, data, refusal := t.nextRevision(q, old, c.Data, c.Tags)
	if refusal.Code != OK {
		return refusal
	}
	by := lock.Incarnation(q.Incarnation)
	taken := t.takeFromOwner(lock.Overwritten, by, c.Store, c.Key, grant)
	t.audits.addAudit(AuditSet, by, taken.Owner, Audit{Store: c.Store, Key: c.Key, Cause: taken.Cause, Revision: next.Revision})
	t.writeRevision(next, WriteSet, data)
	return Result{Revision: next.Revision, Token: grant.Token}
}

// removeProfile leaves a tombstone. It is refused while messages wait, unless it asks to drop them: each was acknowledged to
// its sender. A profile that is created again continues its revision, so that no old write fits it.
func (t *recordTable) removeProfile(server lock.Incarnation, c *Remove) Result {
	if !isValidName(c.Store, c.Key) || c.AnyRevision && c.Expected != 0 {
		return Result{Code: Invalid}
	}
	grant := t.grants.readGrantPassedOn(c.Store, c.Key)
	old, refusal := t.checkUnowned(c, grant)
	if refusal.Code != OK {
		return refusal
	}
	if !old.Exists {
		return Result{Code: NoProfile, Revision: old.Revision}
	}
	box := t.readInbox(c.Store, c.Key)
	messages := box.Waiting + box.SetAside
	if messages > 0 && !c.DropMessages {
		return Result{Code: MessagesWait, Revision: old.Revision, Token: grant.Token, Limit: messages}
	}
	taken := t.takeFromOwner(lock.Removed, server, c.Store, c.Key, grant)
	t.audits.addAudit(AuditRemove, server, taken.Owner, Audit{
		Store: c.Store, Key: c.Key, Cause: taken.Cause, Revision: old.Revision + 1, Dropped: messages,
	})
	t.messages.clearInbox(c.Store, c.Key)
	t.writeRevision(Profile{
		Store: c.Store, Key: c.Key, Revision: old.Revision + 1, CreatedMS: old.CreatedMS, SavedMS: t.position.StampMS, Oldest: old.Oldest,
	}, WriteRemove, nil)
	t.addDue(t.policies.policyValueOf(c.Store, PolicyRemovedDays), dueRevisions, c.Store, c.Key, old.Revision+1)
	return Result{Revision: old.Revision + 1, Token: grant.Token}
}

// writeWithoutSession is a command that writes a profile without a session.
type writeWithoutSession interface {
	GetStore() string
	GetKey() string
	GetExpected() uint64 // the revision that it replaces
	GetAnyRevision() bool
	GetForce() bool
}

// checkUnowned checks that a write without a session is allowed: the profile has no owner, or the write is forced, and the
// revision is the expected one.
func (t *recordTable) checkUnowned(c writeWithoutSession, grant GrantRow) (Profile, Result) {
	old := t.readRecord(c.GetStore(), c.GetKey())
	if grant.Owner != 0 && !c.GetForce() {
		return old, Result{Code: Owned, Owner: grant.Owner, Token: grant.Token, Revision: old.Revision}
	}
	if !c.GetAnyRevision() && c.GetExpected() != old.Revision {
		return old, Result{Code: RevisionDiffers, Revision: old.Revision, Token: grant.Token}
	}
	return old, Result{}
}

// takeFromOwner revokes the owner's session, since the profile was set or removed, and returns the grant that it revoked;
// the zero grant if there is none.
func (t *recordTable) takeFromOwner(cause lock.Cause, by lock.Incarnation, store, key string, grant GrantRow) lock.Grant {
	revoked, out := grant.Revoke(grant.Token, cause, t.isAlive)
	if !out.Revoked {
		return lock.Grant{}
	}
	grant.By = t.readPartyOf(by)
	t.grants.storeDecision(store, key, grant, revoked, out)
	return revoked
}

// auditLastSave records the last save of an owner that ended its session without its game's request. One that was out of
// reach has saved the copy that it kept when its session ended at the limit for doubt.
func (t *recordTable) auditLastSave(grant GrantRow, saved Profile) {
	if grant.Cause == lock.OutOfReach {
		act := Audit{Store: saved.Store, Key: saved.Key, Cause: grant.Cause, Revision: saved.Revision}
		t.audits.addAudit(AuditKeptSave, 0, grant.Owner, act)
		return
	}
	t.audits.addGiveUp(saved.Store, saved.Key, grant)
}

// nextRevision returns the revision that a write makes of a profile, if its data is complete, small enough and matches its
// hash.
func (t *recordTable) nextRevision(q *Request, old Profile, d *Data, tags *Tags) (Profile, []byte, Result) {
	limit := uint64(min(max(t.policies.policyValueOf(old.Store, PolicyMaxData), 0), MaxData)) // bounded here too, since the size of the allocations below depends on it
	if d.Size > limit {
		return old, nil, Result{Code: TooLarge, Limit: limit, Revision: old.Revision}
	}
	if d.Codec > 255 || len(d.Hash) != sha256.Size {
		return old, nil, Result{Code: Invalid}
	}
	if tags != nil && (len(tags.Tags) > MaxTags || sizeOfTags(tags.Tags) > MaxTagBytes) {
		return old, nil, Result{Code: TooLarge, Limit: MaxTagBytes, Revision: old.Revision}
	}
	data, ok := t.assembleData(q, d)
	if !ok {
		return old, nil, Result{Code: PartsMissing, Revision: old.Revision}
	}
	hash := sha256.Sum256(data)
	if uint64(len(data)) != d.Size || hash != [32]byte(d.Hash) {
		return old, nil, Result{Code: DataDamaged, Revision: old.Revision}
	}
	next := old
	next.Exists, next.Revision, next.Codec, next.Size, next.Hash = true, old.Revision+1, d.Codec, d.Size, hash
	next.SavedMS, next.Token = t.position.StampMS, 0
	if !old.Exists {
		next.CreatedMS = t.position.StampMS
	}
	if tags != nil {
		next.Tags = tags.Tags
	}
	return next, data, Result{}
}

func (t *recordTable) assembleData(q *Request, d *Data) ([]byte, bool) {
	if d.Parts == 0 {
		return d.Whole, true
	}
	var parts [][]byte
	size := uint64(0)
	for part := range d.Parts {
		row, ok := t.getRow(partKey(lock.Incarnation(q.Incarnation), q.Number, part))
		if size += uint64(len(row)); !ok || size > d.Size {
			return nil, false
		}
		parts = append(parts, row)
	}
	return bytes.Join(parts, nil), size == d.Size // the size of the parts themselves, not the size that the command states
}
