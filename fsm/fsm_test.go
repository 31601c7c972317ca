package fsm_test

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
)

var testCluster = bytes.Repeat([]byte{7}, 16)

// testLevel is what most machines of the tests apply: a build to come, so that levels can rise.
const testLevel = fsm.Level + 2

func open(t testing.TB, fs vfs.FS) *fsm.Machine {
	t.Helper()
	m, err := openAt(t, fs, testLevel)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// openAt opens a machine of a build that applies entries up to a level.
func openAt(t testing.TB, fs vfs.FS, level uint32) (*fsm.Machine, error) {
	return fsm.Open(fsm.Options{FS: fs, Dir: "tables", Logger: quiet{t}, CacheBytes: 1 << 20, Build: fsm.Build{Level: level}})
}

// quiet is a logger that only fails.
type quiet struct{ t testing.TB }

func (quiet) Infof(string, ...any)                {}
func (q quiet) Errorf(format string, args ...any) { q.t.Logf(format, args...) }
func (q quiet) Fatalf(format string, args ...any) {
	q.t.Errorf(format, args...)
	panic("the tables' disk failed")
}

func entry(t testing.TB, index uint64, commands ...*fsm.Command) fsm.Log {
	t.Helper()
	data, err := fsm.Encode(fsm.Level, testCluster, int64(index)*1000, commands)
	if err != nil {
		t.Fatal(err)
	}
	return fsm.Log{Index: index, Term: 1, Data: data}
}

func data(s string) *fsm.Data {
	hash := sha256.Sum256([]byte(s))
	return &fsm.Data{Codec: 1, Hash: hash[:], Size: uint64(len(s)), Whole: []byte(s)}
}

// A session from start to release, and what a restart finds of it.
func TestSession(t *testing.T) {
	fs := vfs.NewMem()
	m := open(t, fs)
	out, err := m.Apply([]fsm.Log{
		entry(t, 1, fsm.NewCommand(nil, &fsm.FoundCluster{Cluster: testCluster, Level: 1, Policies: fsm.DefaultPolicies(), Classes: fsm.DefaultClasses()})),
		entry(t, 2, fsm.NewCommand(nil, &fsm.Register{Name: "a", Nonce: bytes.Repeat([]byte{1}, 16)})),
	})
	if err != nil {
		t.Fatal(err)
	}
	a := uint64(out[1].Results[0].Token)
	ask := func(number uint64) *fsm.Request {
		return &fsm.Request{Incarnation: a, Number: number, Hash: number, Registration: 0x0101010101010101}
	}
	out, err = m.Apply([]fsm.Log{entry(t, 3, fsm.NewCommand(ask(1), &fsm.StartSession{Store: "players", Key: "p"}))})
	if err != nil || out[0].Results[0].Code != fsm.OK {
		t.Fatal(out, err)
	}
	token := uint64(out[0].Results[0].Token)
	out, err = m.Apply([]fsm.Log{entry(t, 4, fsm.NewCommand(ask(2), &fsm.Save{Store: "players", Key: "p", Token: token, Data: data("one"), End: true}))})
	if err != nil || out[0].Results[0].Code != fsm.OK || out[0].Results[0].Revision != 1 {
		t.Fatal(out, err)
	}
	want := m.Position()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}

	m = open(t, fs)
	defer func() { _ = m.Close() }()
	if got := m.Position(); got.Digest != want.Digest || got.Index != 4 {
		t.Fatalf("after a restart the tables stand at %+v, want %+v", got, want)
	}
	v, err := m.View()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = v.Close() }()
	got, ok, err := v.Data("players", "p", 1)
	if err != nil || !ok || string(got) != "one" {
		t.Fatalf("data is %q, %v, %v", got, ok, err)
	}
	grant, err := v.Grant("players", "p")
	if err != nil || grant.Owner != 0 || uint64(grant.Token) != token {
		t.Fatalf("grant is %+v, %v", grant, err)
	}
}
