package fsm_test

import (
	"fmt"
	"hash/fnv"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// The machine against its reference model, result by result, event by event and table by table.
func TestMachineAgainstItsTwin(t *testing.T) {
	roll, seed := seeded(t)
	streams := 30
	if testing.Short() {
		streams = 5
	}
	for range streams {
		stream := uint64(roll(1 << 30))
		t.Run(fmt.Sprintf("seed %d of %d", stream, seed), func(t *testing.T) {
			compareStream(t, newStream(diceOf(stream)), func(n int) bool { return n < 400 })
		})
	}
}

// FuzzMachine rolls its dice from the script.
func FuzzMachine(f *testing.F) {
	for seed := range uint64(8) {
		roll := diceOf(seed)
		script := make([]byte, 600)
		for i := range script {
			script[i] = byte(roll(256))
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		roll, left := scripted(script)
		compareStream(t, newStream(roll), func(n int) bool { return n < 300 && left() })
	})
}

func compareStream(t *testing.T, s *stream, more func(entries int) bool) {
	t.Helper()
	m, w := open(t, vfs.NewMem()), newReferenceModel()
	defer func() { must(t, m.Close()) }()
	commands := []*fsm.Command{founding()}
	for index := uint64(1); more(int(index)); index++ {
		data, err := fsm.Encode(fsm.Level, testCluster, s.stamp, commands)
		must(t, err)
		applied, err := m.Apply([]fsm.Log{{Index: index, Term: s.term, Data: data}})
		must(t, err)
		results, events := w.entry(index, s.term, s.stamp, commands)
		for i, got := range applied[0].Results {
			if got != results[i] {
				t.Fatalf("entry %d, command %d of\n%v\nbecame\n%+v, the model's\n%+v", index, i, commands, got, results[i])
			}
		}
		if got := applied[0].Events; !slices.Equal(got, events) {
			t.Fatalf("entry %d,\n%v\ntells\n%+v, the model\n%+v", index, commands, got, events)
		}
		if index%40 == 0 {
			compareTables(t, m, w)
		}
		s.learn(commands, applied[0], w.lastOf)
		commands = s.entry()
	}
	compareTables(t, m, w)
	checkTables(t, m)
}

func (w *referenceModel) lastOf(id lock.Incarnation) lock.Token {
	if s := w.server(uint64(id)); s != nil {
		return s.about.Last
	}
	return 0
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s is\n%+v, the model's\n%+v", what, got, want)
	}
}

func compareTables(t testing.TB, m *fsm.Machine, w *referenceModel) {
	t.Helper()
	look(t, m, func(v *fsm.View) {
		standing := v.Position()
		equal(t, "standing", fsm.Position{Index: standing.Index, Term: standing.Term, StampMS: standing.StampMS},
			fsm.Position{Index: w.index, Term: w.term, StampMS: w.stamp})
		for name, p := range w.profiles {
			compareProfile(t, v, name, p)
		}
		for _, p := range read(v.Profiles())(t) {
			if w.profiles[p] == nil {
				t.Fatalf("the tables know %v, the model does not", p)
			}
		}
		servers := read(v.Servers())(t)
		if len(servers) != len(w.servers) {
			t.Fatalf("the tables know %d incarnations, the model %d", len(servers), len(w.servers))
		}
		for i, s := range w.servers {
			compareServer(t, v, w, servers[i], s)
		}
		nodes := map[string]fsm.Node{}
		for _, n := range read(v.Nodes())(t) {
			nodes[n.ID] = n
		}
		equal(t, "the nodes", nodes, w.nodes)
		classes := map[string]fsm.TimingClass{}
		for _, c := range read(v.TimingClasses())(t) {
			classes[c.Name] = c
		}
		equal(t, "the timing classes", classes, w.classes)
		alarms := map[string]fsm.Alarm{}
		for _, a := range read(v.Alarms())(t) {
			alarms[a.Code] = a
		}
		equal(t, "the alarms", alarms, w.alarms)
		equal(t, "the nodes expected", read(v.ExpectedNodes())(t), slices.Sorted(maps.Keys(w.expected)))
		equal(t, "the level", m.Position().Level, w.level)
		audits, _, err := v.Audit(fsm.AuditFilter{}, 1<<20)
		must(t, err)
		equal(t, "the audits", audits, w.audits)
		for _, store := range []string{"", "players", "guilds"} {
			for _, p := range read(v.Policies(store))(t) {
				_, own := w.policies[[2]string{store, p.Name}]
				equal(t, "policy "+p.Name+" of "+store, []any{p.Value, p.Inherited}, []any{w.policy(store, p.Name), !own})
			}
		}
		suspected, _, err := v.SuspectedLeader()
		equal(t, "the suspected leader", read(suspected, err)(t), w.suspected)
		equal(t, "the minute", read(v.Minute())(t), w.minute)
		for _, before := range [][2]uint64{{0, w.minute}, {w.minute, 0}} {
			equal(t, "whether an incarnation is to be forgotten", read(v.EndedBefore(before[0], before[1]))(t), len(w.forgettable(before[1], before[0])) > 0)
		}
	})
}

func compareServer(t testing.TB, v *fsm.View, w *referenceModel, got fsm.Server, s *referenceServer) {
	t.Helper()
	want := s.about
	var owned []fsm.ProfileName
	for name, p := range w.profiles {
		if p.owner != want.Incarnation {
			continue
		}
		if want.Alive {
			owned = append(owned, name)
		}
		want.Owned++
		if p.revoked || p.asked || len(p.queue) > 0 {
			want.Contested++
		}
		if !p.revoked {
			want.Sessions++
			want.Held ^= splitmix(splitmix(uint64(p.token)) ^ nameHash(name.Store, name.Key))
		}
	}
	want.Answers = len(s.answers)
	equal(t, "a game server", got, want)
	if got := read(v.GrantsOf(want.Incarnation))(t); len(got) != len(owned) {
		t.Fatalf("%s owns %v, the model's %v", want.Name, got, owned)
	}
	answers := map[uint64]referenceAnswer{}
	for _, a := range read(v.Answers(want.Incarnation))(t) {
		a.Result.Repeated = false
		answers[a.Number] = referenceAnswer{a.Hash, a.Result}
	}
	equal(t, "the answers", answers, s.answers)
	parts, kept, err := v.Parts(want.Incarnation)
	must(t, err)
	n := 0
	for number, all := range s.parts {
		for i, part := range all {
			n++
			kept -= uint64(len(part))
			if !slices.ContainsFunc(parts, func(r fsm.PartRow) bool { return r.Number == number && r.Part == i && string(r.Bytes) == string(part) }) {
				t.Fatalf("part %d of %d is missing", i, number)
			}
		}
	}
	equal(t, "how many parts and bytes are kept", []uint64{uint64(len(parts)), kept}, []uint64{uint64(n), 0})
}

func compareProfile(t testing.TB, v *fsm.View, name fsm.ProfileName, p *referenceProfile) {
	t.Helper()
	g := read(v.Grant(name.Store, name.Key))(t)
	equal(t, fmt.Sprint("the grant of ", name), []any{g.Token, g.Ticket, g.Owner, g.Revoked, g.Cause, g.Asked, g.Orphan, g.SinceMS, g.Loads, g.By, g.WantedMS},
		[]any{p.token, p.ticket, p.owner, p.revoked, p.cause, p.asked, p.bereft, p.since, p.loads, p.by, p.wanted})
	if !slices.Equal(g.Waiters, p.queue) {
		t.Fatalf("for %v wait %v, the model's %v", name, g.Waiters, p.queue)
	}
	record, _, err := v.Profile(name.Store, name.Key)
	must(t, err)
	equal(t, fmt.Sprint("the record of ", name), []any{record.Exists, record.Revision, record.CreatedMS, record.SavedMS}, []any{p.exists, p.revision, p.created, p.saved})
	if len(record.Tags) != len(p.tags) || len(p.tags) > 0 && !reflect.DeepEqual(record.Tags, p.tags) {
		t.Fatalf("the tags of %v are %v, the model's %v", name, record.Tags, p.tags)
	}
	history := read(v.History(name.Store, name.Key))(t)
	if len(history) != len(p.history) {
		t.Fatalf("the history of %v has %d revisions, the model's %d", name, len(history), len(p.history))
	}
	for i, want := range p.history {
		equal(t, fmt.Sprint("a revision of ", name), history[i], want.Revision)
		data, _, err := v.Data(name.Store, name.Key, want.Revision.Revision)
		must(t, err)
		equal(t, fmt.Sprint("the data of ", name), string(data), string(want.data))
		if i == len(p.history)-1 {
			equal(t, fmt.Sprint("the last writer of ", name), []any{record.Token, record.Codec, record.Size}, []any{want.Token, want.Codec, want.Size})
		}
	}
	messages := read(v.AllMessages(name.Store, name.Key, 0, 0))(t)
	var waiting, offered []uint64
	for _, m := range p.messages {
		if m.Panics < 3 {
			waiting = append(waiting, m.ID)
		}
	}
	for _, m := range read(v.Messages(name.Store, name.Key, 0, 0))(t) {
		offered = append(offered, m.ID)
	}
	equal(t, fmt.Sprint("the waiting messages of ", name), offered, waiting)
	equal(t, fmt.Sprint("the mailbox of ", name), read(v.Inbox(name.Store, name.Key))(t),
		fsm.Inbox{Last: p.sent, Waiting: uint64(len(waiting)), SetAside: uint64(len(p.messages) - len(waiting)), Bytes: p.messageBytes()})
	if len(messages) != len(p.messages) {
		t.Fatalf("%v has messages %v, the model's %v", name, messages, p.messages)
	}
	for i, want := range p.messages {
		got := messages[i]
		equal(t, fmt.Sprint("a message of ", name), []any{got.ID, string(got.Body), got.Kind, got.Sender, got.SentMS, got.Panics, got.PanicText},
			[]any{want.ID, string(want.Body), want.Kind, want.Sender, want.SentMS, want.Panics, want.PanicText})
	}
}

func nameHash(store, key string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(store + "\x00" + key + "\x00"))
	return h.Sum64()
}

// splitmix is the published generator's output function, seeded with a token.
func splitmix(seed uint64) uint64 {
	z := seed + 0x9e3779b97f4a7c15
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}
