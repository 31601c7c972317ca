package fsm_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// recorded is a log, with what became of each entry, and where the tables stood after it, on the machine that first
// applied it one entry at a time.
type recorded struct {
	commands [][]*fsm.Command
	logs     []fsm.Log
	applied  []fsm.Applied
	after    []fsm.Position
	rows     []fsm.Row // at the end
}

func record(t *testing.T, s *stream, entries int) *recorded {
	t.Helper()
	m, r := open(t, vfs.NewMem()), &recorded{}
	defer func() { must(t, m.Close()) }()
	commands := []*fsm.Command{founding()}
	for index := 1; index <= entries; index++ {
		data, err := fsm.Encode(fsm.Level, testCluster, s.stamp, commands)
		must(t, err)
		log := fsm.Log{Index: uint64(index), Term: s.term, Data: data}
		out := read(m.Apply([]fsm.Log{log}))(t)
		r.commands, r.logs = append(r.commands, commands), append(r.logs, log)
		r.applied, r.after = append(r.applied, out[0]), append(r.after, m.Position())
		look(t, m, func(v *fsm.View) {
			s.learn(commands, out[0], func(id lock.Incarnation) lock.Token {
				server, _, err := v.Server(id)
				must(t, err)
				return server.Last
			})
		})
		commands = s.entry()
	}
	r.rows = rowsOf(t, m)
	return r
}

func rowsOf(t testing.TB, m *fsm.Machine) (rows []fsm.Row) {
	t.Helper()
	look(t, m, func(v *fsm.View) { rows = read(v.Rows())(t) })
	return rows
}

// holds checks what a machine made of entries [from, from+len(applied)).
func (r *recorded) holds(t testing.TB, from int, applied []fsm.Applied) {
	t.Helper()
	for i, got := range applied {
		want := r.applied[from+i]
		if got.Skipped || !slices.Equal(got.Results, want.Results) || !slices.Equal(got.Events, want.Events) {
			t.Fatalf("entry %d became\n%+v, at first\n%+v", from+i+1, got, want)
		}
	}
}

// ends checks that a machine stands where the first one did after n entries, and at the end row by row.
func (r *recorded) ends(t testing.TB, m *fsm.Machine, n int) {
	t.Helper()
	if got, want := m.Position(), r.after[n-1]; !reflect.DeepEqual(got, want) {
		t.Fatalf("the tables stand at\n%+v, at first at\n%+v", got, want)
	}
	if n < len(r.logs) {
		return
	}
	got := rowsOf(t, m)
	for i := range min(len(got), len(r.rows)) {
		if got[i] != r.rows[i] {
			t.Fatalf("row %d is %q, at first it was %q", i, got[i], r.rows[i])
		}
	}
	if len(got) != len(r.rows) {
		t.Fatalf("there are %d rows, at first there were %d", len(got), len(r.rows))
	}
}

// cut applies entries in batches of random lengths.
func (r *recorded) cut(t testing.TB, m *fsm.Machine, from, to int, roll dice) {
	t.Helper()
	for from < to {
		n := min(to-from, 1+roll(30))
		out := read(m.Apply(slices.Clone(r.logs[from : from+n])))(t)
		r.holds(t, from, out)
		from += n
	}
}

// eachSeed runs a test on a few random logs.
func eachSeed(t *testing.T, logs, entries int, f func(t *testing.T, r *recorded, roll dice)) {
	roll, seed := seeded(t)
	for range logs {
		one := uint64(roll(1 << 30))
		t.Run(fmt.Sprintf("seed %d of %d", one, seed), func(t *testing.T) {
			roll := diceOf(one)
			f(t, record(t, newStream(roll), entries), roll)
		})
	}
}

// The same log on an empty machine, at once and in any batches, makes the same tables and results.
func TestReplay(t *testing.T) {
	eachSeed(t, 6, 300, func(t *testing.T, r *recorded, roll dice) {
		m := open(t, vfs.NewMem())
		defer func() { must(t, m.Close()) }()
		r.holds(t, 0, read(m.Apply(r.logs))(t))
		r.ends(t, m, len(r.logs))
		for _, out := range read(m.Apply(r.logs))(t) {
			if !out.Skipped || out.Results != nil {
				t.Fatalf("an entry was applied twice: %+v", out)
			}
		}
		r.ends(t, m, len(r.logs))

		for range 3 {
			cut := open(t, vfs.NewMem())
			r.cut(t, cut, 0, len(r.logs), roll)
			r.ends(t, cut, len(r.logs))
			checkTables(t, cut)
			must(t, cut.Close())
		}
	})
}

// A machine that is closed and opened again in between goes on where it stood.
func TestReopen(t *testing.T) {
	eachSeed(t, 3, 200, func(t *testing.T, r *recorded, roll dice) {
		fs := vfs.NewMem()
		for at := 0; at < len(r.logs); {
			m := open(t, fs)
			if at > 0 {
				r.ends(t, m, at)
			}
			to := min(len(r.logs), at+1+roll(60))
			r.cut(t, m, at, to, roll)
			at = to
			must(t, m.Close())
		}
		m := open(t, fs)
		r.ends(t, m, len(r.logs))
		must(t, m.Close())
	})
}

// A crash leaves a prefix that ends where an Apply ended, not before the last Flush; from there the log makes the same
// tables again.
func TestCrash(t *testing.T) {
	eachSeed(t, 8, 200, func(t *testing.T, r *recorded, roll dice) {
		fs := vfs.NewCrashableMem()
		m := open(t, fs)
		at, flushed := 0, 0
		ends := map[uint64]bool{0: true}
		for at < len(r.logs) {
			to := min(len(r.logs), at+1+roll(25))
			r.holds(t, at, read(m.Apply(r.logs[at:to]))(t))
			at = to
			ends[uint64(at)] = true
			flushing := make(chan error, 1)
			switch roll(4) {
			case 0:
				must(t, m.Flush())
				flushed = at
				flushing <- nil
			case 1: // the crash comes in the middle of it
				go func() { flushing <- m.Flush() }()
			default:
				flushing <- nil
			}
			if roll(3) != 0 {
				must(t, <-flushing)
				continue
			}
			crashed := fs.CrashClone(vfs.CrashCloneCfg{
				UnsyncedDataPercent: []int{0, 30, 100}[roll(3)], RNG: rand.New(rand.NewPCG(uint64(roll(1<<30)), 2)),
			})
			must(t, <-flushing)
			must(t, m.Close())
			fs, m = crashed, open(t, crashed)
			stands := m.Position()
			if stands.Index < uint64(flushed) || stands.Index > uint64(at) || !ends[stands.Index] {
				t.Fatalf("after a crash at %d, flushed up to %d, the tables stand at %d; batches ended at %v", at, flushed, stands.Index, ends)
			}
			at, flushed = int(stands.Index), int(stands.Index)
			if at > 0 {
				r.ends(t, m, at)
				checkTables(t, m)
			}
		}
		r.ends(t, m, len(r.logs))
		must(t, m.Close())
	})
}

// A checkpoint says where it stands, holds all that was applied, and goes on by itself.
func TestCheckpoint(t *testing.T) {
	eachSeed(t, 5, 200, func(t *testing.T, r *recorded, roll dice) {
		fs := vfs.NewMem()
		m := open(t, fs)
		at := 1 + roll(len(r.logs)-1)
		r.cut(t, m, 0, at, roll)
		must(t, m.Checkpoint("copy"))
		r.cut(t, m, at, len(r.logs), roll) // the original goes its way
		must(t, m.Close())

		stands := read(fsm.ReadPosition(fs, "copy", fsm.Build{Level: testLevel}))(t)
		if want := r.after[at-1]; !reflect.DeepEqual(stands, want) {
			t.Fatalf("the checkpoint says it stands at\n%+v, want\n%+v", stands, want)
		}
		copied := read(fsm.Open(fsm.Options{FS: fs, Dir: "copy", Logger: quiet{t}, CacheBytes: 1 << 20, Build: fsm.Build{Level: testLevel}}))(t)
		r.ends(t, copied, at)
		checkTables(t, copied)
		r.cut(t, copied, at, len(r.logs), roll)
		r.ends(t, copied, len(r.logs))
		if err := copied.Checkpoint("copy"); err == nil {
			t.Error("a checkpoint was made over a folder that exists")
		}
		must(t, copied.Close())
	})
}

// The digest sees what differs: one value, one order, one command that wrote nothing, one retry.
func TestDigestDiffers(t *testing.T) {
	send := func(number uint64, body string) *fsm.Command {
		return fsm.NewCommand(&fsm.Request{Incarnation: uint64(lock.TokenAt(2, 0)), Number: number, Hash: number}, &fsm.Send{Store: "s", Key: "k", Body: []byte(body)})
	}
	founded := fsm.NewCommand(nil, &fsm.FoundCluster{Cluster: testCluster, Level: 1, Policies: fsm.DefaultPolicies(), Classes: fsm.DefaultClasses()})
	register := fsm.NewCommand(nil, &fsm.Register{Name: "a", Nonce: make([]byte, 16)})
	digest := func(last ...*fsm.Command) uint64 {
		m := open(t, vfs.NewMem())
		defer func() { must(t, m.Close()) }()
		read(m.Apply([]fsm.Log{entry(t, 1, founded), entry(t, 2, register), entry(t, 3, last...)}))(t)
		return m.Position().Digest
	}
	logs := map[string][]*fsm.Command{
		"none":                              {},
		"one":                               {send(1, "x")},
		"another value":                     {send(1, "y")},
		"another number":                    {send(2, "x")},
		"two":                               {send(1, "x"), send(2, "y")},
		"other order":                       {send(2, "y"), send(1, "x")},
		"a retry":                           {send(1, "x"), send(1, "x")},
		"and a command that writes nothing": {send(1, "x"), fsm.NewCommand(nil, &fsm.OpenTerm{})},
		"that alone":                        {fsm.NewCommand(nil, &fsm.OpenTerm{})},
		"malformed":                         {fsm.NewCommand(nil, &fsm.Register{})},
	}
	seen := map[uint64]string{}
	for name, log := range logs {
		d := digest(log...)
		if again := digest(log...); again != d {
			t.Errorf("%s: the digest is %x and then %x", name, d, again)
		}
		if other, ok := seen[d]; ok && !sameWrites(name, other) {
			t.Errorf("%q and %q have one digest", name, other)
		}
		seen[d] = name
	}
}

// The same command at another place of the log is another fact: it made another token.
func TestDigestIsOfAPlace(t *testing.T) {
	digest := func(index uint64, commands ...*fsm.Command) uint64 {
		m := open(t, vfs.NewMem())
		defer func() { must(t, m.Close()) }()
		data, err := fsm.Encode(fsm.Level, testCluster, 0, commands)
		must(t, err)
		read(m.Apply([]fsm.Log{{Index: index, Term: 1, Data: data}}))(t)
		return m.Position().Digest
	}
	open := fsm.NewCommand(nil, &fsm.OpenTerm{})
	if digest(1, open) == digest(2, open) {
		t.Error("a command at 1 and at 2 has one digest")
	}
	if digest(1) == digest(1, open) {
		t.Error("an entry without commands has the digest of one that writes nothing")
	}
}

// sameWrites are logs that differ in nothing written: the digest is of tables, not of commands.
func sameWrites(x, y string) bool {
	pairs := [][2]string{{"that alone", "malformed"}, {"a retry", "and a command that writes nothing"}}
	return slices.Contains(pairs, [2]string{x, y}) || slices.Contains(pairs, [2]string{y, x})
}

// One command changed anywhere in a log shows in the digest at its end.
func TestDigestOfAChangedLog(t *testing.T) {
	eachSeed(t, 2, 120, func(t *testing.T, r *recorded, roll dice) {
		for at, commands := range r.commands {
			sent := slices.IndexFunc(commands, func(c *fsm.Command) bool { return c.GetSend() != nil })
			if sent < 0 || r.applied[at].Results[sent].Code != fsm.OK || r.applied[at].Results[sent].Repeated {
				continue
			}
			changed := slices.Clone(commands)
			old := commands[sent]
			changed[sent] = fsm.NewCommand(old.Request, &fsm.Send{Store: old.GetSend().Store, Key: old.GetSend().Key, Body: []byte("changed")})
			logs := slices.Clone(r.logs)
			data, err := fsm.Encode(fsm.Level, testCluster, r.after[at].StampMS, changed)
			must(t, err)
			logs[at].Data = data
			m := open(t, vfs.NewMem())
			read(m.Apply(logs))(t)
			if m.Position().Digest == r.after[len(r.after)-1].Digest {
				t.Errorf("a message changed in entry %d, and the digest did not", at+1)
			}
			must(t, m.Close())
			return
		}
		t.Skip("no message was sent in this log")
	})
}
