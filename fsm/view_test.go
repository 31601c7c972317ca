package fsm_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// populated has profiles set and owned in three stores, whose names begin alike.
func populated(t *testing.T) (m *fsm.Machine, names []fsm.ProfileName) {
	t.Helper()
	m = open(t, vfs.NewMem())
	server := uint64(lock.TokenAt(2, 0))
	var commands []*fsm.Command
	ask := func(act any) {
		n := uint64(len(commands) + 1)
		commands = append(commands, fsm.NewCommand(&fsm.Request{Incarnation: server, Number: n, Hash: n}, act))
	}
	for _, store := range []string{"a", "a-b", "ab"} {
		for _, key := range []string{"k", "k ", "k1", "k2", "kk", "l", "é"} {
			ask(&fsm.Set{Store: store, Key: key, Data: data(store + key)})
			ask(&fsm.StartSession{Store: store, Key: key})
			names = append(names, fsm.ProfileName{Store: store, Key: key})
		}
	}
	ask(&fsm.Set{Store: "a", Key: "gone", Data: data("x")})
	ask(&fsm.Remove{Store: "a", Key: "gone", Expected: 1})
	ask(&fsm.Set{Store: "stones", Key: "gone", Data: data("x")})
	ask(&fsm.StartSession{Store: "ab", Key: "never saved"})
	read(m.Apply([]fsm.Log{
		entry(t, 1, fsm.NewCommand(nil, &fsm.FoundCluster{Cluster: testCluster, Level: 1, Policies: fsm.DefaultPolicies(), Classes: fsm.DefaultClasses()})),
		entry(t, 2, fsm.NewCommand(nil, &fsm.Register{Name: "a", Nonce: make([]byte, 16)})),
		entry(t, 3, commands...),
	}))(t)
	return m, names
}

// A list in pages is the list at once, whatever the size of a page.
func TestListInPages(t *testing.T) {
	m, names := populated(t)
	defer func() { must(t, m.Close()) }()
	look(t, m, func(v *fsm.View) {
		for _, prefix := range []string{"", "k", "k1", "x", "é"} {
			var want []string
			for _, n := range names {
				if n.Store == "a" && strings.HasPrefix(n.Key, prefix) {
					want = append(want, n.Key)
				}
			}
			for limit := 1; limit < 9; limit++ {
				var got []string
				for from, more := "", true; more; {
					page, next, err := v.List("a", prefix, from, limit)
					must(t, err)
					for _, p := range page {
						got = append(got, p.Key)
					}
					if from, more = next, next != ""; more && len(page) != limit {
						t.Fatalf("a page of %d has %d, and there is more", limit, len(page))
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("pages of %d with prefix %q are %q, want %q", limit, prefix, got, want)
				}
			}
		}
		if got, want := read(v.Stores())(t), []string{"a", "a-b", "ab", "stones"}; !slices.Equal(got, want) {
			t.Errorf("stores are %q, want %q", got, want)
		}
	})
}

func TestSessionsInPages(t *testing.T) {
	m, names := populated(t)
	defer func() { must(t, m.Close()) }()
	names = append(names, fsm.ProfileName{Store: "ab", Key: "never saved"})
	slices.SortFunc(names, func(x, y fsm.ProfileName) int {
		return strings.Compare(x.Store+"\x00"+x.Key+"\x00", y.Store+"\x00"+y.Key+"\x00")
	})
	look(t, m, func(v *fsm.View) {
		for _, store := range []string{"", "a", "ab", "b"} {
			want := slices.DeleteFunc(slices.Clone(names), func(n fsm.ProfileName) bool { return store != "" && n.Store != store })
			for limit := 1; limit < 9; limit++ {
				var got []fsm.ProfileName
				for last, more := (fsm.SessionPlace{}), true; more; {
					page, next, err := v.Sessions(store, last, limit)
					must(t, err)
					for _, g := range page {
						last = fsm.SessionPlace{Owner: g.Owner, Store: g.Store, Key: g.Key}
						got = append(got, fsm.ProfileName{Store: g.Store, Key: g.Key})
					}
					more = next
				}
				if !slices.Equal(got, want) {
					t.Errorf("pages of %d of store %q are %v, want %v", limit, store, got, want)
				}
			}
		}
		// A cursor of another store does not lead out of the one that was asked for.
		rows, _, err := v.Sessions("ab", fsm.SessionPlace{Owner: lock.Incarnation(lock.TokenAt(2, 0)), Store: "a", Key: "k"}, 100)
		must(t, err)
		for _, g := range rows {
			if g.Store != "ab" {
				t.Errorf("the sessions of ab list %s/%s", g.Store, g.Key)
			}
		}
	})
}

// A view stands still while the machine goes on.
func TestViewStandsStill(t *testing.T) {
	m, _ := populated(t)
	defer func() { must(t, m.Close()) }()
	look(t, m, func(v *fsm.View) {
		read(m.Apply([]fsm.Log{entry(t, 4, fsm.NewCommand(nil, &fsm.SetNode{Id: "n1", Address: "10.0.0.1:7401"}))}))(t)
		if v.Position().Index != 3 || len(read(v.Nodes())(t)) != 0 {
			t.Errorf("the view moved: %+v", v.Position())
		}
		look(t, m, func(later *fsm.View) {
			if later.Position().Index != 4 || len(read(later.Nodes())(t)) != 1 {
				t.Errorf("a later view stands at %+v", later.Position())
			}
		})
	})
}

func TestNames(t *testing.T) {
	stores := map[string]bool{
		"players": true, "a.B_c-9": true, strings.Repeat("s", fsm.MaxStore): true,
		"": false, strings.Repeat("s", fsm.MaxStore+1): false, "a/b": false, "a b": false, "é": false, "a\x00": false,
	}
	for name, ok := range stores {
		if err := fsm.CheckStore(name); (err == nil) != ok {
			t.Errorf("store %q: %v", name, err)
		}
	}
	keys := map[string]bool{
		"p": true, "a/b c": true, "é": true, strings.Repeat("k", fsm.MaxKey): true,
		"": false, strings.Repeat("k", fsm.MaxKey+1): false, "a\x00b": false, "\n": false, "\x7f": false, "\xff": false,
	}
	for name, ok := range keys {
		if err := fsm.CheckKey(name); (err == nil) != ok {
			t.Errorf("key %q: %v", name, err)
		}
	}
}

func TestCheckPolicy(t *testing.T) {
	for _, p := range fsm.DefaultPolicies() {
		if err := fsm.CheckPolicy("", p.Name, p.Value); err != nil {
			t.Errorf("the default of %s is refused: %v", p.Name, err)
		}
		if fsm.CheckPolicy("", p.Name, -1) == nil || fsm.CheckPolicy("", p.Name, 1<<40) == nil {
			t.Errorf("%s may be anything", p.Name)
		}
	}
	for _, name := range []string{fsm.PolicyMaxServers, fsm.PolicyRegistrations} {
		if fsm.CheckPolicy("players", name, 100) == nil {
			t.Errorf("a store may have a policy %s of its own", name)
		}
	}
	if err := fsm.CheckPolicy("", "colour", 1); err == nil || !strings.Contains(err.Error(), fsm.PolicyHistory) {
		t.Errorf("an unknown policy: %v, which does not name those that there are", err)
	}
}

func TestEncodeCounts(t *testing.T) {
	one := fsm.NewCommand(nil, &fsm.OpenTerm{})
	commands := slices.Repeat([]*fsm.Command{one}, lock.MaxPlace)
	if _, err := fsm.Encode(fsm.Level, testCluster, 0, commands); err != nil {
		t.Errorf("%d commands: %v", len(commands), err)
	}
	if _, err := fsm.Encode(fsm.Level, testCluster, 0, append(commands, one)); err == nil {
		t.Error("an entry holds more commands than there are places")
	}
	big := fsm.NewCommand(nil, &fsm.SetNode{Id: strings.Repeat("x", 300)})
	for _, n := range []int{1, 10, 100} {
		sum := 0
		for range n {
			sum += fsm.Size(big)
		}
		data := read(fsm.Encode(fsm.Level, nil, 0, slices.Repeat([]*fsm.Command{big}, n)))(t)
		if len(data) > sum {
			t.Errorf("%d commands take %d bytes, counted as %d", n, len(data), sum)
		}
	}
}
