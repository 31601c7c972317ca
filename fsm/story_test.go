package fsm_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Stories are told in testdata: one command of the log a line, and under it what became of it. Run the test with
// -rewrite to write down what happens now, and read the difference before you keep it.
//
//	<act> <who> <store>/<key> <name>=<value> ...
//
// Who is a name that register gave. Tokens are called $1, $2, ... in the order in which they first show. Every command
// has the next number of its game server unless it says number=N; settled=N moves its mark. With "stranger" it comes from
// a process that registered elsewhere, and whose number of an incarnation only happens to be the same. "retry a" sends the last
// request of a again, "retry a number=N" that one. "entry" packs the lines below it into one entry. Every story is
// founded in entry 1 with the default policies.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		s := newStory(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			out := s.directive(d)
			checkTables(t, s.m)
			return out
		})
	})
}

type story struct {
	t                  testing.TB
	m                  *fsm.Machine
	index, term, stamp uint64
	actors             map[string]*actor
	registered         map[string]uint64 // by name, the registration that it tried to register under
	tokens             map[string]lock.Token
	called             map[lock.Token]string
	judged             map[string]lock.Token // by name, the last command that a pending expiry names
}

// actor is a game server of a story, with its side of the numbers.
type actor struct {
	name          string
	id            lock.Incarnation
	registration  uint64
	last, settled uint64
	sent          map[uint64]*fsm.Command
}

func newStory(t *testing.T) *story {
	s := &story{
		t: t, m: open(t, vfs.NewMem()), term: 1, stamp: 1000,
		actors: map[string]*actor{}, registered: map[string]uint64{}, tokens: map[string]lock.Token{}, called: map[lock.Token]string{}, judged: map[string]lock.Token{},
	}
	t.Cleanup(func() { _ = s.m.Close() })
	s.apply([]*fsm.Command{fsm.NewCommand(nil, &fsm.FoundCluster{Cluster: testCluster, Level: 1, Policies: fsm.DefaultPolicies(), Classes: fsm.DefaultClasses()})})
	return s
}

func (s *story) apply(commands []*fsm.Command) fsm.Applied {
	s.t.Helper()
	s.index++
	data, err := fsm.Encode(fsm.Level, testCluster, int64(s.stamp), commands)
	must(s.t, err)
	out, err := s.m.Apply([]fsm.Log{{Index: s.index, Term: s.term, Data: data}})
	must(s.t, err)
	return out[0]
}

// directive carries out one block of a story.
func (s *story) directive(d *datadriven.TestData) string {
	args := argsOf(d.CmdArgs)
	switch d.Cmd {
	case "term":
		s.term = args.number("", s.term+1)
		return fmt.Sprintf("term %d", s.term)
	case "pass":
		s.stamp += args.number("ms", 0)
		return fmt.Sprintf("it is %d", s.stamp)
	case "judge":
		return s.judge(args.who())
	case "tables":
		return s.tables(args)
	case "answers":
		return s.answers(s.actor(args.who()))
	case "servers":
		return s.servers()
	case "audit":
		return s.audit(fsm.AuditFilter{
			Ring:  map[string]fsm.AuditRing{"operators": fsm.OperatorsRing, "servers": fsm.GameServersRing}[args.text("by", "")],
			Store: args.text("store", ""), Key: args.text("key", ""), SinceMS: int64(args.number("since", 0)), Before: args.number("before", 0),
		}, int(args.number("limit", 100)))
	case "classes":
		return s.classes()
	case "policies":
		return s.policies(args.text("store", ""))
	case "repeat":
		return s.repeat(args.number("times", 1), d.Input)
	}
	lines := []string{strings.Join(strings.Fields(d.Cmd+" "+argLine(d.CmdArgs)), " ")}
	if d.Cmd == "entry" {
		lines = strings.Split(strings.TrimSpace(d.Input), "\n")
	}
	var commands []*fsm.Command
	for _, line := range lines {
		commands = append(commands, s.command(line))
	}
	return s.report(lines, s.apply(commands))
}

// repeat sends one line many times, each in an entry of its own, and tells what came first and last.
func (s *story) repeat(times uint64, line string) string {
	first, last := "", ""
	for i := range times {
		line := strings.TrimSpace(line)
		out := s.report([]string{line}, s.apply([]*fsm.Command{s.command(line)}))
		if i == 0 {
			first = out
		}
		last = out
	}
	return fmt.Sprintf("first: %slast: %s", first, last)
}

func (s *story) judge(who string) string {
	look(s.t, s.m, func(v *fsm.View) {
		server, _, err := v.Server(s.actor(who).id)
		must(s.t, err)
		s.judged[who] = server.Last
	})
	return "noted"
}

func (s *story) actor(name string) *actor {
	a, ok := s.actors[name]
	if !ok {
		s.t.Fatalf("nobody is called %q", name)
	}
	return a
}

// token is what a story calls $1, or a plain number.
func (s *story) token(name string) uint64 {
	if token, ok := s.tokens[name]; ok {
		return uint64(token)
	}
	if n, err := strconv.ParseUint(name, 10, 64); err == nil {
		return n
	}
	s.t.Fatalf("no token is called %q", name)
	return 0
}

// call is how a token is told.
func (s *story) call(token lock.Token) string {
	if a := s.nameOf(lock.Incarnation(token)); a != "" {
		return a
	}
	if s.called[token] == "" {
		name := fmt.Sprintf("$%d", len(s.called)+1)
		s.called[token], s.tokens[name] = name, token
	}
	return s.called[token]
}

func (s *story) nameOf(id lock.Incarnation) string {
	for _, a := range s.actors {
		if a.id == id && id != 0 {
			return a.name
		}
	}
	return ""
}

// storyArgs are the words after an act.
type storyArgs struct {
	words  []string
	values map[string][]string
}

func argsOf(list []datadriven.CmdArg) storyArgs {
	args := storyArgs{values: map[string][]string{}}
	for _, a := range list {
		if len(a.Vals) == 0 {
			args.words = append(args.words, a.Key)
		} else {
			args.values[a.Key] = a.Vals
		}
	}
	return args
}

func argLine(list []datadriven.CmdArg) string {
	var words []string
	for _, a := range list {
		words = append(words, a.String())
	}
	return strings.Join(words, " ")
}

// who is the first word, a game server's name.
func (a storyArgs) who() string {
	if len(a.words) == 0 {
		return ""
	}
	return a.words[0]
}

func (a storyArgs) has(word string) bool { return slices.Contains(a.words, word) }

func (a storyArgs) text(name, normal string) string {
	if v, ok := a.values[name]; ok {
		return v[0]
	}
	return normal
}

// number is a named number; with no name it is the first word.
func (a storyArgs) number(name string, normal uint64) uint64 {
	text := a.text(name, "")
	if name == "" {
		text = a.who()
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n
	}
	return normal
}

func (a storyArgs) numbers(name string) []uint64 {
	var list []uint64
	for _, text := range a.values[name] {
		n, _ := strconv.ParseUint(text, 10, 64)
		list = append(list, n)
	}
	return list
}

// profile is the word with a slash, as store and key.
func (a storyArgs) profile() (store, key string) {
	for _, w := range a.words {
		if store, key, ok := strings.Cut(w, "/"); ok {
			return store, key
		}
	}
	return "", ""
}
