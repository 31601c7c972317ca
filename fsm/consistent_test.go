package fsm_test

import (
	"crypto/sha256"
	"maps"
	"testing"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// look takes a view for the length of a test's step.
func look(t testing.TB, m *fsm.Machine, f func(v *fsm.View)) {
	t.Helper()
	v, err := m.View()
	must(t, err)
	defer func() { must(t, v.Close()) }()
	f(v)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func get[T any](t testing.TB, value T, err error) T {
	t.Helper()
	must(t, err)
	return value
}

// checkTables holds the tables that repeat a fact against those that it comes from.
func checkTables(t testing.TB, m *fsm.Machine) {
	t.Helper()
	read(m.CheckRemembered())(t)
	look(t, m, func(v *fsm.View) {
		type book struct {
			sessions         int
			held             uint64
			owned, contested map[fsm.ProfileName]bool
			mail             map[fsm.ProfileName]uint64
		}
		books := map[lock.Incarnation]*book{}
		of := func(id lock.Incarnation) *book {
			if books[id] == nil {
				books[id] = &book{owned: map[fsm.ProfileName]bool{}, contested: map[fsm.ProfileName]bool{}, mail: map[fsm.ProfileName]uint64{}}
			}
			return books[id]
		}
		alive := map[lock.Incarnation]bool{}
		servers := read(v.Servers())(t)
		for _, s := range servers {
			alive[s.Incarnation] = s.Alive
		}
		living := map[lock.Incarnation]bool{}
		for _, s := range read(v.Living())(t) {
			if !alive[s.Incarnation] || living[s.Incarnation] {
				t.Errorf("%s is listed as alive, and is not, or twice", s.Name)
			}
			living[s.Incarnation] = true
		}
		for _, s := range servers {
			if s.Alive && !living[s.Incarnation] {
				t.Errorf("%s is not listed as alive", s.Name)
			}
		}
		contested := 0
		for _, p := range read(v.Profiles())(t) {
			g := read(v.Grant(p.Store, p.Key))(t)
			if g.Owner != 0 {
				b := of(g.Owner)
				b.owned[p] = alive[g.Owner]
				if box := read(v.Inbox(p.Store, p.Key))(t); alive[g.Owner] && box.Waiting > 0 {
					b.mail[p] = box.Last
				}
				if !g.Revoked {
					b.sessions++
					b.held = lock.HeldHash(b.held, p.Store, p.Key, g.Token)
				}
				if b.contested[p] = g.Revoked || g.Asked || len(g.Waiters) > 0; b.contested[p] {
					contested++
				}
			} else if len(g.Waiters) > 0 || g.Revoked || g.Asked || g.Cause != 0 {
				t.Errorf("%v has no owner, yet its grant is %+v", p, g)
			}
			checkProfile(t, v, p)
		}
		for _, s := range servers {
			b := of(s.Incarnation)
			if s.Sessions != b.sessions || s.Held != b.held {
				t.Errorf("%s holds %d %x, its grants say %d %x", s.Name, s.Sessions, s.Held, b.sessions, b.held)
			}
			if answers := len(read(v.Answers(s.Incarnation))(t)); s.Owned != len(b.owned) || s.Answers != answers {
				t.Errorf("%s counts %d grants and %d answers, it has %d and %d", s.Name, s.Owned, s.Answers, len(b.owned), answers)
			}
			tokens, _, err := v.TokensAfter(s.Incarnation, "", "", 1<<20)
			must(t, err)
			for _, own := range tokens {
				g := read(v.Grant(own.Store, own.Key))(t)
				if g.Owner != s.Incarnation || g.Token != own.Token || g.Ticket != own.Ticket {
					t.Errorf("%s is listed as owner of %s/%s under %d for %d, the grant is %+v", s.Name, own.Store, own.Key, own.Token, own.Ticket, g)
				}
			}
			for _, g := range read(v.GrantsOf(s.Incarnation))(t) {
				if p := (fsm.ProfileName{Store: g.Store, Key: g.Key}); !b.owned[p] {
					t.Errorf("%s is listed as owner of %v", s.Name, p)
				} else {
					delete(b.owned, p)
				}
			}
			for p, living := range b.owned {
				if living {
					t.Errorf("%s is not listed as owner of %v", s.Name, p)
				}
			}
			mail := map[fsm.ProfileName]uint64{}
			for _, m := range read(v.OwnedInboxes(s.Incarnation, 1000))(t) {
				mail[fsm.ProfileName{Store: m.Store, Key: m.Key}] = m.Last
			}
			if !maps.Equal(mail, b.mail) {
				t.Errorf("%s has mail in %v, its profiles say %v", s.Name, mail, b.mail)
			}
			contestedOf := 0
			for _, is := range b.contested {
				if is {
					contestedOf++
				}
			}
			if listed := read(v.Contested(s.Incarnation, 0))(t); len(listed) != contestedOf || s.Contested != contestedOf {
				t.Errorf("%s has %d contested profiles, its row counts %d, and %d are listed", s.Name, contestedOf, s.Contested, len(listed))
			}
			for _, g := range read(v.Contested(s.Incarnation, 0))(t) {
				if p := (fsm.ProfileName{Store: g.Store, Key: g.Key}); !b.contested[p] {
					t.Errorf("%v of %s is listed as contested", p, s.Name)
				}
			}
			parts, kept, err := v.Parts(s.Incarnation)
			must(t, err)
			for _, p := range parts {
				kept -= uint64(len(p.Bytes))
			}
			if kept != 0 {
				t.Errorf("the count of %s's parts is off by %d bytes", s.Name, int64(kept))
			}
		}
		if got := len(read(v.Contested(0, 0))(t)); got != contested {
			t.Errorf("%d profiles are listed as contested, %d are", got, contested)
		}
	})
}

func checkProfile(t testing.TB, v *fsm.View, p fsm.ProfileName) {
	t.Helper()
	messages := read(v.AllMessages(p.Store, p.Key, 0, 0))(t)
	var want fsm.Inbox
	for _, m := range messages {
		want.Bytes += uint64(len(m.Body))
		if m.Panics < 3 {
			want.Waiting++
		} else {
			want.SetAside++
		}
	}
	if got := read(v.Inbox(p.Store, p.Key))(t); got.Waiting != want.Waiting || got.SetAside != want.SetAside || got.Bytes != want.Bytes {
		t.Errorf("the mailbox of %v is %+v, and it has %+v", p, got, want)
	}
	if bodies := read(v.Bodies(p.Store, p.Key))(t); bodies != len(messages) {
		t.Errorf("%d messages of %v have %d bodies", len(messages), p, bodies)
	}
	record, ok, err := v.Profile(p.Store, p.Key)
	must(t, err)
	if !ok {
		return
	}
	data, ok, err := v.Data(p.Store, p.Key, record.Revision)
	must(t, err)
	if !ok {
		t.Errorf("the data of %v at its current revision %d is not kept", p, record.Revision)
	}
	if record.Exists && (sha256.Sum256(data) != record.Hash || uint64(len(data)) != record.Size) {
		t.Errorf("the data of %v is not what its hash says", p)
	}
	history := read(v.History(p.Store, p.Key))(t)
	for i, h := range history {
		if h.Revision != record.Oldest+uint64(i) {
			t.Errorf("the history of %v begins at %d, and its place %d holds %d", p, record.Oldest, i, h.Revision)
		}
	}
	if n := len(history); n == 0 || history[n-1].Revision != record.Revision {
		t.Errorf("the history of %v does not end at its revision %d", p, record.Revision)
	}
}

// read takes a value and an error as a call returns them.
func read[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		return get(t, value, err)
	}
}
