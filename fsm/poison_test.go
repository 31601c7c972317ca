package fsm_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/fsm/logpb"
	"github.com/profilenode/profilenode/lock"
)

// prepared is a machine with a game server, a session, data, a message and a part; its next entry is 7.
func prepared(t testing.TB) (m *fsm.Machine, server, token uint64) {
	t.Helper()
	m = open(t, vfs.NewMem())
	server, token = uint64(lock.TokenAt(2, 0)), uint64(lock.TokenAt(3, 0))
	ask := func(n uint64) *fsm.Request { return &fsm.Request{Incarnation: server, Number: n, Hash: n} }
	read(m.Apply([]fsm.Log{
		entry(t, 1, fsm.NewCommand(nil, &fsm.FoundCluster{Cluster: testCluster, Level: 1, Policies: fsm.DefaultPolicies(), Classes: fsm.DefaultClasses()})),
		entry(t, 2, fsm.NewCommand(nil, &fsm.Register{Name: "a", Nonce: make([]byte, 16)})),
		entry(t, 3, fsm.NewCommand(ask(1), &fsm.StartSession{Store: "players", Key: "p"})),
		entry(t, 4, fsm.NewCommand(ask(2), &fsm.Save{Store: "players", Key: "p", Token: token, Data: data("one")})),
		entry(t, 5, fsm.NewCommand(ask(3), &fsm.Send{Store: "players", Key: "p", Body: []byte("hello")})),
		entry(t, 6, fsm.NewCommand(ask(4), &fsm.PutPart{Bytes: []byte("part")})),
	}))(t)
	return m, server, token
}

func marshal(t testing.TB, e *logpb.Entry) []byte {
	t.Helper()
	return read(proto.Marshal(e))(t)
}

// An entry that this build cannot apply stops the machine, says why, and changes nothing.
func TestPoison(t *testing.T) {
	m, _, _ := prepared(t)
	defer func() { must(t, m.Close()) }()
	good := fsm.NewCommand(nil, &fsm.Register{Name: "b", Nonce: bytes.Repeat([]byte{1}, 16)})
	tests := map[string][]byte{
		"an unknown level":   marshal(t, &logpb.Entry{Level: testLevel + 1, Cluster: testCluster, Commands: []*fsm.Command{good}}),
		"another cluster":    marshal(t, &logpb.Entry{Level: fsm.Level, Cluster: bytes.Repeat([]byte{8}, 16), Commands: []*fsm.Command{good}}),
		"no cluster":         marshal(t, &logpb.Entry{Level: fsm.Level, Commands: []*fsm.Command{good}}),
		"nothing":            nil,
		"no protobuf":        []byte("this is not an entry"),
		"a cut entry":        marshal(t, &logpb.Entry{Level: fsm.Level, Cluster: testCluster, Commands: []*fsm.Command{good}})[:30],
		"too many commands":  marshal(t, &logpb.Entry{Level: fsm.Level, Cluster: testCluster, Commands: make([]*fsm.Command, lock.MaxPlace+1)}),
		"text that is not":   bytes.Replace(marshal(t, &logpb.Entry{Level: 1, Cluster: testCluster, Commands: []*fsm.Command{good}}), []byte("b"), []byte{0xff}, 1),
		"a level of the far": marshal(t, &logpb.Entry{Level: math.MaxUint32, Cluster: testCluster}),
		"a raise too high":   entry(t, 8, good, fsm.NewCommand(nil, &fsm.RaiseLevel{Level: testLevel + 1})).Data,
		"a founding of then": entry(t, 8, fsm.NewCommand(nil, &fsm.FoundCluster{Cluster: testCluster, Level: testLevel + 1})).Data,
	}
	before, standing := rowsOf(t, m), m.Position()
	for name, poison := range tests {
		fine := entry(t, 7, good)
		out, err := m.Apply([]fsm.Log{fine, {Index: 8, Term: 1, Data: poison}})
		if !errors.Is(err, fsm.ErrPoison) || len(out) != 0 {
			t.Errorf("%s: became %+v, %v", name, out, err)
		}
		if !slices.Equal(rowsOf(t, m), before) || m.Position().Digest != standing.Digest || m.Position().Index != standing.Index {
			t.Errorf("%s: changed the tables", name)
		}
	}
	if out := read(m.Apply([]fsm.Log{entry(t, 7, good)}))(t); out[0].Results[0].Code != fsm.OK {
		t.Errorf("afterwards a good entry became %+v", out)
	}
}

// What is malformed is refused by a code, in every act, and writes no more than its answer.
func TestMalformed(t *testing.T) {
	m, server, token := prepared(t)
	defer func() { must(t, m.Close()) }()
	index, number := uint64(6), uint64(4)
	try := func(want fsm.Code, q *fsm.Request, acts ...any) {
		t.Helper()
		for _, act := range acts {
			index++
			c := &fsm.Command{Request: q}
			if act != nil {
				c = fsm.NewCommand(q, act)
			}
			if out := read(m.Apply([]fsm.Log{entry(t, index, c)}))(t); out[0].Results[0].Code != want {
				t.Errorf("%v became %s, want %s", c, codeNames[out[0].Results[0].Code], codeNames[want])
			}
		}
	}
	asked := func(want fsm.Code, acts ...any) {
		t.Helper()
		for _, act := range acts {
			number++
			try(want, &fsm.Request{Incarnation: server, Number: number, Hash: number}, act)
		}
	}
	numbered := []any{
		nil, &fsm.StartSession{}, &fsm.Cancel{}, &fsm.Save{}, &fsm.Release{}, &fsm.Send{}, &fsm.ClearMessage{}, &fsm.Set{}, &fsm.Remove{},
	}
	try(fsm.Invalid, nil, append(numbered, &fsm.SetPolicy{}, &fsm.EndServer{}, &fsm.Settle{}, &fsm.PutPart{})...)
	try(fsm.Invalid, &fsm.Request{}, numbered...)
	try(fsm.Invalid, &fsm.Request{Incarnation: server}, numbered...)
	try(fsm.Invalid, &fsm.Request{Incarnation: server, Number: 9, Settled: 9}, numbered...)
	try(fsm.Invalid, &fsm.Request{Number: 9}, numbered...)
	try(fsm.Forgotten, &fsm.Request{Incarnation: 5, Number: 9}, numbered...)
	asked(fsm.Invalid, numbered...)
	asked(fsm.Invalid, &fsm.SetTimingClass{}, &fsm.SetTimingClass{Name: "x"},
		&fsm.SetTimingClass{Name: "x", RenewMs: math.MaxInt64, DoubtMs: math.MaxInt64, EvidenceMs: math.MaxInt64, LeaseMs: math.MaxInt64, HandOffMs: math.MaxInt64},
		&fsm.SetTimingClass{Name: "x", RenewMs: math.MinInt64, DoubtMs: math.MinInt64, EvidenceMs: math.MinInt64, LeaseMs: math.MinInt64, HandOffMs: math.MinInt64})
	asked(fsm.UnknownPolicy, &fsm.SetPolicy{}, &fsm.SetPolicy{Store: "players", Name: "history\x00"})

	save := func(d *fsm.Data) *fsm.Save {
		return &fsm.Save{Store: "players", Key: "p", Token: token, Base: 1, Data: d}
	}
	set := func(d *fsm.Data) *fsm.Set { return &fsm.Set{Store: "players", Key: "q", Data: d} }
	hash := sha256.Sum256(nil)
	for _, d := range []*fsm.Data{nil, {}, {Hash: []byte{1}}, {Hash: make([]byte, 33)}, {Codec: 256, Hash: hash[:]}} {
		asked(fsm.Invalid, save(d), set(d))
	}
	for _, d := range []*fsm.Data{{Hash: make([]byte, 32)}, {Hash: hash[:], Whole: []byte("x")}, {Hash: hash[:], Size: 1}} {
		asked(fsm.DataDamaged, save(d), set(d))
	}
	for _, size := range []uint64{fsm.MaxData + 1, math.MaxInt64, math.MaxUint64} {
		asked(fsm.TooLarge, save(&fsm.Data{Size: size, Hash: hash[:], Parts: 1}), set(&fsm.Data{Size: size, Hash: hash[:], Parts: math.MaxUint32}))
	}
	asked(fsm.PartsMissing, save(&fsm.Data{Hash: hash[:], Parts: math.MaxUint32}), set(&fsm.Data{Size: fsm.MaxData, Hash: hash[:], Parts: 8}))
	asked(fsm.TooLarge, &fsm.Set{Store: "players", Key: "q", Data: data("x"), Tags: &fsm.Tags{Tags: map[string]string{"x": string(make([]byte, fsm.MaxTagBytes))}}})
	asked(fsm.Invalid, &fsm.ClearAlarm{}, &fsm.ClearAlarm{Code: "a b"}, &fsm.ExpectNode{}, &fsm.ExpectNode{Address: ":7401"}, &fsm.ExpectNode{Address: "a\x00b:1"},
		&fsm.ExpectNode{Address: strings.Repeat("x", fsm.MaxWhere) + ":1"})
	asked(fsm.Superseded, &fsm.ClearAlarm{Code: "NONE"})
	marks := make([]uint64, fsm.MaxMarks+1)
	asked(fsm.Invalid, &fsm.Save{Store: "players", Key: "p", Token: token, Base: 1, Data: data("x"), ClearMessages: marks})
	asked(fsm.Invalid, &fsm.Send{Store: "players", Key: "p", Body: make([]byte, fsm.MaxMessage+1)},
		&fsm.Send{Store: "players", Key: "p", Kind: strings.Repeat("k", fsm.MaxKind+1)}, &fsm.Send{Store: "players", Key: "p", Kind: "a\x00b"})
	asked(fsm.Invalid, &fsm.Release{Store: "players", Key: "p", Token: token, Panics: make([]*fsm.MessagePanic, fsm.MaxCounted+1)},
		&fsm.Release{Store: "players", Key: "p", Token: token, Panics: []*fsm.MessagePanic{{Message: 1, Text: strings.Repeat("x", fsm.MaxPanicText+1)}}})
	for _, name := range [][2]string{{"", "p"}, {"players", ""}, {"a/b", "p"}, {"players", "a\x00b"}, {"players", "\x7f"}} {
		store, key := name[0], name[1]
		asked(fsm.Invalid, &fsm.StartSession{Store: store, Key: key}, &fsm.Set{Store: store, Key: key, Data: data("x")}, &fsm.Send{Store: store, Key: key})
		try(fsm.Superseded, nil, &fsm.Revoke{Store: store, Key: key}, &fsm.Lapse{Term: 1, Store: store, Key: key})
	}
	try(fsm.Invalid, nil, &fsm.Register{}, &fsm.Register{Name: "x"}, &fsm.Register{Name: "x", Nonce: make([]byte, 17)},
		&fsm.Register{Name: "x", Nonce: bytes.Repeat([]byte{2}, 16), Kind: 2}, &fsm.SetNode{}, &fsm.RemoveNode{}, &fsm.RaiseAlarm{},
		&fsm.RaiseAlarm{Code: "low"}, &fsm.RaiseAlarm{Code: "LOW", Text: string(make([]byte, fsm.MaxAlarmText+1))}, nil)
	try(fsm.Superseded, nil, &fsm.FoundCluster{}, &fsm.ExpireServers{}, &fsm.ExpireServers{Term: 1, Expiries: []*fsm.Expiry{{}, nil}}, &fsm.Lapse{}, &fsm.SuspectLeader{}, &fsm.RaiseLevel{}, &fsm.RaiseLevel{Level: 1})
	try(fsm.OK, nil, &fsm.OpenTerm{}, &fsm.GrantToWaiters{}, &fsm.ForgetEnded{}, &fsm.ForgetEnded{Before: math.MaxUint64, NothingLeftBefore: math.MaxUint64, Limit: 9}, &fsm.CountMinute{})

	checkTables(t, m)
	look(t, m, func(v *fsm.View) {
		names := read(v.Profiles())(t)
		if want := []fsm.ProfileName{{Store: "players", Key: "p"}}; !slices.Equal(names, want) {
			t.Errorf("the tables know %v, want %v", names, want)
		}
		if p, _, err := v.Profile("players", "p"); p.Revision != 1 || err != nil {
			t.Errorf("the profile is at revision %d, %v", p.Revision, err)
		}
	})
}

// A policy is checked before it is proposed; one that came into the log all the same stops no node.
func TestPolicyOutOfRange(t *testing.T) {
	hash := sha256.Sum256(nil)
	for _, value := range []int64{math.MinInt64, -1, 0, math.MaxInt64} {
		m, server, token := prepared(t)
		var commands []*fsm.Command
		ask := func(act any) {
			n := uint64(10 + len(commands))
			commands = append(commands, fsm.NewCommand(&fsm.Request{Incarnation: server, Number: n, Hash: n}, act))
		}
		for _, p := range fsm.DefaultPolicies() {
			ask(&fsm.SetPolicy{Name: p.Name, Value: value})
		}
		huge := len(commands)
		ask(&fsm.Save{Store: "players", Key: "p", Token: token, Base: 1, Data: &fsm.Data{Size: math.MaxInt64, Hash: hash[:], Parts: 1}})
		ask(&fsm.Save{Store: "players", Key: "p", Token: token, Base: 1, Data: data("two")})
		ask(&fsm.Send{Store: "players", Key: "p"})
		ask(&fsm.StartSession{Store: "players", Key: "q"})
		func() {
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("with policies at %d apply panics: %v", value, r)
				}
			}()
			out := read(m.Apply([]fsm.Log{entry(t, 7, commands...)}))(t)
			if code := out[0].Results[huge].Code; code != fsm.TooLarge {
				t.Errorf("with policies at %d data of %d bytes is %s", value, int64(math.MaxInt64), codeNames[code])
			}
			checkTables(t, m)
		}()
		must(t, m.Close())
	}
}

// FuzzEntry: whatever bytes come as an entry, either the machine refuses them and nothing has changed, or every command
// has a result, and the tables still agree with each other.
func FuzzEntry(f *testing.F) {
	m, server, token := prepared(f)
	must(f, m.Close())
	ask := &fsm.Request{Incarnation: server, Number: 5, Settled: 1, Hash: 5}
	for _, act := range []any{
		&fsm.EndServer{}, &fsm.Settle{}, &fsm.StartSession{Store: "players", Key: "p", WhenOwned: 2},
		&fsm.Cancel{Store: "players", Key: "p", Ticket: token}, &fsm.Save{Store: "players", Key: "p", Token: token, Base: 1, Data: data("two"), ClearMessages: []uint64{1}, End: true, Cause: uint32(lock.OutOfReach)},
		&fsm.Release{Store: "players", Key: "p", Token: token, Panics: []*fsm.MessagePanic{{Message: 1, Text: "nil"}, {Message: 1}, {Message: 1}, {Message: 7}}}, &fsm.Send{Store: "players", Key: "p", Kind: "gift"}, &fsm.ClearMessage{Store: "players", Key: "p", Id: 1},
		&fsm.Set{Store: "players", Key: "p", Expected: 1, Data: data("two"), Force: true}, &fsm.Remove{Store: "players", Key: "p", Expected: 1, Force: true},
		&fsm.SetPolicy{Name: "history", Value: 1}, fsm.DefaultClasses()[0], &fsm.PutPart{Part: 1, Bytes: []byte("part")},
		&fsm.ClearAlarm{Code: "LOW"}, &fsm.ExpectNode{Address: "n:1"},
	} {
		f.Add(entry(f, 7, fsm.NewCommand(ask, act)).Data)
	}
	for _, act := range []any{
		&fsm.Register{Name: "b", Nonce: bytes.Repeat([]byte{1}, 16)}, &fsm.FoundCluster{}, &fsm.OpenTerm{}, &fsm.GrantToWaiters{Incarnation: server, Limit: 1},
		&fsm.ExpireServers{Term: 1, Expiries: []*fsm.Expiry{{Incarnation: server, Last: uint64(lock.TokenAt(6, 0))}}},
		&fsm.Revoke{Store: "players", Key: "p", Token: token}, &fsm.Lapse{Term: 1, Store: "players", Key: "p", Token: token},
		&fsm.ForgetEnded{Before: 1, NothingLeftBefore: 1, Limit: 3}, &fsm.CountMinute{}, &fsm.SetNode{Id: "n"}, &fsm.RemoveNode{Id: "n"}, &fsm.RaiseLevel{Level: 2}, &fsm.RaiseAlarm{Code: "LOW"},
		&fsm.SuspectLeader{Term: 1}, &fsm.DropDue{Limit: 3}, &fsm.CompareRange{To: []byte("m")},
	} {
		f.Add(entry(f, 7, fsm.NewCommand(nil, act)).Data)
	}
	f.Add([]byte{})
	liar := &fsm.Data{Size: fsm.MaxData, Hash: make([]byte, 32), Parts: math.MaxUint32}
	f.Add(entry(f, 7, fsm.NewCommand(ask, &fsm.Save{Store: "players", Key: "p", Token: token, Base: 1, Data: liar})).Data)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, _, _ := prepared(t)
		defer func() { must(t, m.Close()) }()
		before := rowsOf(t, m)
		free := allocated()
		out, err := m.Apply([]fsm.Log{{Index: 7, Term: 1, Data: data}})
		if took := allocated() - free; took > 2*fsm.MaxData+1<<20+200*uint64(len(data)) {
			t.Fatalf("an entry of %d bytes took %d", len(data), took)
		}
		if err != nil {
			if !errors.Is(err, fsm.ErrPoison) || len(out) != 0 {
				t.Fatalf("became %+v, %v", out, err)
			}
			if !slices.Equal(rowsOf(t, m), before) {
				t.Fatal("a refused entry changed the tables")
			}
			return
		}
		var e logpb.Entry
		if err := proto.Unmarshal(data, &e); err != nil || len(e.Commands) != len(out[0].Results) {
			t.Fatalf("%d commands have %d results, %v", len(e.Commands), len(out[0].Results), err)
		}
		checkTables(t, m)
	})
}

// allocated counts what was ever allocated. Pebble's own goroutines are in it.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func FuzzRow(f *testing.F) {
	for _, row := range someRows() {
		f.Add(row)
	}
	f.Fuzz(func(t *testing.T, row []byte) { fsm.DecodeRow(row) })
}

func someRows() [][]byte {
	return fsm.Encoded(
		fsm.GrantRow{Grant: lock.Grant{Token: 1 << 20, Ticket: 7, Owner: 8, Revoked: true, Waiters: []lock.Waiter{{Server: 1, Ticket: 2}}}, SinceMS: -5},
		fsm.Profile{Exists: true, Revision: 300, Tags: map[string]string{"b": "2", "a": "1"}},
		fsm.Message{Body: []byte("hello"), Kind: "gift", Sender: "a", Panics: 3, PanicText: "index out of range"},
		fsm.Server{Name: "a", Alive: true, Nonce: make([]byte, 16), Ground: lock.Silence, Class: fsm.TimingClass{Name: "default", Timing: lock.DefaultTiming()}},
		fsm.Node{Address: "10.0.0.1:7401"},
	)
}

// A row reads back whole, and no row that was cut, lengthened, or is of another format reads at all.
func TestRowsAreWhole(t *testing.T) {
	for table, row := range someRows() {
		if err := fsm.DecodeRow(row)[table]; err != nil {
			t.Errorf("row %d does not read back: %v", table, err)
		}
		for n := range row {
			if fsm.DecodeRow(row[:n])[table] == nil {
				t.Errorf("row %d reads from %d of %d bytes", table, n, len(row))
			}
		}
		if fsm.DecodeRow(append(bytes.Clone(row), 0))[table] == nil {
			t.Errorf("row %d reads with a byte too many", table)
		}
		other := bytes.Clone(row)
		other[0]++
		if fsm.DecodeRow(other)[table] == nil {
			t.Errorf("row %d of another format reads", table)
		}
	}
}

// Rows of builds that knew of no game servers' gossip read, and a node without it writes them still: nodes of two builds
// compare digests of these rows.
func TestANodesRowGrewAtItsEnd(t *testing.T) {
	row := func(n fsm.Node) []byte {
		return fsm.Encoded(fsm.GrantRow{}, fsm.Profile{}, fsm.Message{}, fsm.Server{}, n)[5]
	}
	before, now := row(fsm.Node{Address: "a:1", Client: "a:2"}), row(fsm.Node{Address: "a:1", Client: "a:2", ServerGossip: "a:3"})
	if want := append(bytes.Clone(before), "\x03a:3"...); !bytes.Equal(now, want) {
		t.Errorf("with the address the row is %q, want %q", now, want)
	}
	for n := len(before); n <= len(now); n++ {
		if err := fsm.DecodeRow(now[:n])[5]; (err == nil) != (n == len(before) || n == len(now)) {
			t.Errorf("%d of %d bytes, %d of them as before: %v", n, len(now), len(before), err)
		}
	}
	if fsm.DecodeRow(append(now, 0))[5] == nil {
		t.Error("a row with a byte too many reads")
	}
}
