package fsm_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/datadriven"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// command is one line of a story as a command.
func (s *story) command(line string) *fsm.Command {
	s.t.Helper()
	act, list, err := datadriven.ParseLine(line)
	must(s.t, err)
	args := argsOf(list)
	if c := s.ownCommand(act, args); c != nil {
		return c
	}
	a := s.actor(args.who())
	if act == "retry" || act == "clone" {
		return a.again(args.number("number", a.last), act == "clone", args.has("stranger"))
	}
	q := &fsm.Request{Incarnation: uint64(a.id), Number: args.number("number", a.last+1), Registration: a.registration}
	if args.has("stranger") {
		q.Registration++
		q.Hash = q.Number * 1000
		if act == "part" {
			return fsm.NewCommand(q, &fsm.PutPart{Bytes: []byte("x")})
		}
		return fsm.NewCommand(q, s.act(act, args))
	}
	a.settled = args.number("settled", a.settled)
	q.Settled = a.settled
	q.Hash = q.Number * 1000
	if act == "part" {
		return fsm.NewCommand(q, &fsm.PutPart{Part: uint32(args.number("part", 0)), Bytes: []byte(args.text("bytes", ""))})
	}
	if act != "settle" {
		a.last = max(a.last, q.Number)
	}
	c := fsm.NewCommand(q, s.act(act, args))
	if _, ok := a.sent[q.Number]; !ok && act != "settle" {
		a.sent[q.Number] = c
	}
	return c
}

// again is the same request once more; as a clone it has the same number and says something else. A stranger does the same
// under its own registration.
func (a *actor) again(number uint64, clone, stranger bool) *fsm.Command {
	again := proto.CloneOf(a.sent[number])
	if clone {
		again.Request.Hash++
	}
	if stranger {
		again.Request.Registration++
	}
	return again
}

// act is what a game server asks.
func (s *story) act(act string, args storyArgs) any {
	store, key := args.profile()
	token := func(name string) uint64 {
		if text := args.text(name, ""); text != "" {
			return s.token(text)
		}
		return 0
	}
	switch act {
	case "end":
		return &fsm.EndServer{}
	case "settle":
		return &fsm.Settle{}
	case "start":
		when := map[string]lock.WhenOwned{"wait": lock.Wait, "refuse": lock.Refuse, "steal": lock.Steal}[args.text("when", "wait")]
		return &fsm.StartSession{Store: store, Key: key, WhenOwned: uint32(when)}
	case "cancel":
		return &fsm.Cancel{Store: store, Key: key, Ticket: token("ticket")}
	case "save":
		return &fsm.Save{
			Store: store, Key: key, Token: token("token"), Base: args.number("base", 0), Data: dataOf(args), Tags: tagsOf(args),
			ClearMessages: args.numbers("clear"), End: args.has("end"), Cause: uint32(args.number("cause", 0)),
		}
	case "reclaim":
		return &fsm.Reclaim{Claims: []*fsm.Claim{{Store: store, Key: key, Token: token("token"), Revision: args.number("revision", 0)}}}
	case "release":
		return &fsm.Release{Store: store, Key: key, Token: token("token"), Cause: uint32(args.number("cause", 0)), Panics: panicsOf(args)}
	case "send":
		return &fsm.Send{Store: store, Key: key, Body: []byte(args.text("body", "")), Kind: args.text("kind", "")}
	case "clear":
		return &fsm.ClearMessage{Store: store, Key: key, Id: args.number("id", 0)}
	case "set":
		return &fsm.Set{Store: store, Key: key, Expected: args.number("expected", 0), AnyRevision: args.has("any"), Data: dataOf(args), Tags: tagsOf(args), Force: args.has("force")}
	case "remove":
		return &fsm.Remove{
			Store: store, Key: key, Expected: args.number("expected", 0), AnyRevision: args.has("any"), Force: args.has("force"), DropMessages: args.has("drop"),
		}
	case "release-by-operator":
		return &fsm.ReleaseByOperator{Store: store, Key: key, Token: token("token"), Force: args.has("force"), Reason: args.text("reason", "")}
	case "class":
		return &fsm.SetTimingClass{
			Name: args.text("name", ""), RenewMs: int64(args.number("renew", 1000)), DoubtMs: int64(args.number("doubt", 3000)),
			EvidenceMs: int64(args.number("evidence", 4500)), LeaseMs: int64(args.number("lease", 10_000)), HandOffMs: int64(args.number("hand-off", 10_000)),
		}
	case "clear-alarm":
		return &fsm.ClearAlarm{Code: args.text("code", "")}
	case "expect-node":
		return &fsm.ExpectNode{Address: args.text("address", "")}
	case "policy":
		return &fsm.SetPolicy{
			Store: args.text("store", ""), Name: args.text("name", ""), Value: int64(args.number("value", 0)), Inherit: args.has("inherit"),
		}
	}
	s.t.Fatalf("no act is called %q", act)
	return nil
}

// ownCommand is what registers, or what the cluster does by itself; nil if act is neither.
func (s *story) ownCommand(act string, args storyArgs) *fsm.Command {
	store, key := args.profile()
	switch act {
	case "register":
		return fsm.NewCommand(nil, s.register(args))
	case "open":
		return fsm.NewCommand(nil, &fsm.OpenTerm{Node: args.who()})
	case "expire":
		c := &fsm.ExpireServers{Term: args.number("term", s.term)}
		for _, who := range args.words {
			if s.judged[who] == 0 {
				s.judge(who)
			}
			c.Expiries = append(c.Expiries, &fsm.Expiry{
				Incarnation: uint64(s.actor(who).id), Last: uint64(s.judged[who]), Ground: uint32(lock.Silence),
			})
			delete(s.judged, who)
		}
		return fsm.NewCommand(nil, c)
	case "walk":
		return fsm.NewCommand(nil, &fsm.GrantToWaiters{Incarnation: uint64(s.actor(args.who()).id), Limit: uint32(args.number("limit", 100))})
	case "revoke":
		return fsm.NewCommand(nil, &fsm.Revoke{Store: store, Key: key, Token: s.token(args.text("token", "0")), Waited: args.has("waited")})
	case "lapse":
		return fsm.NewCommand(nil, &fsm.Lapse{Term: args.number("term", s.term), Store: store, Key: key, Token: s.token(args.text("token", "0"))})
	case "forget":
		return fsm.NewCommand(nil, &fsm.ForgetEnded{Before: args.number("before", 0), NothingLeftBefore: args.number("nothing", 0), Limit: uint32(args.number("limit", 100))})
	case "minute":
		return fsm.NewCommand(nil, &fsm.CountMinute{})
	case "found":
		return fsm.NewCommand(nil, &fsm.FoundCluster{Cluster: testCluster, Level: 1})
	case "node":
		return fsm.NewCommand(nil, &fsm.SetNode{Id: args.who(), Address: args.text("address", ""), Client: args.text("client", "")})
	case "remove-node":
		return fsm.NewCommand(nil, &fsm.RemoveNode{Id: args.who()})
	case "raise-alarm":
		return fsm.NewCommand(nil, &fsm.RaiseAlarm{Code: args.who(), Text: args.text("text", "")})
	case "suspect":
		return fsm.NewCommand(nil, &fsm.SuspectLeader{Term: args.number("term", s.term)})
	case "raise":
		return fsm.NewCommand(nil, &fsm.RaiseLevel{Level: uint32(args.number("level", 1))})
	}
	return nil
}

func (s *story) register(args storyArgs) *fsm.Register {
	kind := uint32(0)
	if args.has("tool") {
		kind = 1
	}
	nonce := sha256.Sum256([]byte(args.text("nonce", fmt.Sprintf("%d", s.index))))
	s.registered[args.text("as", args.who())] = lock.Registration(nonce[:])
	c := &fsm.Register{
		Name: args.text("name", args.who()), Kind: kind, Nonce: nonce[:16], Where: args.text("where", ""), Ping: args.text("ping", ""),
		Epoch: args.number("epoch", 0), TimingClass: args.text("class", ""),
	}
	if args.has("other-cluster") {
		c.Cluster = bytes.Repeat([]byte{8}, 16)
	}
	if old := args.text("replaces", ""); old != "" {
		c.Replaces, c.ReplacedRegistration = uint64(s.actor(old).id), s.registered[old]
		if !args.has("no-cluster") {
			c.Cluster = testCluster
		}
		if args.has("other-nonce") {
			c.ReplacedRegistration++
		}
	}
	return c
}

// dataOf is the data a line brings: data=x whole, or parts=n of size=n whose value is value=x.
func dataOf(args storyArgs) *fsm.Data {
	if parts := args.number("parts", 0); parts > 0 {
		d := data(args.text("value", ""))
		d.Whole, d.Parts = nil, uint32(parts)
		d.Size = args.number("size", d.Size)
		return d
	}
	value := args.text("data", "")
	if n := args.number("bytes", 0); n > 0 {
		value = strings.Repeat("x", int(n))
	}
	d := data(value)
	if args.has("damaged") {
		d.Whole = append(bytes.Clone(d.Whole[1:]), '!')
	}
	return d
}

// panicsOf reads panics=(id:text, ...).
func panicsOf(args storyArgs) (list []*fsm.MessagePanic) {
	for _, text := range args.values["panics"] {
		id, text, _ := strings.Cut(text, ":")
		n, _ := strconv.ParseUint(id, 10, 64)
		list = append(list, &fsm.MessagePanic{Message: n, Text: text})
	}
	return list
}

// tagsOf reads tags=(name:value, ...); absent is nil, and tags=() none.
func tagsOf(args storyArgs) *fsm.Tags {
	list, ok := args.values["tags"]
	if !ok {
		return nil
	}
	tags := map[string]string{}
	for _, text := range list {
		if name, value, ok := strings.Cut(text, ":"); ok {
			tags[name] = value
		}
	}
	return &fsm.Tags{Tags: tags}
}
