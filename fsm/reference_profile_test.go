package fsm_test

import (
	"cmp"
	"crypto/sha256"
	"slices"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

type referenceProfile struct {
	name fsm.ProfileName

	// Ownership.
	token, ticket lock.Token
	owner         lock.Incarnation
	revoked       bool
	cause         lock.Cause // of the revocation
	asked         bool       // by an operator
	by            fsm.Party  // it asked for the profile as an operator, or took it by force, since the last grant
	bereft        bool       // its last owner died with it, neither revoked nor asked
	queue         []lock.Waiter
	since, wanted int64 // timestamps of the grant, and of the entry since which its owner is to let go; 0: it is not
	loads         uint64

	// Contents.
	exists         bool
	revision       uint64
	created, saved int64
	tags           map[string]string
	history        []referenceRevision // the last one is the current one

	sent     uint64 // messages ever
	messages []fsm.Message
}

type referenceRevision struct {
	fsm.Revision
	data []byte
}

func (w *referenceModel) profile(store, key string) *referenceProfile {
	name := fsm.ProfileName{Store: store, Key: key}
	if w.profiles[name] == nil {
		w.profiles[name] = &referenceProfile{name: name}
	}
	return w.profiles[name]
}

// malformed knows the names that the stream uses.
func malformed(store, key string) bool { return store == "a/b" || key == "" || key == "\x01" }

func (w *referenceModel) tell(kind fsm.EventKind, p *referenceProfile, ticket lock.Token, message uint64) {
	w.events = append(w.events, fsm.Event{
		Kind: kind, Server: p.owner, Store: p.name.Store, Key: p.name.Key, Token: p.token, Ticket: ticket, Message: message,
	})
}

// because adds an event with a cause.
func (w *referenceModel) because(cause lock.Cause, kind fsm.EventKind, p *referenceProfile, ticket lock.Token) {
	w.tell(kind, p, ticket, 0)
	w.events[len(w.events)-1].Cause = cause
}

// letGo asks the owner to let go, the first time or again.
func (w *referenceModel) letGo(p *referenceProfile, cause lock.Cause) {
	if p.wanted == 0 {
		p.wanted = w.stamp
	}
	w.because(cause, fsm.LetGo, p, 0)
	w.events[len(w.events)-1].WantedMS = p.wanted
}

// touch removes the dead waiters, and grants a profile without an owner to the first waiter.
func (w *referenceModel) touch(store, key string) *referenceProfile {
	p := w.profile(store, key)
	p.queue = slices.DeleteFunc(slices.Clone(p.queue), func(x lock.Waiter) bool { return !w.alive(x.Server) })
	if p.owner != 0 && !w.alive(p.owner) {
		p.bereft = !p.revoked && !p.asked
		w.leaves(p)
		w.next(p, lock.Expired)
	}
	w.next(p, lock.NoCause)
	if len(p.queue) == 0 && !p.asked {
		p.wanted = 0
	}
	return p
}

func (w *referenceModel) leaves(p *referenceProfile) {
	p.owner, p.revoked, p.cause, p.asked, p.wanted = 0, false, lock.NoCause, false, 0
}

// next serves the queue of a profile without an owner.
func (w *referenceModel) next(p *referenceProfile, cause lock.Cause) {
	if p.owner != 0 || len(p.queue) == 0 {
		return
	}
	first := p.queue[0]
	p.queue = p.queue[1:]
	w.give(p, first.Server, first.Ticket, cause)
}

func (w *referenceModel) give(p *referenceProfile, to lock.Incarnation, ticket lock.Token, cause lock.Cause) {
	p.owner, p.token, p.ticket, p.bereft, p.by = to, w.at, ticket, false, fsm.Party{}
	p.since = w.stamp
	p.loads++
	w.because(cause, fsm.Granted, p, ticket)
	p.wanted = 0
	if len(p.queue) > 0 {
		w.letGo(p, lock.NoCause)
	}
}

// free ends a session, and grants the profile to the first living waiter.
func (w *referenceModel) free(p *referenceProfile) {
	cause := p.cause
	if !w.alive(p.owner) {
		cause = lock.Expired
	}
	w.leaves(p)
	p.queue = slices.DeleteFunc(slices.Clone(p.queue), func(x lock.Waiter) bool { return !w.alive(x.Server) })
	w.next(p, cause)
}

func (w *referenceModel) rob(p *referenceProfile, cause lock.Cause, kind fsm.AuditKind, by lock.Incarnation, reason string) {
	if p.owner != 0 && !p.revoked {
		p.revoked, p.cause = true, cause
		if by > 0 {
			p.by = w.party(by)
		}
		w.because(cause, fsm.Lost, p, 0)
		if kind == fsm.AuditSet || kind == fsm.AuditRemove {
			return // its caller audits it, with the revision
		}
		w.audit(fsm.Audit{Kind: kind, Store: p.name.Store, Key: p.name.Key, Cause: cause, Reason: reason}, by, p.owner)
	}
}

// freed carries out an operator's release.
func (w *referenceModel) freed(me lock.Incarnation, c *fsm.ReleaseByOperator) fsm.Result {
	if malformed(c.Store, c.Key) {
		return fsm.Result{Code: fsm.Invalid}
	}
	p := w.touch(c.Store, c.Key)
	done := fsm.Result{Token: p.token, Owner: p.owner, Revision: p.revision}
	switch {
	case p.loads == 0 && p.revision == 0:
		done.Code = fsm.NoProfile
	case p.owner == 0:
		done.Code = fsm.NotOwned
	case uint64(p.token) != c.Token:
		done.Code = fsm.Superseded
	case c.Force:
		w.rob(p, lock.ReleasedByOperator, fsm.AuditForceRelease, me, c.Reason)
	case !p.revoked:
		p.asked, p.by = true, w.party(me)
		w.letGo(p, lock.ReleasedByOperator)
		w.audit(fsm.Audit{Kind: fsm.AuditAskOwner, Store: c.Store, Key: c.Key, Reason: c.Reason}, me, p.owner)
	}
	return done
}

func (w *referenceModel) start(me lock.Incarnation, c *fsm.StartSession) fsm.Result {
	if malformed(c.Store, c.Key) || c.WhenOwned > 2 {
		return fsm.Result{Code: fsm.Invalid}
	}
	p := w.touch(c.Store, c.Key)
	most := w.policy(c.Store, fsm.PolicyMaxWaiters)
	switch {
	case p.owner == 0:
		w.give(p, me, w.at, lock.NoCause)
		return fsm.Result{Token: w.at, Revision: p.revision, Loads: p.loads}
	case p.owner == me, c.WhenOwned == 1:
		return fsm.Result{Code: fsm.Owned, Owner: p.owner, Limit: uint64(most)}
	}
	old := slices.IndexFunc(p.queue, func(x lock.Waiter) bool { return x.Server == me })
	if old < 0 && c.WhenOwned == 0 && int64(len(p.queue)) >= most {
		return fsm.Result{Code: fsm.QueueFull, Owner: p.owner, Limit: uint64(most)}
	}
	mine, wasStealing := lock.Waiter{Server: me, SinceMS: w.stamp}, false
	if old >= 0 {
		mine, wasStealing = p.queue[old], p.queue[old].Steals
	}
	mine.Ticket, mine.Steals = w.at, wasStealing || c.WhenOwned == 2
	queue, placed := []lock.Waiter{}, false
	for _, x := range p.queue {
		switch {
		case x.Server == me && mine.Steals == wasStealing:
			queue, placed = append(queue, mine), true
		case x.Server == me:
		case !x.Steals && mine.Steals && !wasStealing && !placed:
			queue, placed = append(queue, mine, x), true
		default:
			queue = append(queue, x)
		}
	}
	if !placed {
		queue = append(queue, mine)
	}
	p.queue = queue
	done := fsm.Result{Code: fsm.Queued, Token: w.at, Owner: p.owner}
	done.Place = uint64(slices.IndexFunc(queue, func(x lock.Waiter) bool { return x.Server == me })) + 1
	if c.WhenOwned == 2 {
		if p.revoked && !wasStealing { // it was revoked before
			w.audit(fsm.Audit{Kind: fsm.AuditSteal, Store: c.Store, Key: c.Key, Cause: lock.Stolen}, me, p.owner)
		}
		w.rob(p, lock.Stolen, fsm.AuditSteal, me, "")
	}
	if !p.revoked {
		cause := lock.NoCause
		if p.asked {
			cause = lock.ReleasedByOperator
		}
		w.letGo(p, cause)
	} else if p.wanted == 0 {
		p.wanted = w.stamp
	}
	return done
}

func (w *referenceModel) reclaim(me lock.Incarnation, c *fsm.Reclaim) fsm.Result {
	for _, x := range c.Claims {
		if malformed(x.Store, x.Key) {
			return fsm.Result{Code: fsm.Invalid}
		}
	}
	if len(c.Claims) < 1 || len(c.Claims) > 256 {
		return fsm.Result{Code: fsm.Invalid}
	}
	for _, x := range c.Claims {
		p := w.touch(x.Store, x.Key)
		if p.bereft && uint64(p.token) == x.Token && p.revision == x.Revision {
			p.owner, p.token, p.ticket, p.bereft, p.by = me, w.at, w.at, false, fsm.Party{}
			if len(p.queue) > 0 {
				panic("an orphan with a queue")
			}
		}
	}
	return fsm.Result{Token: w.at}
}

func (w *referenceModel) cancel(me lock.Incarnation, c *fsm.Cancel) fsm.Result {
	if malformed(c.Store, c.Key) {
		return fsm.Result{Code: fsm.Invalid}
	}
	p := w.profile(c.Store, c.Key)
	mine := lock.Waiter{Server: me, Ticket: lock.Token(c.Ticket)}
	i := slices.IndexFunc(p.queue, func(x lock.Waiter) bool { return x.Server == mine.Server && x.Ticket == mine.Ticket })
	switch {
	case p.owner == me && p.ticket == mine.Ticket:
		w.free(p)
		return fsm.Result{}
	case i >= 0:
		p.queue = slices.Delete(slices.Clone(p.queue), i, i+1)
		w.touch(c.Store, c.Key)
		return fsm.Result{}
	}
	w.touch(c.Store, c.Key)
	return fsm.Result{Code: fsm.NotWaiting}
}

// ownersCause: nothing said, panicked, ended, handed off, shut down, out of reach.
func ownersCause(cause uint32) bool { return slices.Contains([]uint32{0, 8, 9, 10, 11, 12}, cause) }

// endedByOwner notes the cause that an owner states for the end of its session.
func (w *referenceModel) endedByOwner(p *referenceProfile, cause uint32) {
	p.cause = lock.Cause(cause)
	if cause == 8 || cause == 12 {
		w.audit(fsm.Audit{Kind: fsm.AuditGiveUp, Store: p.name.Store, Key: p.name.Key, Cause: p.cause}, 0, p.owner)
	}
	if cause == 0 && p.asked {
		p.cause = lock.ReleasedByOperator
	}
}

func (w *referenceModel) release(me lock.Incarnation, c *fsm.Release) fsm.Result {
	if !ownersCause(c.Cause) || malformed(c.Store, c.Key) {
		return fsm.Result{Code: fsm.Invalid}
	}
	for _, x := range c.Panics {
		if len(c.Panics) > 16 || len(x.Text) > 1024 {
			return fsm.Result{Code: fsm.Invalid}
		}
	}
	p := w.touch(c.Store, c.Key)
	if p.owner != me || uint64(p.token) != c.Token {
		return fsm.Result{Code: fsm.Fenced, Token: p.token}
	}
	if !p.revoked {
		w.endedByOwner(p, c.Cause)
	}
	for _, x := range c.Panics {
		for i := range p.messages {
			if p.messages[i].ID == x.Message {
				p.messages[i].Panics++
				p.messages[i].PanicText = x.Text
			}
		}
	}
	w.free(p)
	return fsm.Result{Token: lock.Token(c.Token), Revision: p.revision, Owner: p.owner}
}

func (w *referenceModel) revoke(c *fsm.Revoke) fsm.Result {
	p := w.touch(c.Store, c.Key)
	if p.owner == 0 || p.revoked || c.Waited && !p.asked && len(p.queue) == 0 || uint64(p.token) != c.Token {
		return fsm.Result{Code: fsm.Superseded, Token: p.token}
	}
	w.rob(p, lock.Late, fsm.AuditLate, 0, "")
	return fsm.Result{Token: p.token, Owner: p.owner}
}

func (w *referenceModel) lapse(c *fsm.Lapse) fsm.Result {
	if c.Term != w.term {
		return fsm.Result{Code: fsm.Superseded}
	}
	p := w.touch(c.Store, c.Key)
	if p.owner == 0 || !p.revoked || uint64(p.token) != c.Token {
		return fsm.Result{Code: fsm.Superseded, Token: p.token}
	}
	w.free(p)
	return fsm.Result{Token: lock.Token(c.Token)}
}

// walk serves a dead one's queues, by store and key.
func (w *referenceModel) walk(c *fsm.GrantToWaiters) fsm.Result {
	if w.alive(lock.Incarnation(c.Incarnation)) {
		return fsm.Result{Code: fsm.Superseded}
	}
	var contested []*referenceProfile
	for _, p := range w.profiles {
		if p.owner != 0 && uint64(p.owner) == c.Incarnation && (p.revoked || p.asked || len(p.queue) > 0) {
			contested = append(contested, p)
		}
	}
	slices.SortFunc(contested, func(x, y *referenceProfile) int {
		return cmp.Or(cmp.Compare(x.name.Store, y.name.Store), cmp.Compare(x.name.Key, y.name.Key))
	})
	done := fsm.Result{}
	for i, p := range contested {
		if done.More = i == int(c.Limit); done.More {
			break
		}
		if w.touch(p.name.Store, p.name.Key); p.owner != 0 {
			done.Granted++
		}
	}
	return done
}

func (w *referenceModel) save(s *referenceServer, q *fsm.Request, c *fsm.Save) fsm.Result {
	if malformed(c.Store, c.Key) || c.Data == nil || !ownersCause(c.Cause) || c.Cause > 0 && !c.End {
		return fsm.Result{Code: fsm.Invalid}
	}
	p := w.touch(c.Store, c.Key)
	if p.owner != s.about.Incarnation || p.revoked || uint64(p.token) != c.Token {
		return fsm.Result{Code: fsm.Fenced, Token: p.token, Revision: p.revision}
	}
	if c.Base != p.revision {
		return fsm.Result{Code: fsm.RevisionDiffers, Token: p.token, Revision: p.revision}
	}
	data, refusal := w.data(s, q, p, c.Data, c.Tags)
	if refusal != nil {
		return *refusal
	}
	marked := map[uint64]bool{}
	for _, id := range c.ClearMessages {
		there := slices.ContainsFunc(p.messages, func(m fsm.Message) bool { return m.ID == id })
		if !there || marked[id] {
			return fsm.Result{Code: fsm.NoMessage, Token: p.token, Revision: p.revision}
		}
		marked[id] = true
	}
	w.write(p, c.Data.Codec, data, c.Tags, p.token, fsm.WriteSave)
	p.messages = slices.DeleteFunc(p.messages, func(m fsm.Message) bool { return slices.Contains(c.ClearMessages, m.ID) })
	if c.End {
		w.endedByOwner(p, c.Cause)
		if last := len(w.audits) - 1; c.Cause == 12 {
			w.audits[last].Kind, w.audits[last].Revision = fsm.AuditKeptSave, p.revision
		}
		w.free(p)
		return fsm.Result{Token: lock.Token(c.Token), Revision: p.revision, Owner: p.owner}
	}
	return fsm.Result{Token: lock.Token(c.Token), Revision: p.revision}
}

func (w *referenceModel) set(s *referenceServer, q *fsm.Request, c *fsm.Set) fsm.Result {
	if malformed(c.Store, c.Key) || c.Data == nil || c.AnyRevision && c.Expected > 0 {
		return fsm.Result{Code: fsm.Invalid}
	}
	p := w.touch(c.Store, c.Key)
	if refusal := p.unforced(c.Expected, c.AnyRevision, c.Force); refusal != nil {
		return *refusal
	}
	data, refusal := w.data(s, q, p, c.Data, c.Tags)
	if refusal != nil {
		return *refusal
	}
	w.wrote(p, lock.Overwritten, fsm.AuditSet, s.about.Incarnation)
	w.write(p, c.Data.Codec, data, c.Tags, 0, fsm.WriteSet)
	return fsm.Result{Revision: p.revision, Token: p.token}
}

func (w *referenceModel) remove(me lock.Incarnation, c *fsm.Remove) fsm.Result {
	if malformed(c.Store, c.Key) || c.AnyRevision && c.Expected > 0 {
		return fsm.Result{Code: fsm.Invalid}
	}
	p := w.touch(c.Store, c.Key)
	if refusal := p.unforced(c.Expected, c.AnyRevision, c.Force); refusal != nil {
		return *refusal
	}
	if !p.exists {
		return fsm.Result{Code: fsm.NoProfile, Revision: p.revision}
	}
	if len(p.messages) > 0 && !c.DropMessages {
		return fsm.Result{Code: fsm.MessagesWait, Revision: p.revision, Token: p.token, Limit: uint64(len(p.messages))}
	}
	w.wrote(p, lock.Removed, fsm.AuditRemove, me)
	w.audits[len(w.audits)-1].Dropped = uint64(len(p.messages))
	p.messages = nil
	w.write(p, 0, nil, &fsm.Tags{}, 0, fsm.WriteRemove)
	w.addDue(w.policy(c.Store, fsm.PolicyRemovedDays), false, p.name, p.revision)
	return fsm.Result{Revision: p.revision, Token: p.token}
}

// wrote takes a profile that is set or removed from its owner, if it has one that was not revoked, and audits the act.
func (w *referenceModel) wrote(p *referenceProfile, cause lock.Cause, kind fsm.AuditKind, by lock.Incarnation) {
	act := fsm.Audit{Kind: kind, Store: p.name.Store, Key: p.name.Key, Revision: p.revision + 1}
	from := lock.Incarnation(0)
	if p.owner != 0 && !p.revoked {
		from, act.Cause = p.owner, cause
	}
	w.rob(p, cause, kind, by, "")
	w.audit(act, by, from)
}

func (p *referenceProfile) unforced(expected uint64, anyRevision, force bool) *fsm.Result {
	if p.owner != 0 && !force {
		return &fsm.Result{Code: fsm.Owned, Owner: p.owner, Token: p.token, Revision: p.revision}
	}
	if expected != p.revision && !anyRevision {
		return &fsm.Result{Code: fsm.RevisionDiffers, Token: p.token, Revision: p.revision}
	}
	return nil
}

// data returns the data of a write, or the refusal.
func (w *referenceModel) data(s *referenceServer, q *fsm.Request, p *referenceProfile, d *fsm.Data, tags *fsm.Tags) ([]byte, *fsm.Result) {
	limit := w.policy(p.name.Store, fsm.PolicyMaxData)
	if d.Size > uint64(limit) {
		return nil, &fsm.Result{Code: fsm.TooLarge, Limit: uint64(limit), Revision: p.revision}
	}
	if d.Codec > 255 || len(d.Hash) != 32 {
		return nil, &fsm.Result{Code: fsm.Invalid}
	}
	bytes := 0
	for name, value := range tags.GetTags() {
		bytes += len(name) + len(value)
	}
	if len(tags.GetTags()) > 32 || bytes > 4096 {
		return nil, &fsm.Result{Code: fsm.TooLarge, Limit: 4096, Revision: p.revision}
	}
	data := d.Whole
	if d.Parts > 0 {
		data = nil
		for i := range d.Parts {
			part, ok := s.parts[q.Number][i]
			if !ok {
				return nil, &fsm.Result{Code: fsm.PartsMissing, Revision: p.revision}
			}
			data = append(data, part...)
		}
		if uint64(len(data)) != d.Size {
			return nil, &fsm.Result{Code: fsm.PartsMissing, Revision: p.revision}
		}
	}
	if uint64(len(data)) != d.Size || sha256.Sum256(data) != [32]byte(d.Hash) {
		return nil, &fsm.Result{Code: fsm.DataDamaged, Revision: p.revision}
	}
	return data, nil
}

// write is the next revision; a remove leaves a tombstone. Of the oldest at most 32 go at once.
func (w *referenceModel) write(p *referenceProfile, codec uint32, data []byte, tags *fsm.Tags, token lock.Token, why fsm.WriteKind) {
	if !p.exists && why != fsm.WriteRemove {
		p.created = w.stamp
	}
	p.exists = why != fsm.WriteRemove
	p.revision++
	p.saved = w.stamp
	if tags != nil {
		p.tags = tags.Tags
	}
	p.history = append(p.history, referenceRevision{
		Revision: fsm.Revision{Revision: p.revision, Codec: codec, Size: uint64(len(data)), SavedMS: w.stamp, Token: token, Kind: why}, data: data,
	})
	keep := max(1, int(w.policy(p.name.Store, fsm.PolicyHistory)))
	for n := 0; n < 32 && len(p.history) > keep; n++ {
		p.history = p.history[1:]
	}
}

func (w *referenceModel) send(s *referenceServer, c *fsm.Send) fsm.Result {
	if malformed(c.Store, c.Key) || len(c.Kind) > 64 || c.Kind == "\x01" {
		return fsm.Result{Code: fsm.Invalid}
	}
	limit := w.policy(c.Store, fsm.PolicyMaxMessages)
	p := w.profile(c.Store, c.Key)
	if int64(len(p.messages)) >= limit {
		return fsm.Result{Code: fsm.InboxFull, Limit: uint64(limit)}
	}
	if most := w.policy(c.Store, fsm.PolicyMaxMessageBytes); int64(p.messageBytes())+int64(len(c.Body)) > most {
		return fsm.Result{Code: fsm.InboxFull, Limit: uint64(most)}
	}
	if days := w.policy(c.Store, fsm.PolicyUnclaimedMessageDays); days > 0 && p.revision == 0 {
		w.addDue(days, true, p.name, p.sent+1)
	}
	w.touch(c.Store, c.Key)
	before := uint64(0)
	for _, m := range p.messages {
		if m.Panics < 3 {
			before = p.sent
		}
	}
	p.sent++
	p.messages = append(p.messages, fsm.Message{ID: p.sent, Body: c.Body, Size: uint64(len(c.Body)), Kind: c.Kind, Sender: s.about.Name, SentMS: w.stamp})
	if p.owner != 0 && !p.revoked {
		w.tell(fsm.MessageWait, p, 0, p.sent)
		e := &w.events[len(w.events)-1]
		e.After, e.Body, e.MessageKind, e.Sender, e.SentMS = before, string(c.Body), c.Kind, s.about.Name, w.stamp
	}
	return fsm.Result{Message: p.sent, Token: p.token}
}

func (p *referenceProfile) messageBytes() (n uint64) {
	for _, m := range p.messages {
		n += uint64(len(m.Body))
	}
	return n
}

func (w *referenceModel) clear(c *fsm.ClearMessage) fsm.Result {
	if malformed(c.Store, c.Key) {
		return fsm.Result{Code: fsm.Invalid}
	}
	p := w.touch(c.Store, c.Key)
	i := slices.IndexFunc(p.messages, func(m fsm.Message) bool { return m.ID == c.Id })
	if i < 0 {
		return fsm.Result{Code: fsm.NoMessage}
	}
	p.messages = slices.Delete(p.messages, i, i+1)
	return fsm.Result{Message: c.Id, Token: p.token}
}
