package fsm_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// The same commands packed into entries differently: the owners, the order of the queues, every revision and every
// message are the same, and only tokens are others. A token is told by which command of the log made it.
func TestPackingChangesOnlyTokens(t *testing.T) {
	roll, seed := seeded(t)
	for range 8 {
		one := uint64(roll(1 << 30))
		roll := diceOf(one)
		s := newStream(roll)
		s.still = true // the stamp is the entry's, so it must not tell packings apart
		first := record(t, s, 200)
		var commands []*fsm.Command
		var packing []int
		for _, entry := range first.commands {
			commands = append(commands, entry...)
			packing = append(packing, len(entry))
		}
		want := pack(t, commands, packing, packing)
		for _, most := range []int{1, 3, 40} {
			var other []int
			for left := len(commands); left > 0; {
				n := min(left, 1+roll(most))
				other = append(other, n)
				left -= n
			}
			got := pack(t, commands, packing, other)
			if len(got) != len(want) {
				t.Fatalf("seed %d of %d: %d facts, at first %d", one, seed, len(got), len(want))
			}
			for name, fact := range want {
				if !reflect.DeepEqual(got[name], fact) {
					t.Fatalf("seed %d of %d: packed differently, %s is\n%+v, at first\n%+v", one, seed, name, got[name], fact)
				}
			}
		}
	}
}

// numbering says which command of a log made a token: from 1.
func numbering(packing []int) (tokens []lock.Token, place map[lock.Token]uint64) {
	place = map[lock.Token]uint64{0: 0}
	for i, n := range packing {
		for at := range n {
			token := lock.TokenAt(uint64(i+1), at)
			tokens = append(tokens, token)
			place[token] = uint64(len(tokens))
		}
	}
	return tokens, place
}

// pack applies the commands of a log that was made under one packing under another, and tells what is so at the end.
func pack(t *testing.T, commands []*fsm.Command, made, packing []int) map[string]any {
	t.Helper()
	_, place := numbering(made)
	tokens, now := numbering(packing)
	renumber := func(token *uint64) {
		if n := place[lock.Token(*token)]; n > 0 {
			*token = uint64(tokens[n-1])
		}
	}
	m := open(t, vfs.NewMem())
	defer func() { must(t, m.Close()) }()
	facts := map[string]any{}
	at := 0
	for i, n := range packing {
		var entry []*fsm.Command
		for _, c := range commands[at : at+n] {
			entry = append(entry, renumbered(c, renumber))
		}
		data, err := fsm.Encode(fsm.Level, testCluster, 1000, entry)
		must(t, err)
		out := read(m.Apply([]fsm.Log{{Index: uint64(i + 1), Term: 1, Data: data}}))(t)
		for j, r := range out[0].Results {
			r.Token, r.Owner, r.Index = lock.Token(now[r.Token]), lock.Incarnation(now[lock.Token(r.Owner)]), 0
			facts[fmt.Sprint("result ", at+j)] = r
		}
		at += n
	}
	checkTables(t, m)
	look(t, m, func(v *fsm.View) {
		for _, p := range read(v.Profiles())(t) {
			name := p.Store + "/" + p.Key
			g := read(v.Grant(p.Store, p.Key))(t)
			grant := []uint64{now[g.Token], now[g.Ticket], now[lock.Token(g.Owner)], g.Loads}
			for _, w := range g.Waiters {
				grant = append(grant, now[lock.Token(w.Server)], now[w.Ticket])
			}
			facts["grant of "+name] = grant
			facts["wanted "+name] = []any{g.Revoked, g.Cause, g.Asked, g.Orphan, now[lock.Token(g.By.Incarnation)], g.By.Name}
			record, _, err := v.Profile(p.Store, p.Key)
			must(t, err)
			record.Token = lock.Token(now[record.Token])
			facts["record of "+name] = record
			for _, h := range read(v.History(p.Store, p.Key))(t) {
				data, _, err := v.Data(p.Store, p.Key, h.Revision)
				must(t, err)
				h.Token = lock.Token(now[h.Token])
				facts[fmt.Sprint("revision of "+name, " ", h.Revision)] = h
				facts[fmt.Sprint("data of "+name, " ", h.Revision)] = string(data)
			}
			facts["messages of "+name] = read(v.AllMessages(p.Store, p.Key, 0, 0))(t)
		}
		audits, _, err := v.Audit(fsm.AuditFilter{}, 2*fsm.MaxAudits)
		must(t, err)
		for _, a := range audits {
			a.Token, a.By.Incarnation = lock.Token(now[a.Token]), lock.Incarnation(now[lock.Token(a.By.Incarnation)])
			a.From.Incarnation = lock.Incarnation(now[lock.Token(a.From.Incarnation)])
			facts[fmt.Sprint("audit ", a.Number)] = a
		}
		for _, s := range read(v.Servers())(t) {
			s.Incarnation, s.Last, s.Held = lock.Incarnation(now[lock.Token(s.Incarnation)]), lock.Token(now[s.Last]), 0
			s.Successor = lock.Incarnation(now[lock.Token(s.Successor)])
			facts[fmt.Sprint("game server ", s.Incarnation)] = s
		}
	})
	return facts
}

// renumbered is a command whose tokens are those of another packing.
func renumbered(c *fsm.Command, token func(*uint64)) *fsm.Command {
	c = proto.Clone(c).(*fsm.Command)
	if c.Request != nil {
		token(&c.Request.Incarnation)
	}
	switch {
	case c.GetRegister() != nil:
		token(&c.GetRegister().Replaces)
	case c.GetSave() != nil:
		token(&c.GetSave().Token)
	case c.GetRelease() != nil:
		token(&c.GetRelease().Token)
	case c.GetCancel() != nil:
		token(&c.GetCancel().Ticket)
	case c.GetRevoke() != nil:
		token(&c.GetRevoke().Token)
	case c.GetLapse() != nil:
		token(&c.GetLapse().Token)
	case c.GetReleaseByOperator() != nil:
		token(&c.GetReleaseByOperator().Token)
	case c.GetGrantToWaiters() != nil:
		token(&c.GetGrantToWaiters().Incarnation)
	}
	for _, claim := range c.GetReclaim().GetClaims() {
		token(&claim.Token)
	}
	for _, v := range c.GetExpireServers().GetExpiries() {
		token(&v.Incarnation)
		token(&v.Last)
	}
	return c
}
