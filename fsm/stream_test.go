package fsm_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// dice rolls a number in [0, n).
type dice func(n int) int

func seeded(t testing.TB) (dice, uint64) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return diceOf(seed), seed
}

func diceOf(seed uint64) dice { return rand.New(rand.NewPCG(seed, 1)).IntN }

// scripted rolls what a fuzzer wrote; at its end it rolls zeros.
func scripted(script []byte) (roll dice, left func() bool) {
	roll = func(n int) int {
		if len(script) == 0 {
			return 0
		}
		b := script[0]
		script = script[1:]
		return int(b) % n
	}
	return roll, func() bool { return len(script) > 0 }
}

// stream makes up commands as a few game servers and a leader would send them, and as they never should: stale tokens,
// wrong revisions, numbers again, late parts, expiries out of date. It learns from results and events, like they do.
type stream struct {
	roll     dice
	still    bool // stamp and term never move
	stamp    int64
	minute   uint64 // a guess: those it has counted
	term     uint64
	count    uint64 // of requests made up so far
	clients  []*sender
	believed map[fsm.ProfileName]belief
	known    map[fsm.ProfileName][]lock.Token
	judged   []*fsm.Expiry
	compared []byte // the key at which the next compared range begins
}

type sender struct {
	id            lock.Incarnation
	registration  uint64
	gone          bool
	last, settled uint64
	sent          []*fsm.Command
	parts         []byte // put so far for the next number, from part 0 on
	put           uint32
}

type belief struct {
	owner    lock.Incarnation
	token    lock.Token
	revision uint64
}

var (
	streamProfiles = []fsm.ProfileName{{Store: "guilds", Key: "g"}, {Store: "players", Key: "p"}, {Store: "players", Key: "q"}, {Store: "players", Key: "r"}}
	streamPolicies = []string{fsm.PolicyHistory, fsm.PolicyMaxData, fsm.PolicyMaxMessages, fsm.PolicyMaxWaiters, fsm.PolicyMaxServers, "colour"}
)

func newStream(roll dice) *stream {
	return &stream{roll: roll, stamp: 1000, term: 1, believed: map[fsm.ProfileName]belief{}, known: map[fsm.ProfileName][]lock.Token{}}
}

// founding is the first entry of every stream. Few waiters and messages, so that limits are met.
func founding() *fsm.Command {
	return fsm.NewCommand(nil, &fsm.FoundCluster{Cluster: testCluster, Level: 1, Classes: fsm.DefaultClasses(), Policies: []*fsm.PolicyValue{
		{Name: fsm.PolicyHistory, Value: 4}, {Name: fsm.PolicyMaxData, Value: 64}, {Name: fsm.PolicyMaxMessages, Value: 5},
		{Name: fsm.PolicyMaxWaiters, Value: 3}, {Name: fsm.PolicyMaxServers, Value: 5000}, {Name: fsm.PolicyMaxMessageBytes, Value: 48},
		{Name: fsm.PolicyRemovedDays, Value: 0}, {Name: fsm.PolicyUnclaimedMessageDays, Value: 1},
	}})
}

// entry is the commands of the next entry; time passes before it.
func (s *stream) entry() []*fsm.Command {
	if !s.still {
		s.stamp += int64(s.roll(4)-1) * 50 // a leader's clock may also go back
		if s.roll(40) == 0 {
			s.term++
		}
	}
	commands := []*fsm.Command{}
	for n := 1 + s.roll(4); n > 0; n-- {
		commands = append(commands, s.command())
	}
	return commands
}

func (s *stream) command() *fsm.Command {
	if len(s.clients) == 0 || s.roll(25) == 0 {
		return fsm.NewCommand(nil, s.register())
	}
	if s.roll(8) == 0 {
		return fsm.NewCommand(nil, s.leaders())
	}
	c := s.sender()
	switch roll := s.roll(40); {
	case roll < 5 && len(c.sent) > 0:
		again := c.sent[s.roll(len(c.sent))]
		if s.roll(8) == 0 { // a process of another registration has come to the same number
			again = proto.CloneOf(again)
			again.Request.Registration, again.Request.Hash = again.Request.Registration+uint64(s.roll(2)), again.Request.Hash+uint64(s.roll(2))
		}
		return again
	case roll == 5 || c.put == 1:
		if s.roll(3) == 0 {
			return fsm.NewCommand(s.request(c), &fsm.PutPart{Part: uint32(s.roll(18)), Bytes: value(s.roll(6))})
		}
		part := &fsm.PutPart{Part: c.put, Bytes: value(s.roll(4))}
		c.put++
		c.parts = append(c.parts, part.Bytes...)
		return fsm.NewCommand(&fsm.Request{Incarnation: uint64(c.id), Number: c.last + 1, Registration: c.registration + uint64(max(0, s.roll(20)-18))}, part)
	case roll == 6 && len(c.sent) > 0:
		old := c.sent[s.roll(len(c.sent))].Request
		return fsm.NewCommand(old, &fsm.Settle{})
	case roll == 7 && len(c.sent) > 0 && s.roll(4) == 0:
		old := c.sent[s.roll(len(c.sent))]
		again := fsm.NewCommand(&fsm.Request{Incarnation: uint64(c.id), Number: old.Request.Number, Settled: old.Request.Settled, Hash: 1, Registration: c.registration}, &fsm.EndServer{})
		again.Act = old.Act
		return again
	}
	act := s.act(c)
	command := fsm.NewCommand(s.request(c), act)
	if command.Request.Number == c.last+1 {
		c.last, c.parts, c.put = c.last+1, nil, 0
	}
	if c.sent = append(c.sent, command); len(c.sent) > 12 {
		c.sent = c.sent[1:]
	}
	return command
}

// sender is mostly one that lives.
func (s *stream) sender() *sender {
	if s.roll(12) != 0 {
		for range 3 {
			if c := s.clients[s.roll(len(s.clients))]; !c.gone {
				return c
			}
		}
		for _, c := range s.clients {
			if !c.gone {
				return c
			}
		}
	}
	return s.clients[s.roll(len(s.clients))]
}

func (s *stream) request(c *sender) *fsm.Request {
	s.count++
	q := &fsm.Request{Incarnation: uint64(c.id), Number: c.last + 1, Settled: c.settled, Hash: s.count << 8, Registration: c.registration}
	switch s.roll(150) {
	case 0:
		q.Number = uint64(s.roll(int(c.last) + 2)) // used before, or skipped, or 0
	case 1:
		q.Number += fsm.Window + uint64(s.roll(2))
	case 2, 3, 4, 5, 6, 7, 20, 21, 22, 23, 24, 25, 26, 27:
		c.settled += uint64(s.roll(int(c.last-min(c.last, c.settled)) + 1))
		q.Settled = c.settled
	case 8:
		q.Incarnation = uint64(s.roll(3)) // no incarnation has this number
	case 9:
		q.Settled = q.Number - uint64(s.roll(2))
	case 10, 11:
		q.Registration++
	}
	return q
}

// streamKeys are bounds of compared ranges.
var streamKeys = [][]byte{nil, {'d'}, {'m', 'x'}}

var streamAlarms = []string{"ROLLED_BACK", "DISK_LOW"}

func value(n int) []byte { return []byte(fmt.Sprintf("%0*d", n*4, n)) }

func (s *stream) profile() fsm.ProfileName { return streamProfiles[s.roll(len(streamProfiles))] }

// token is mostly the one that its owner believes in, sometimes another that was known.
func (s *stream) token(p fsm.ProfileName) uint64 {
	if known := s.known[p]; len(known) > 0 && s.roll(5) == 0 {
		return uint64(known[s.roll(len(known))])
	}
	return uint64(s.believed[p].token)
}

func (s *stream) revision(p fsm.ProfileName) uint64 {
	if s.roll(6) == 0 {
		return uint64(s.roll(int(s.believed[p].revision) + 3))
	}
	return s.believed[p].revision
}

// cause is one for the end of a session: mostly none, and sometimes none that an owner may state.
func (s *stream) cause() uint32 {
	if s.roll(3) > 0 {
		return 0
	}
	return []uint32{1, 5, 8, 9, 10, 11, 12, 14, 15, 1<<8 + 8}[s.roll(10)]
}

func (s *stream) act(c *sender) any {
	p, owns := s.profile(), false
	if s.roll(5) != 0 { // what it owns, if it owns something
		for _, own := range streamProfiles {
			if s.believed[own].owner == c.id && (!owns || s.roll(2) == 0) {
				p, owns = own, true
			}
		}
	}
	switch roll := s.roll(40); {
	case roll < 6 || !owns && roll < 18:
		return &fsm.StartSession{Store: p.Store, Key: p.Key, WhenOwned: uint32(s.roll(4))}
	case roll < 22:
		save := &fsm.Save{Store: p.Store, Key: p.Key, Token: s.token(p), Base: s.revision(p), Data: s.data(c), Tags: s.tags(), End: s.roll(4) == 0}
		if s.roll(3) == 0 {
			save.ClearMessages = s.marks()
		}
		if save.End || s.roll(20) == 0 {
			save.Cause = s.cause()
		}
		return save
	case roll < 24:
		return &fsm.Release{Store: p.Store, Key: p.Key, Token: s.token(p), Cause: s.cause(), Panics: s.panics()}
	case roll < 25:
		return s.reclaim()
	case roll < 27:
		return &fsm.Cancel{Store: p.Store, Key: p.Key, Ticket: s.token(p)}
	case roll < 31:
		if s.roll(4) == 0 {
			return &fsm.ReleaseByOperator{Store: p.Store, Key: p.Key, Token: s.token(p), Force: s.roll(2) == 0, Reason: string(value(s.roll(3)))}
		}
		return &fsm.Send{Store: p.Store, Key: p.Key, Body: value(s.roll(3)), Kind: s.kind()}
	case roll < 32 && s.roll(3) == 0:
		if s.roll(2) == 0 {
			return &fsm.ClearAlarm{Code: streamAlarms[s.roll(2)]}
		}
		return &fsm.ExpectNode{Address: []string{"n4:7401", "n5:7401", "nowhere"}[s.roll(3)]}
	case roll < 33:
		return &fsm.ClearMessage{Store: p.Store, Key: p.Key, Id: uint64(s.roll(8))}
	case roll < 35:
		return &fsm.Set{Store: p.Store, Key: p.Key, Expected: s.revision(p), AnyRevision: s.roll(4) == 0, Data: s.data(c), Tags: s.tags(), Force: s.roll(2) == 0}
	case roll < 36:
		return &fsm.Remove{
			Store: p.Store, Key: p.Key, Expected: s.revision(p), AnyRevision: s.roll(4) == 0, Force: s.roll(2) == 0, DropMessages: s.roll(2) == 0,
		}
	case roll < 38:
		store := []string{"players", "guilds", "", "a/b"}[s.roll(4)]
		return &fsm.SetPolicy{Store: store, Name: streamPolicies[s.roll(len(streamPolicies))], Value: int64(1 + s.roll(16)), Inherit: s.roll(3) == 0}
	case roll == 39 && s.roll(2) == 0:
		return s.class()
	case roll < 39 && s.roll(4) == 0:
		return &fsm.EndServer{}
	}
	return &fsm.Send{Store: "players", Key: []string{"", "p", "\x01", "z"}[s.roll(4)], Body: []byte("x")}
}

func (s *stream) data(c *sender) *fsm.Data {
	if s.roll(30) == 0 {
		return nil
	}
	body := value(s.roll(9))
	if c.put > 0 && s.roll(6) != 0 {
		hash := sha256.Sum256(c.parts)
		return &fsm.Data{Codec: 1, Hash: hash[:], Size: uint64(len(c.parts)), Parts: c.put}
	}
	hash := sha256.Sum256(body)
	d := &fsm.Data{Codec: uint32(s.roll(3)), Hash: hash[:], Size: uint64(len(body)), Whole: body}
	switch s.roll(25) {
	case 0:
		d.Whole = value(s.roll(9))
	case 1:
		d.Size++
	case 2:
		d.Hash = d.Hash[:s.roll(32)]
	case 3:
		d.Codec = 255 + uint32(s.roll(2))
	case 4: // whose parts were never put
		d.Whole, d.Parts = nil, uint32(1+s.roll(2))
	}
	return d
}

// reclaim claims what dead ones are believed to have owned, and now and then something else.
func (s *stream) reclaim() *fsm.Reclaim {
	c := &fsm.Reclaim{}
	for _, p := range streamProfiles {
		if s.roll(3) != 0 {
			c.Claims = append(c.Claims, &fsm.Claim{Store: p.Store, Key: p.Key, Token: s.token(p), Revision: s.revision(p)})
		}
	}
	if s.roll(20) == 0 {
		c.Claims = append(c.Claims, &fsm.Claim{Store: "a/b", Key: "p"})
	}
	return c
}

func (s *stream) tags() *fsm.Tags {
	if s.roll(4) != 0 {
		return nil
	}
	tags := map[string]string{}
	for n := s.roll(3); n > 0; n-- {
		tags[string(value(s.roll(4)))] = string(value(s.roll(3)))
	}
	if s.roll(20) == 0 {
		tags["long"] = string(make([]byte, fsm.MaxTagBytes))
	}
	return &fsm.Tags{Tags: tags}
}

func (s *stream) marks() (ids []uint64) {
	for n := s.roll(3); n > 0; n-- {
		ids = append(ids, uint64(1+s.roll(10)))
	}
	return ids
}

// panics is mostly none, and often of the same few messages, so that some are set aside.
func (s *stream) panics() (list []*fsm.MessagePanic) {
	if s.roll(3) == 0 {
		return nil
	}
	for n := s.roll(5); n > 0; n-- {
		list = append(list, &fsm.MessagePanic{Message: uint64(1 + s.roll(5)), Text: string(value(s.roll(3)))})
	}
	switch s.roll(40) {
	case 0:
		list = append(list, &fsm.MessagePanic{Message: 1, Text: string(make([]byte, fsm.MaxPanicText+1))})
	case 1:
		for len(list) <= fsm.MaxCounted {
			list = append(list, &fsm.MessagePanic{Message: 1})
		}
	}
	return list
}

func (s *stream) kind() string {
	if s.roll(20) == 0 {
		return []string{"\x01", string(bytes.Repeat([]byte("k"), fsm.MaxKind+1))}[s.roll(2)]
	}
	return []string{"", "gift", "mail"}[s.roll(3)]
}

// class is one that holds together, mostly.
func (s *stream) class() *fsm.SetTimingClass {
	c := &fsm.SetTimingClass{Name: []string{"slow", "default", "a/b", "slow"}[s.roll(4)], RenewMs: 50 + int64(s.roll(100)), DoubtMs: 2000, EvidenceMs: 2901, LeaseMs: 2902, HandOffMs: 2001}
	switch s.roll(8) {
	case 0:
		c.EvidenceMs--
	case 1:
		c.LeaseMs = c.EvidenceMs
	case 2:
		c.HandOffMs = c.DoubtMs
	case 3:
		c.RenewMs = int64(s.roll(1001)) - 1
	}
	return c
}

func (s *stream) register() *fsm.Register {
	nonce := make([]byte, 16)
	binary.BigEndian.PutUint64(nonce, uint64(s.roll(12)))
	c := &fsm.Register{Name: string(rune('a' + s.roll(5))), Kind: uint32(s.roll(2)), Nonce: nonce, Where: "zone", Ping: "10.0.0.1:1"}
	if s.roll(3) == 0 {
		c.TimingClass = []string{"default", "slow", "none", "s\x00"}[s.roll(4)]
	}
	switch s.roll(20) {
	case 0:
		c.Cluster = []byte("another")
	case 1:
		c.Cluster, c.Epoch = testCluster, uint64(s.roll(3))
	case 2:
		c.Nonce = c.Nonce[:s.roll(16)]
	case 3:
		c.Name = ""
	case 4, 5, 6, 7:
		if len(s.clients) == 0 {
			break
		}
		old := s.sender()
		c.Cluster, c.Replaces, c.ReplacedRegistration = testCluster, uint64(old.id), old.registration
		switch s.roll(6) {
		case 0:
			c.Cluster = nil
		case 1:
			c.ReplacedRegistration++
		case 2:
			c.ReplacedRegistration = 0
		}
	}
	return c
}

// leaders is what the leader does by itself.
func (s *stream) leaders() any {
	p, c := s.profile(), s.sender()
	term := s.term
	if s.roll(12) == 0 {
		term++
	}
	switch s.roll(10) {
	case 0:
		verdicts := s.judged
		s.judged = nil
		return &fsm.ExpireServers{Term: term, Expiries: verdicts}
	case 2, 3, 4:
		return &fsm.GrantToWaiters{Incarnation: uint64(c.id), Limit: uint32(s.roll(4))}
	case 5:
		return &fsm.ForgetEnded{Before: s.minute - uint64(s.roll(4)), NothingLeftBefore: s.minute - uint64(s.roll(3)), Limit: uint32(s.roll(3))}
	case 9:
		s.minute++
		return &fsm.CountMinute{}
	case 6, 7:
		return &fsm.Revoke{Store: p.Store, Key: p.Key, Token: s.token(p), Waited: s.roll(2) == 0}
	case 8:
		return &fsm.Lapse{Term: term, Store: p.Store, Key: p.Key, Token: s.token(p)}
	}
	switch s.roll(10) {
	case 7, 8:
		return &fsm.DropDue{Limit: uint32(s.roll(3))}
	case 5:
		from := s.compared
		if s.roll(4) == 0 {
			from = streamKeys[s.roll(3)]
		}
		return &fsm.CompareRange{From: from, To: streamKeys[s.roll(3)]}
	case 6:
		return &fsm.SuspectLeader{Term: term}
	case 4:
		return &fsm.RaiseAlarm{Code: streamAlarms[s.roll(2)], Text: string(value(s.roll(2)))}
	case 0:
		return &fsm.SetNode{Id: string(value(s.roll(2))), Address: "10.0.0.1:7401", Client: string(value(s.roll(2))), ServerGossip: string(value(s.roll(2)))}
	case 1:
		return &fsm.RemoveNode{Id: string(value(s.roll(2)))}
	case 2:
		return &fsm.FoundCluster{Cluster: testCluster, Level: 1}
	case 3:
		return &fsm.RaiseLevel{Level: uint32(s.roll(testLevel + 1))}
	}
	return &fsm.OpenTerm{Node: "n"}
}

// learn passes results and events back to their senders.
func (s *stream) learn(commands []*fsm.Command, out fsm.Applied, lastOf func(lock.Incarnation) lock.Token) {
	for i, r := range out.Results {
		if c := commands[i].GetCompareRange(); c != nil && r.Code == fsm.OK {
			s.compared = c.To
		}
		if reg := commands[i].GetRegister(); reg != nil && r.Code == fsm.OK && !r.Repeated {
			s.clients = append(s.clients, &sender{id: lock.Incarnation(r.Token), registration: binary.BigEndian.Uint64(reg.Nonce)})
		}
		for _, claim := range commands[i].GetReclaim().GetClaims() {
			p := fsm.ProfileName{Store: claim.Store, Key: claim.Key}
			if b := s.believed[p]; uint64(b.token) == claim.Token && b.revision == claim.Revision && s.gone(b.owner) {
				b.owner, b.token = lock.Incarnation(commands[i].Request.Incarnation), r.Token
				s.believed[p] = b
				s.remember(p, r.Token)
			}
		}
		if p, ok := profileOf(commands[i]); ok {
			b := s.believed[p]
			b.revision = max(b.revision, r.Revision)
			if r.Code == fsm.Fenced && uint64(b.owner) == commands[i].GetRequest().GetIncarnation() {
				b.owner = 0 // it knows that it is over
			}
			s.believed[p] = b
			if r.Token != 0 {
				s.remember(p, r.Token)
			}
		}
	}
	for _, e := range out.Events {
		for _, c := range s.clients {
			c.gone = c.gone || e.Kind == fsm.ServerEnded && e.Server == c.id
		}
		p := fsm.ProfileName{Store: e.Store, Key: e.Key}
		if e.Kind == fsm.Granted {
			b := s.believed[p]
			b.owner, b.token = e.Server, e.Token
			s.believed[p] = b
			s.remember(p, e.Ticket)
			s.remember(p, e.Token)
		}
	}
	if len(s.clients) > 0 && s.roll(5) == 0 {
		id := s.sender().id
		s.judged = append(s.judged, &fsm.Expiry{Incarnation: uint64(id), Last: uint64(lastOf(id)), Ground: uint32(lock.Silence)})
	}
}

func (s *stream) gone(id lock.Incarnation) bool {
	for _, c := range s.clients {
		if c.id == id {
			return c.gone
		}
	}
	return false
}

func (s *stream) remember(p fsm.ProfileName, token lock.Token) {
	if s.known[p] = append(s.known[p], token); len(s.known[p]) > 6 {
		s.known[p] = s.known[p][1:]
	}
}

func profileOf(c *fsm.Command) (fsm.ProfileName, bool) {
	type named interface {
		GetStore() string
		GetKey() string
	}
	var n named
	switch {
	case c.GetStartSession() != nil:
		n = c.GetStartSession()
	case c.GetSave() != nil:
		n = c.GetSave()
	case c.GetRelease() != nil:
		n = c.GetRelease()
	case c.GetReleaseByOperator() != nil:
		n = c.GetReleaseByOperator()
	case c.GetSet() != nil:
		n = c.GetSet()
	case c.GetRemove() != nil:
		n = c.GetRemove()
	default:
		return fsm.ProfileName{}, false
	}
	return fsm.ProfileName{Store: n.GetStore(), Key: n.GetKey()}, true
}
