package fsm_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// referenceModel is a slow, obvious implementation of the machine: plain slices and maps, every rule written out where it
// is needed, and no line shared with the machine or package lock. It knows nothing of rows, batches or digests.
type referenceModel struct {
	cluster     []byte
	level       uint32
	stamp       int64
	minute      uint64
	index, term uint64
	at          lock.Token
	servers     []*referenceServer // in order of registration
	profiles    map[fsm.ProfileName]*referenceProfile
	policies    map[[2]string]int64 // store and name; the empty store has the defaults
	nodes       map[string]fsm.Node
	classes     map[string]fsm.TimingClass
	alarms      map[string]fsm.Alarm
	suspected   fsm.SuspectedLeader
	expected    map[string]bool // addresses
	events      []fsm.Event
	audits      []fsm.Audit
	due         []referenceDue
	comparedTo  []byte // where the last comparison of rows ended
	comparedAt  uint64 // index of its entry
}

type referenceServer struct {
	about   fsm.Server // with its activity, but for its counts, which are counted when compared
	ended   uint64     // the minute
	nothing bool       // it left nothing when it ended
	answers map[uint64]referenceAnswer
	parts   map[uint64]map[uint32][]byte // by number
}

type referenceAnswer struct {
	hash   uint64
	result fsm.Result
}

func newReferenceModel() *referenceModel {
	return &referenceModel{profiles: map[fsm.ProfileName]*referenceProfile{}, policies: map[[2]string]int64{}, nodes: map[string]fsm.Node{}, classes: map[string]fsm.TimingClass{},
		alarms: map[string]fsm.Alarm{}, expected: map[string]bool{}}
}

// entry applies one entry.
func (w *referenceModel) entry(index, term uint64, stampMS int64, commands []*fsm.Command) ([]fsm.Result, []fsm.Event) {
	w.index, w.term, w.events = index, term, nil
	if stampMS > w.stamp {
		w.stamp = stampMS
	}
	var results []fsm.Result
	for place, c := range commands {
		w.at = lock.Token(index*65536 + uint64(place))
		done := w.command(c)
		if !done.Repeated || done.Index == 0 { // an answer says which entry did it
			done.Index = index
		}
		results = append(results, done)
	}
	return results, w.events
}

func (w *referenceModel) server(id uint64) *referenceServer {
	for _, s := range w.servers {
		if uint64(s.about.Incarnation) == id {
			return s
		}
	}
	return nil
}

func (w *referenceModel) alive(id lock.Incarnation) bool {
	s := w.server(uint64(id))
	return s != nil && s.about.Alive
}

func (w *referenceModel) living() (count int64) {
	for _, s := range w.servers {
		if s.about.Alive {
			count++
		}
	}
	return count
}

func (w *referenceModel) command(c *fsm.Command) fsm.Result {
	switch {
	case c.GetRegister() != nil:
		return w.register(c.GetRegister())
	case c.GetPutPart() != nil:
		return w.putPart(c.GetRequest(), c.GetPutPart())
	case c.GetFoundCluster() != nil:
		return w.found(c.GetFoundCluster())
	case c.GetOpenTerm() != nil:
		return fsm.Result{}
	case c.GetExpireServers() != nil:
		return w.expire(c.GetExpireServers())
	case c.GetGrantToWaiters() != nil:
		return w.walk(c.GetGrantToWaiters())
	case c.GetRevoke() != nil:
		return w.revoke(c.GetRevoke())
	case c.GetLapse() != nil:
		return w.lapse(c.GetLapse())
	case c.GetForgetEnded() != nil:
		return w.forget(c.GetForgetEnded())
	case c.GetCountMinute() != nil:
		w.minute++
		return fsm.Result{}
	case c.GetSetNode() != nil:
		n := c.GetSetNode()
		node := fsm.Node{ID: n.Id, Address: n.Address, Client: n.Client, Gossip: n.Gossip, ServerGossip: n.ServerGossip}
		if w.nodes[n.Id] != node {
			w.audit(fsm.Audit{Kind: fsm.AuditSetNode, Ring: 1, Reason: n.Id + " at " + n.Address}, 0, 0)
		}
		w.nodes[n.Id] = node
		return fsm.Result{}
	case c.GetRemoveNode() != nil:
		id := c.GetRemoveNode().Id
		if w.nodes[id].ID != "" {
			w.audit(fsm.Audit{Kind: fsm.AuditRemoveNode, Ring: 1, Reason: id}, 0, 0)
		}
		delete(w.nodes, id)
		return fsm.Result{}
	case c.GetSuspectLeader() != nil:
		if c.GetSuspectLeader().Term != w.term {
			return fsm.Result{Code: fsm.Superseded}
		}
		w.suspected = fsm.SuspectedLeader{Term: w.term, StampMS: w.stamp}
		return fsm.Result{}
	case c.GetRaiseAlarm() != nil:
		if code := c.GetRaiseAlarm().Code; w.alarms[code].Code == "" {
			w.alarms[code] = fsm.Alarm{Code: code, Text: c.GetRaiseAlarm().Text, SinceMS: w.stamp}
			return fsm.Result{}
		}
		return fsm.Result{Code: fsm.Superseded}
	case c.GetDropDue() != nil:
		return w.dropDue(int(c.GetDropDue().Limit))
	case c.GetCompareRange() != nil:
		r := c.GetCompareRange()
		if !bytes.Equal(r.From, w.comparedTo) || w.comparedAt == w.index {
			return fsm.Result{Code: fsm.Superseded}
		}
		if len(r.To) > 0 && bytes.Compare(r.To, r.From) <= 0 {
			return fsm.Result{Code: fsm.Invalid}
		}
		w.comparedTo, w.comparedAt = r.To, w.index
		return fsm.Result{}
	case c.GetRaiseLevel() != nil:
		if c.GetRaiseLevel().Level <= w.level {
			return fsm.Result{Code: fsm.Superseded}
		}
		w.level = c.GetRaiseLevel().Level
		w.audit(fsm.Audit{Kind: fsm.AuditRaiseLevel, Ring: 1, Reason: fmt.Sprintf("level %d", w.level)}, 0, 0)
		return fsm.Result{}
	}
	return w.numbered(c)
}

// numbered checks a command that must happen once: its registration, then the answer, the mark, the incarnation, the window.
func (w *referenceModel) numbered(c *fsm.Command) fsm.Result {
	q := c.GetRequest()
	if q == nil || q.Incarnation == 0 || q.Number == 0 || q.Settled >= q.Number {
		return fsm.Result{Code: fsm.Invalid}
	}
	s := w.server(q.Incarnation)
	if s == nil {
		return fsm.Result{Code: fsm.Forgotten}
	}
	if s.strange(q) {
		return fsm.Result{Code: fsm.OtherRegistration}
	}
	if a, ok := s.answers[q.Number]; ok {
		if a.hash != q.Hash {
			w.end(s, lock.Proof, true)
			return fsm.Result{Code: fsm.Cloned}
		}
		a.result.Repeated = true
		return a.result
	}
	if q.Number <= s.about.Settled {
		return fsm.Result{Code: fsm.Forgotten}
	}
	if !s.about.Alive {
		if c.GetSettle() != nil {
			return fsm.Result{Code: fsm.GivenUp}
		}
		return fsm.Result{Code: fsm.ServerGone}
	}
	for n := range s.answers {
		if n <= q.Settled {
			delete(s.answers, n)
		}
	}
	for n := range s.parts {
		if n <= q.Settled {
			delete(s.parts, n)
		}
	}
	s.about.Settled = max(s.about.Settled, q.Settled)
	if q.Number > s.about.Settled+1024 {
		return fsm.Result{Code: fsm.AcknowledgeFirst, Limit: s.about.Settled + 1024}
	}
	done := w.request(s, q, c)
	done.Index = w.index
	if done.Code == fsm.PartsMissing {
		return done
	}
	s.answers[q.Number] = referenceAnswer{q.Hash, done}
	s.about.Last = w.at
	delete(s.parts, q.Number)
	return done
}

// strange says that a request comes from a process that did not register this incarnation.
func (s *referenceServer) strange(q *fsm.Request) bool {
	head := uint64(0)
	for _, b := range s.about.Nonce[:8] {
		head = head*256 + uint64(b)
	}
	return q.Registration != head
}

func (w *referenceModel) request(s *referenceServer, q *fsm.Request, c *fsm.Command) fsm.Result {
	me := s.about.Incarnation
	switch {
	case c.GetEndServer() != nil:
		w.end(s, lock.Goodbye, q.Settled+1 == q.Number)
		return fsm.Result{}
	case c.GetSettle() != nil:
		return fsm.Result{Code: fsm.GivenUp}
	case c.GetStartSession() != nil:
		return w.start(me, c.GetStartSession())
	case c.GetCancel() != nil:
		return w.cancel(me, c.GetCancel())
	case c.GetReclaim() != nil:
		return w.reclaim(me, c.GetReclaim())
	case c.GetSave() != nil:
		return w.save(s, q, c.GetSave())
	case c.GetRelease() != nil:
		return w.release(me, c.GetRelease())
	case c.GetSend() != nil:
		return w.send(s, c.GetSend())
	case c.GetClearMessage() != nil:
		return w.clear(c.GetClearMessage())
	case c.GetSet() != nil:
		return w.set(s, q, c.GetSet())
	case c.GetRemove() != nil:
		return w.remove(me, c.GetRemove())
	case c.GetSetPolicy() != nil:
		return w.setPolicy(me, c.GetSetPolicy())
	case c.GetSetTimingClass() != nil:
		class := c.GetSetTimingClass()
		done := w.setClass(class)
		if done.Code == fsm.OK {
			w.audit(fsm.Audit{Kind: fsm.AuditSetTimingClass, Reason: fmt.Sprint(class.Name, ": renew ", class.RenewMs, ", doubt ", class.DoubtMs,
				", evidence ", class.EvidenceMs, ", lease ", class.LeaseMs, ", hand-off ", class.HandOffMs, " ms")}, me, 0)
		}
		return done
	case c.GetReleaseByOperator() != nil:
		return w.freed(me, c.GetReleaseByOperator())
	case c.GetClearAlarm() != nil:
		code := c.GetClearAlarm().Code
		if w.alarms[code].Code == "" {
			return fsm.Result{Code: fsm.Superseded}
		}
		delete(w.alarms, code)
		w.audit(fsm.Audit{Kind: fsm.AuditClearAlarm, Reason: code}, me, 0)
		return fsm.Result{}
	case c.GetExpectNode() != nil:
		address := c.GetExpectNode().Address
		if address == "nowhere" {
			return fsm.Result{Code: fsm.Invalid}
		}
		if !w.expected[address] {
			w.expected[address] = true
			w.audit(fsm.Audit{Kind: fsm.AuditExpectNode, Reason: address}, me, 0)
		}
		return fsm.Result{}
	}
	return fsm.Result{Code: fsm.Invalid}
}

func (w *referenceModel) register(c *fsm.Register) fsm.Result {
	if c.Name == "" || len(c.Nonce) != 16 || c.Kind > 1 {
		return fsm.Result{Code: fsm.Invalid}
	}
	if len(c.Cluster) > 0 && !bytes.Equal(c.Cluster, w.cluster) || c.Epoch > 1 {
		return fsm.Result{Code: fsm.OtherCluster}
	}
	for _, s := range w.servers {
		if bytes.Equal(s.about.Nonce, c.Nonce) {
			done := fsm.Result{Repeated: true, Token: lock.Token(s.about.Incarnation)}
			if !s.about.Alive {
				done.Code = fsm.ServerGone
			}
			return done
		}
	}
	class := c.TimingClass
	if class == "" {
		class = "default"
	}
	if _, ok := w.classes[class]; !ok {
		return fsm.Result{Code: fsm.UnknownClass}
	}
	var old *referenceServer // the incarnation that says goodbye by this registration
	if s := w.server(c.Replaces); s != nil && s.about.Alive && s.about.Successor == 0 && len(c.Cluster) > 0 && c.ReplacedRegistration != 0 &&
		bytes.Equal(s.about.Nonce[:8], binary.BigEndian.AppendUint64(nil, c.ReplacedRegistration)) {
		old = s
	}
	for _, s := range w.servers {
		if s.about.Alive && s.about.Successor == 0 && s != old && s.about.Name == c.Name {
			return fsm.Result{Code: fsm.NameHeld, Owner: s.about.Incarnation, Limit: uint64(s.about.Class.Lease / time.Millisecond)}
		}
	}
	limit := w.policy("", "max_game_servers")
	if limit > 0 && c.Kind == 1 {
		limit += 100
	}
	if limit > 0 && w.living() >= limit {
		return fsm.Result{Code: fsm.TooManyServers, Limit: uint64(limit)}
	}
	if old != nil {
		old.about.Successor = lock.Incarnation(w.at)
	}
	w.servers = append(w.servers, &referenceServer{
		about: fsm.Server{
			Incarnation: lock.Incarnation(w.at), Name: c.Name, Where: c.Where, Ping: c.Ping, Peer: c.Peer, Tool: c.Kind == 1, Alive: true,
			SinceMS: w.stamp, Nonce: c.Nonce, Class: w.classes[class], Activity: fsm.Activity{Last: w.at},
		},
		answers: map[uint64]referenceAnswer{}, parts: map[uint64]map[uint32][]byte{},
	})
	return fsm.Result{Token: w.at}
}

// end ends an incarnation. Its profiles change only when a later command touches them.
func (w *referenceModel) end(s *referenceServer, ground lock.Ground, settled bool) {
	if !s.about.Alive {
		return
	}
	s.about.Alive, s.about.EndedMS, s.about.Ground = false, w.stamp, ground
	s.ended, s.nothing = w.minute, settled && len(s.answers) == 0 && len(s.parts) == 0
	contested := false
	for _, p := range w.profiles {
		owned := p.owner == s.about.Incarnation
		s.nothing = s.nothing && !owned
		contested = contested || owned && (p.revoked || p.asked || len(p.queue) > 0)
	}
	s.parts = map[uint64]map[uint32][]byte{}
	w.events = append(w.events, fsm.Event{Kind: fsm.ServerEnded, Server: s.about.Incarnation, Contested: contested})
	if ground != lock.Goodbye {
		w.audit(fsm.Audit{Kind: fsm.AuditEndServer, Ground: ground, Cause: lock.Expired}, 0, s.about.Incarnation)
	}
}

// audit records an action with both parties.
func (w *referenceModel) audit(a fsm.Audit, by, from lock.Incarnation) {
	a.Number, a.StampMS, a.Token = uint64(len(w.audits)+1), w.stamp, w.at
	a.By, a.From = w.party(by), w.party(from)
	if a.Ring == 0 {
		a.Ring = 2
		if s := w.server(uint64(by)); by != 0 && s != nil && s.about.Tool {
			a.Ring = 1
		}
	}
	w.audits = append(w.audits, a)
}

func (w *referenceModel) party(id lock.Incarnation) fsm.Party {
	for _, s := range w.servers {
		if s.about.Incarnation == id {
			return fsm.Party{Incarnation: id, Name: s.about.Name, Where: s.about.Where}
		}
	}
	return fsm.Party{Incarnation: id}
}

func (w *referenceModel) expire(c *fsm.ExpireServers) fsm.Result {
	ended := false
	for _, v := range c.Expiries {
		s := w.server(v.Incarnation)
		if c.Term == w.term && s != nil && s.about.Alive && uint64(s.about.Last) == v.Last {
			w.end(s, lock.Ground(v.Ground), true)
			ended = true
		}
	}
	if !ended {
		return fsm.Result{Code: fsm.Superseded}
	}
	return fsm.Result{}
}

// referenceDue is something that is dropped at a minute: a message, or the history below a removal.
type referenceDue struct {
	minute  uint64
	message bool
	name    fsm.ProfileName
	number  uint64
}

func (w *referenceModel) addDue(days int64, message bool, name fsm.ProfileName, number uint64) {
	w.due = append(w.due, referenceDue{w.minute + uint64(days)*1440, message, name, number})
	slices.SortFunc(w.due, func(x, y referenceDue) int {
		kind := func(d referenceDue) int {
			if d.message {
				return 2
			}
			return 1
		}
		return cmp.Or(cmp.Compare(x.minute, y.minute), cmp.Compare(kind(x), kind(y)), cmp.Compare(x.name.Store, y.name.Store),
			cmp.Compare(x.name.Key, y.name.Key), cmp.Compare(x.number, y.number))
	})
}

func (w *referenceModel) dropDue(limit int) fsm.Result {
	for ; len(w.due) > 0 && w.due[0].minute <= w.minute; limit-- {
		if limit == 0 {
			return fsm.Result{More: true}
		}
		d := w.due[0]
		w.due = w.due[1:]
		p := w.profile(d.name.Store, d.name.Key)
		if !d.message {
			if !p.exists && p.revision == d.number {
				p.history = p.history[len(p.history)-1:]
			}
			continue
		}
		i := slices.IndexFunc(p.messages, func(m fsm.Message) bool { return m.ID == d.number })
		if p.revision > 0 || i < 0 {
			continue
		}
		if p = w.touch(d.name.Store, d.name.Key); p.owner != 0 {
			w.addDue(1, true, d.name, d.number)
			continue
		}
		p.messages = slices.Delete(p.messages, i, i+1)
		w.audit(fsm.Audit{Kind: fsm.AuditDropMessage, Ring: 1, Store: d.name.Store, Key: d.name.Key, Dropped: 1, Reason: fmt.Sprint("message ", d.number)}, 0, 0)
	}
	return fsm.Result{}
}

// forget drops those that left nothing first, then the longest gone; with equal minutes, the earliest registered first.
func (w *referenceModel) forget(c *fsm.ForgetEnded) fsm.Result {
	gone := w.forgettable(c.NothingLeftBefore, c.Before)
	more := len(gone) > int(c.Limit)
	for _, s := range gone[:min(len(gone), int(c.Limit))] {
		w.servers = slices.DeleteFunc(w.servers, func(x *referenceServer) bool { return x == s })
	}
	return fsm.Result{More: more}
}

func (w *referenceModel) forgettable(nothingBefore, before uint64) []*referenceServer {
	var nothing, something []*referenceServer
	for _, s := range w.servers {
		switch {
		case s.about.Alive || s.ended >= w.minute:
		case s.nothing && s.ended < nothingBefore:
			nothing = append(nothing, s)
		case !s.nothing && s.ended < before:
			something = append(something, s)
		}
	}
	byMinute := func(x, y *referenceServer) int { return int(x.ended) - int(y.ended) }
	slices.SortStableFunc(nothing, byMinute)
	slices.SortStableFunc(something, byMinute)
	return append(nothing, something...)
}

func (w *referenceModel) putPart(q *fsm.Request, c *fsm.PutPart) fsm.Result {
	if q == nil || q.Number == 0 || len(c.Bytes) == 0 || len(c.Bytes) > 512<<10 || c.Part >= 16 {
		return fsm.Result{Code: fsm.Invalid}
	}
	s := w.server(q.Incarnation)
	switch {
	case s != nil && s.strange(q):
		return fsm.Result{Code: fsm.OtherRegistration}
	case s == nil || !s.about.Alive:
		return fsm.Result{Code: fsm.ServerGone}
	case q.Number <= s.about.Settled:
		return fsm.Result{Code: fsm.Forgotten}
	case q.Number > s.about.Settled+1024:
		return fsm.Result{Code: fsm.AcknowledgeFirst, Limit: s.about.Settled + 1024}
	}
	if _, ok := s.answers[q.Number]; ok {
		return fsm.Result{}
	}
	kept := len(c.Bytes)
	for n, parts := range s.parts {
		for i, part := range parts {
			if n != q.Number || i != c.Part {
				kept += len(part)
			}
		}
	}
	if kept > 8<<20 {
		return fsm.Result{Code: fsm.TooLarge, Limit: 8 << 20}
	}
	if s.parts[q.Number] == nil {
		s.parts[q.Number] = map[uint32][]byte{}
	}
	s.parts[q.Number][c.Part] = c.Bytes
	s.about.Last = w.at
	return fsm.Result{}
}

func (w *referenceModel) found(c *fsm.FoundCluster) fsm.Result {
	if w.cluster != nil {
		return fsm.Result{Code: fsm.Superseded}
	}
	w.cluster, w.level = c.Cluster, c.Level
	for _, p := range c.Policies {
		w.policies[[2]string{"", p.Name}] = p.Value
	}
	for _, class := range c.Classes {
		w.setClass(class)
	}
	return fsm.Result{Token: w.at}
}

// setClass accepts the times under which no owner expires before it is in doubt; the stream's are few, and small.
func (w *referenceModel) setClass(c *fsm.SetTimingClass) fsm.Result {
	ms := time.Millisecond
	robs := 10*c.EvidenceMs <= 12*c.DoubtMs+5000
	if c.Name == "a/b" || c.RenewMs < 50 || c.DoubtMs < 2*c.RenewMs || robs || c.LeaseMs <= c.EvidenceMs || c.HandOffMs <= c.DoubtMs {
		return fsm.Result{Code: fsm.Invalid}
	}
	w.classes[c.Name] = fsm.TimingClass{Name: c.Name, Timing: lock.Timing{
		Renew: time.Duration(c.RenewMs) * ms, Doubt: time.Duration(c.DoubtMs) * ms, Evidence: time.Duration(c.EvidenceMs) * ms,
		Lease: time.Duration(c.LeaseMs) * ms, HandOff: time.Duration(c.HandOffMs) * ms,
	}}
	return fsm.Result{}
}

func (w *referenceModel) policy(store, name string) int64 {
	if value, ok := w.policies[[2]string{store, name}]; ok {
		return value
	}
	return w.policies[[2]string{"", name}]
}

func (w *referenceModel) setPolicy(me lock.Incarnation, c *fsm.SetPolicy) fsm.Result {
	if _, ok := w.policies[[2]string{"", c.Name}]; c.Store == "a/b" {
		return fsm.Result{Code: fsm.Invalid} // the stream's one malformed store
	} else if !ok {
		return fsm.Result{Code: fsm.UnknownPolicy}
	}
	if !c.Inherit {
		w.policies[[2]string{c.Store, c.Name}] = c.Value
		w.audit(fsm.Audit{Kind: fsm.AuditSetPolicy, Store: c.Store, Reason: fmt.Sprintf("%s=%d", c.Name, c.Value)}, me, 0)
	} else if c.Store == "" {
		return fsm.Result{Code: fsm.Invalid}
	} else {
		delete(w.policies, [2]string{c.Store, c.Name})
		w.audit(fsm.Audit{Kind: fsm.AuditSetPolicy, Store: c.Store, Reason: c.Name + " as the default"}, me, 0)
	}
	return fsm.Result{}
}
