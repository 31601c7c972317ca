package fsm_test

import (
	"fmt"
	"testing"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// What a tick of the failure detector reads depends on the game servers that live and the profiles that are contested now, not
// on those that were. A scan would walk the tombstones of all of them.
func TestATickReadsTheLivingAlone(t *testing.T) {
	h := newHeavy(t)
	defer func() { must(t, h.m.Close()) }()
	living := h.servers(3)
	for i := range 2000 {
		ended := h.server(fmt.Sprintf("e%07d", i)) // eight bytes are its nonce
		h.apply(h.ask(ended, &fsm.EndServer{}))
	}
	owner := 0
	token := h.start(living[owner], "p")
	for range 2000 { // hand-offs
		next := (owner + 1) % len(living)
		h.apply(h.ask(living[next], &fsm.StartSession{Store: "players", Key: "p"}))
		h.apply(h.ask(living[owner], &fsm.Release{Store: "players", Key: "p", Token: token}))
		owner, token = next, uint64(lock.TokenAt(h.index, 0))
	}
	look(t, h.m, func(v *fsm.View) {
		reads := v.CountReads()
		if rows := read(v.Living())(t); len(rows) != len(living) {
			t.Errorf("%d incarnations live, want %d", len(rows), len(living))
		}
		if rows := read(v.Contested(0, 0))(t); len(rows) != 0 {
			t.Errorf("%d profiles are contested, want none", len(rows))
		}
		for _, id := range living {
			if rows := read(v.Contested(lock.Incarnation(id), 0))(t); len(rows) != 0 {
				t.Errorf("%d profiles of one are contested, want none", len(rows))
			}
		}
		if most := 20; reads.Scans > 0 || reads.Gets > most {
			t.Errorf("a tick makes %d scans and reads %d rows, want none and at most %d", reads.Scans, reads.Gets, most)
		}
	})
	h.apply(h.ask(living[(owner+1)%3], &fsm.StartSession{Store: "players", Key: "p"}))
	look(t, h.m, func(v *fsm.View) {
		reads := v.CountReads()
		if rows := read(v.Contested(0, 0))(t); len(rows) != 1 || reads.Scans > 0 {
			t.Errorf("%d profiles are contested after %d scans, want 1 and none", len(rows), reads.Scans)
		}
	})
	checkTables(t, h.m)
}

// Members leave a list from its begin, its middle and its end, until none is left.
func TestAListKeepsItsMembersWhateverPlaceIsLeft(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 4, 0, 3, 1}} {
		h := newHeavy(t)
		left := h.servers(5)
		for n, i := range order {
			h.apply(h.ask(left[i], &fsm.EndServer{}))
			look(t, h.m, func(v *fsm.View) {
				if got, want := len(read(v.Living())(t)), len(order)-n-1; got != want {
					t.Errorf("in order %v: %d live after %d ends, want %d", order, got, n+1, want)
				}
			})
			checkTables(t, h.m)
		}
		must(t, h.m.Close())
	}
}

// Sessions are found by their owners: a page reads none of the profiles that had an owner once.
func TestSessionsAreFoundByTheirOwners(t *testing.T) {
	h := newHeavy(t)
	defer func() { must(t, h.m.Close()) }()
	s := h.servers(3)
	const profiles = 3000
	for i := range profiles {
		key := fmt.Sprintf("p%04d", i) // one of a thousand is kept, by the first game server
		token := h.start(s[i%2], key)
		if i%1000 != 0 {
			h.apply(h.ask(s[i%2], &fsm.Release{Store: "players", Key: key, Token: token}))
		}
	}
	h.start(s[2], "x")
	h.apply(h.ask(s[2], &fsm.EndServer{}))
	look(t, h.m, func(v *fsm.View) {
		reads := v.CountReads()
		rows, more, err := v.Sessions("", fsm.SessionPlace{}, 1000)
		must(t, err)
		if len(rows) != profiles/1000 || more {
			t.Errorf("%d sessions and more: %t, want %d", len(rows), more, profiles/1000)
		}
		if reads.Gets > 50 || reads.Scans > 1 {
			t.Errorf("a page of %d sessions reads %d rows and makes %d scans", len(rows), reads.Gets, reads.Scans)
		}
	})
}

// A store in which many profiles were removed is listed in pages that read a bounded count of rows.
func TestAListOfRemovedProfilesComesInPages(t *testing.T) {
	h := newHeavy(t)
	defer func() { must(t, h.m.Close()) }()
	s := h.server("gs")
	const removed = 25_000
	for i := 0; i < removed; i += 500 {
		var sets, removes []*fsm.Command
		for n := range 500 {
			sets = append(sets, h.ask(s, &fsm.Set{Store: "players", Key: fmt.Sprintf("p%05d", i+n), Data: data("x")}))
		}
		for n := range 500 {
			removes = append(removes, h.ask(s, &fsm.Remove{Store: "players", Key: fmt.Sprintf("p%05d", i+n), Expected: 1}))
		}
		h.apply(sets...)
		h.apply(removes...)
	}
	h.apply(h.ask(s, &fsm.Set{Store: "players", Key: "z", Data: data("x")}))
	look(t, h.m, func(v *fsm.View) {
		var keys []string
		pages := 0
		for from, more := "", true; more; pages++ {
			page, next, err := v.List("players", "", from, 1000)
			must(t, err)
			for _, p := range page {
				keys = append(keys, p.Key)
			}
			if next != "" && next <= from {
				t.Fatalf("after %q a page goes on after %q", from, next)
			}
			from, more = next, next != ""
		}
		if pages != 3 || len(keys) != 1 || keys[0] != "z" {
			t.Errorf("%d pages list %v, want 3 and z", pages, keys)
		}
	})
}
