package lock_test

import (
	"reflect"
	"testing"

	"github.com/profilenode/profilenode/lock"
)

// Four game servers. Tokens of the tests are small numbers: 10, 20 and 30 were given out before, 99 is the command's.
const (
	a, b, c, d = lock.Incarnation(1), lock.Incarnation(2), lock.Incarnation(3), lock.Incarnation(4)
	at         = lock.Token(99)
)

// allBut says that every incarnation is alive but those given.
func allBut(dead ...lock.Incarnation) lock.Alive {
	return func(id lock.Incarnation) bool {
		for _, x := range dead {
			if id == x {
				return false
			}
		}
		return id != 0
	}
}

// owned is a grant to a, which did not wait, with waiters behind it.
func owned(waiters ...lock.Waiter) lock.Grant {
	return lock.Grant{Token: 10, Ticket: 10, Owner: a, Waiters: waiters}
}

func revoked(waiters ...lock.Waiter) lock.Grant {
	g := owned(waiters...)
	g.Revoked, g.Cause = true, lock.Stolen
	return g
}

func waits(server lock.Incarnation, ticket lock.Token) lock.Waiter {
	return lock.Waiter{Server: server, Ticket: ticket}
}

func steals(server lock.Incarnation, ticket lock.Token) lock.Waiter {
	return lock.Waiter{Server: server, Ticket: ticket, Steals: true}
}

func asked(waiters ...lock.Waiter) lock.Grant {
	g := owned(waiters...)
	g.Asked = true
	return g
}

// free is a profile that its owner released, or that was revoked and has lapsed.
func free() lock.Grant { return lock.Grant{Token: 10, Ticket: 10} }

// orphan is a profile that its owner held when its incarnation ended.
func orphan() lock.Grant { return lock.Grant{Token: 10, Ticket: 10, Orphan: true} }

func TestGrant(t *testing.T) {
	allAlive := allBut()
	granted := lock.Outcome{Granted: true}
	queued := func(place int) lock.Outcome { return lock.Outcome{Queued: true, Place: place} }
	stole := func(place int) lock.Outcome { return lock.Outcome{Queued: true, Place: place, Stole: true} }
	robbed := func(o lock.Outcome) lock.Outcome { o.Revoked = true; return o }
	no := func(r lock.Refusal) lock.Outcome { return lock.Outcome{Refusal: r} }
	start := func(server lock.Incarnation, when lock.WhenOwned, alive lock.Alive) func(lock.Grant) (lock.Grant, lock.Outcome) {
		return func(g lock.Grant) (lock.Grant, lock.Outcome) { return g.Start(server, at, when, 2, alive) }
	}
	inherit := func(alive lock.Alive) func(lock.Grant) (lock.Grant, lock.Outcome) {
		return func(g lock.Grant) (lock.Grant, lock.Outcome) { return g.Inherit(at, alive) }
	}
	release := func(server lock.Incarnation, token lock.Token, alive lock.Alive) func(lock.Grant) (lock.Grant, lock.Outcome) {
		return func(g lock.Grant) (lock.Grant, lock.Outcome) { return g.Release(server, token, at, alive) }
	}
	cancel := func(server lock.Incarnation, ticket lock.Token) func(lock.Grant) (lock.Grant, lock.Outcome) {
		return func(g lock.Grant) (lock.Grant, lock.Outcome) { return g.Cancel(server, ticket, at, allAlive) }
	}
	revoke := func(token lock.Token, alive lock.Alive) func(lock.Grant) (lock.Grant, lock.Outcome) {
		return func(g lock.Grant) (lock.Grant, lock.Outcome) { return g.Revoke(token, lock.Stolen, alive) }
	}
	ask := func(token lock.Token, alive lock.Alive) func(lock.Grant) (lock.Grant, lock.Outcome) {
		return func(g lock.Grant) (lock.Grant, lock.Outcome) { return g.Ask(token, alive) }
	}
	lapse := func(token lock.Token) func(lock.Grant) (lock.Grant, lock.Outcome) {
		return func(g lock.Grant) (lock.Grant, lock.Outcome) { return g.Lapse(token, at, allAlive) }
	}
	reclaim := func(server lock.Incarnation, token lock.Token) func(lock.Grant) (lock.Grant, lock.Outcome) {
		return func(g lock.Grant) (lock.Grant, lock.Outcome) { return g.Reclaim(server, token, at) }
	}
	bs := lock.Grant{Token: at, Ticket: 20, Owner: b} // b's after it waited with ticket 20

	tests := []struct {
		name string
		old  lock.Grant
		do   func(lock.Grant) (lock.Grant, lock.Outcome)
		want lock.Grant
		out  lock.Outcome
	}{
		{"a profile that never had an owner is granted", lock.Grant{}, start(a, lock.Wait, allAlive),
			lock.Grant{Token: at, Ticket: at, Owner: a}, granted},
		{"one that was released is granted under a greater token", free(), start(b, lock.Refuse, allAlive),
			lock.Grant{Token: at, Ticket: at, Owner: b}, granted},
		{"an owned one refuses a start that asks to be refused", owned(), start(b, lock.Refuse, allAlive), owned(), no(lock.Owned)},
		{"its owner itself is told that it is owned", owned(), start(a, lock.Wait, allAlive), owned(), no(lock.Owned)},
		{"its owner cannot steal from itself", owned(), start(a, lock.Steal, allAlive), owned(), no(lock.Owned)},
		{"a waiter joins the queue", owned(), start(b, lock.Wait, allAlive), owned(waits(b, at)), queued(1)},
		{"behind those who came first", owned(waits(c, 30)), start(b, lock.Wait, allAlive), owned(waits(c, 30), waits(b, at)), queued(2)},
		{"a full queue takes no waiter", owned(waits(b, 20), waits(c, 30)), start(d, lock.Wait, allAlive),
			owned(waits(b, 20), waits(c, 30)), no(lock.QueueFull)},
		{"but a stealer, which the limit does not keep out", owned(waits(b, 20), waits(c, 30)), start(d, lock.Steal, allAlive),
			revoked(steals(d, at), waits(b, 20), waits(c, 30)), robbed(stole(1))},
		{"and a game server that has a place in it", owned(waits(b, 20), waits(c, 30)), start(c, lock.Wait, allAlive),
			owned(waits(b, 20), waits(c, at)), queued(2)},
		{"a stealer revokes and is next, but is granted nothing yet", owned(waits(b, 20)), start(c, lock.Steal, allAlive),
			revoked(steals(c, at), waits(b, 20)), robbed(stole(1))},
		{"a second stealer revokes nothing, and stands behind the first", revoked(steals(b, 20)), start(c, lock.Steal, allAlive),
			revoked(steals(b, 20), steals(c, at)), stole(2)},
		{"and before those that only wait", revoked(steals(b, 20), waits(d, 25)), start(c, lock.Steal, allAlive),
			revoked(steals(b, 20), steals(c, at), waits(d, 25)), stole(2)},
		{"a waiter for a revoked one waits as usual", revoked(), start(b, lock.Wait, allAlive), revoked(waits(b, at)), queued(1)},

		{"a game server that waits again keeps its one place, under its new ticket", owned(waits(b, 20), waits(c, 30)),
			start(b, lock.Wait, allAlive), owned(waits(b, at), waits(c, 30)), queued(1)},
		{"a waiter that steals goes to the stealers, behind earlier ones", revoked(steals(d, 20), waits(c, 30), waits(b, 40)),
			start(b, lock.Steal, allAlive), revoked(steals(d, 20), steals(b, at), waits(c, 30)), stole(2)},
		{"a stealer that then only waits stays among the stealers", revoked(steals(b, 20), steals(c, 30), waits(d, 40)),
			start(c, lock.Wait, allAlive), revoked(steals(b, 20), steals(c, at), waits(d, 40)), queued(2)},
		{"a stealer that steals again keeps its place", revoked(steals(b, 20), steals(c, 30)), start(b, lock.Steal, allAlive),
			revoked(steals(b, at), steals(c, 30)), queued(1)},
		{"and revokes the owner that was granted since", owned(steals(b, 20)), start(b, lock.Steal, allAlive),
			revoked(steals(b, at)), robbed(queued(1))},
		{"the Cancel of the ticket before is answered: not waiting", owned(waits(b, 30)), cancel(b, 20), owned(waits(b, 30)), no(lock.NotWaiting)},
		{"a start that asks to be refused leaves its place alone", owned(waits(b, 20)), start(b, lock.Refuse, allAlive),
			owned(waits(b, 20)), no(lock.Owned)},
		{"a stealer that is granted before the next stealer is not revoked", revoked(steals(b, 20), steals(c, 30)), release(a, 10, allAlive),
			lock.Grant{Token: at, Ticket: 20, Owner: b, Waiters: []lock.Waiter{steals(c, 30)}}, granted},

		{"a release frees the profile, and the token stays", owned(), release(a, 10, allAlive), free(), lock.Outcome{}},
		{"a release grants to the first waiter", owned(waits(b, 20), waits(c, 30)), release(a, 10, allAlive),
			lock.Grant{Token: at, Ticket: 20, Owner: b, Waiters: []lock.Waiter{waits(c, 30)}}, granted},
		{"to the first living waiter", owned(waits(b, 20), waits(c, 30)), release(a, 10, allBut(b)),
			lock.Grant{Token: at, Ticket: 30, Owner: c}, granted},
		{"a revoked owner may say that it is over", revoked(waits(b, 20)), release(a, 10, allAlive), bs, granted},
		{"a release under an old token is fenced", owned(waits(b, 20)), release(a, 9, allAlive), owned(waits(b, 20)), no(lock.Fenced)},
		{"a release by another game server is fenced", owned(), release(b, 10, allAlive), owned(), no(lock.Fenced)},
		{"a second release is fenced", free(), release(a, 10, allAlive), free(), no(lock.Fenced)},

		{"a cancelled waiter leaves the queue", owned(waits(b, 20), waits(c, 30)), cancel(b, 20), owned(waits(c, 30)), lock.Outcome{}},
		{"a game server cannot cancel for another", owned(waits(b, 20)), cancel(c, 20), owned(waits(b, 20)), no(lock.NotWaiting)},
		{"a ticket that never was is not waiting", owned(), cancel(b, 20), owned(), no(lock.NotWaiting)},
		{"a ticket that has become a grant ends it", lock.Grant{Token: 30, Ticket: 20, Owner: b, Waiters: []lock.Waiter{waits(c, 31)}},
			cancel(b, 20), lock.Grant{Token: at, Ticket: 31, Owner: c}, granted},
		{"the token of a grant is not its ticket", lock.Grant{Token: 30, Ticket: 20, Owner: b}, cancel(b, 30),
			lock.Grant{Token: 30, Ticket: 20, Owner: b}, no(lock.NotWaiting)},
		{"a waiter that leaves a dead owner's queue is not granted on its way out", owned(waits(b, 20), waits(c, 30)),
			func(g lock.Grant) (lock.Grant, lock.Outcome) { return g.Cancel(b, 20, at, allBut(a)) },
			lock.Grant{Token: at, Ticket: 30, Owner: c}, granted},
		{"a grant that is over has no ticket any more", lock.Grant{Token: 30, Ticket: 20}, cancel(b, 20),
			lock.Grant{Token: 30, Ticket: 20}, no(lock.NotWaiting)},

		{"a revocation keeps the owner until it lets go", owned(waits(b, 20)), revoke(10, allAlive), revoked(waits(b, 20)),
			lock.Outcome{Revoked: true}},
		{"it is superseded when done", revoked(), revoke(10, allAlive), revoked(), no(lock.Superseded)},
		{"and when the token has moved on", owned(), revoke(9, allAlive), owned(), no(lock.Superseded)},
		{"and when it has no owner", free(), revoke(10, allAlive), free(), no(lock.Superseded)},
		{"and when the owner is dead", owned(), revoke(10, allBut(a)), owned(), no(lock.Superseded)},

		{"an owner that is asked to let go still owns it", owned(), ask(10, allAlive), asked(), lock.Outcome{Asked: true}},
		{"and may be asked again", asked(waits(b, 20)), ask(10, allAlive), asked(waits(b, 20)), lock.Outcome{Asked: true}},
		{"a revoked one is not asked any more", revoked(), ask(10, allAlive), revoked(), no(lock.Superseded)},
		{"nor one whose token has moved on", owned(), ask(9, allAlive), owned(), no(lock.Superseded)},
		{"nor a dead one", owned(), ask(10, allBut(a)), owned(), no(lock.Superseded)},
		{"nor is a profile without an owner", free(), ask(10, allAlive), free(), no(lock.Superseded)},
		{"the next owner has not been asked", asked(waits(b, 20)), release(a, 10, allAlive), bs, granted},
		{"nor has the next one after a profile without an owner", asked(), release(a, 10, allAlive), free(), lock.Outcome{}},

		{"a lapse grants to the first waiter", revoked(waits(b, 20)), lapse(10), bs, granted},
		{"or frees the profile", revoked(), lapse(10), free(), lock.Outcome{}},
		{"an owner that was not revoked does not lapse", owned(waits(b, 20)), lapse(10), owned(waits(b, 20)), no(lock.Superseded)},
		{"nor another token", revoked(), lapse(9), revoked(), no(lock.Superseded)},
		{"nor a profile without owner", free(), lapse(10), free(), no(lock.Superseded)},

		{"a living owner keeps its profile", owned(waits(b, 20)), inherit(allAlive), owned(waits(b, 20)), lock.Outcome{}},
		{"a revoked one too", revoked(waits(b, 20)), inherit(allAlive), revoked(waits(b, 20)), lock.Outcome{}},
		{"a dead owner's profile goes to the first living waiter", owned(waits(b, 20), waits(c, 30)), inherit(allBut(a, b)),
			lock.Grant{Token: at, Ticket: 30, Owner: c}, granted},
		{"not revoked, though the dead one was", revoked(waits(b, 20)), inherit(allBut(a)), bs, granted},
		{"a dead owner that was revoked leaves it free", revoked(), inherit(allBut(a)), free(), lock.Outcome{}},
		{"dead waiters leave", owned(waits(b, 20), waits(c, 30)), inherit(allBut(b)), owned(waits(c, 30)), lock.Outcome{}},
		{"all dead: no owner, no waiters", owned(waits(b, 20)), inherit(allBut(a, b)), orphan(), lock.Outcome{}},
		{"a dead owner without waiters leaves an orphan", owned(), inherit(allBut(a)), orphan(), lock.Outcome{}},
		{"which it stays", orphan(), inherit(allBut(a)), orphan(), lock.Outcome{}},
		{"and which any game server may be granted", orphan(), start(b, lock.Refuse, allBut(a)), lock.Grant{Token: at, Ticket: at, Owner: b}, granted},

		{"an orphan is reclaimed under a new token", orphan(), reclaim(c, 10), lock.Grant{Token: at, Ticket: at, Owner: c},
			lock.Outcome{Granted: true, Reclaimed: true}},
		{"not under another one", orphan(), reclaim(c, 9), orphan(), no(lock.Superseded)},
		{"what was released is not reclaimed", free(), reclaim(c, 10), free(), no(lock.Superseded)},
		{"nor one that another game server was granted since", lock.Grant{Token: 30, Ticket: 30, Owner: b}, reclaim(c, 10),
			lock.Grant{Token: 30, Ticket: 30, Owner: b}, no(lock.Superseded)},
		{"also if that one has let go of it", lock.Grant{Token: 30, Ticket: 30}, reclaim(c, 10), lock.Grant{Token: 30, Ticket: 30}, no(lock.Superseded)},
		{"or has died with it", lock.Grant{Token: 30, Ticket: 30, Orphan: true}, reclaim(c, 10), lock.Grant{Token: 30, Ticket: 30, Orphan: true},
			no(lock.Superseded)},
		{"nor what a living one owns", owned(), reclaim(c, 10), owned(), no(lock.Superseded)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := copied(test.old)
			got, out := test.do(test.old)
			if out != test.out {
				t.Errorf("outcome is %+v, want %+v", out, test.out)
			}
			if !same(got, test.want) {
				t.Errorf("grant is\n%+v, want\n%+v", got, test.want)
			}
			if !same(test.old, before) {
				t.Errorf("the old grant was changed to %+v", test.old)
			}
		})
	}
}

func TestMayWrite(t *testing.T) {
	tests := []struct {
		name   string
		grant  lock.Grant
		server lock.Incarnation
		token  lock.Token
		want   lock.Refusal
	}{
		{"the owner under its token", owned(), a, 10, lock.None},
		{"the owner under an older token", owned(), a, 9, lock.Fenced},
		{"the owner under a token that is not given yet", owned(), a, 11, lock.Fenced},
		{"another game server that knows the token", owned(), b, 10, lock.Fenced},
		{"a revoked owner", revoked(), a, 10, lock.Fenced},
		{"an owner that released it", free(), a, 10, lock.Fenced},
		{"a waiter with its ticket", owned(waits(b, 20)), b, 20, lock.Fenced},
	}
	for _, test := range tests {
		if got := test.grant.MayWrite(test.server, test.token); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestInForce(t *testing.T) {
	if free().InForce(allBut()) {
		t.Error("a profile without owner is in force")
	}
	if owned().InForce(allBut(a)) {
		t.Error("a dead owner's grant is in force")
	}
	if !owned().InForce(allBut()) || !revoked().InForce(allBut()) {
		t.Error("a living owner's grant is not in force")
	}
}

// Two commands of one entry never share a token, and a later entry's are greater.
func TestTokenAt(t *testing.T) {
	order := []lock.Token{
		lock.TokenAt(1, 0), lock.TokenAt(1, 1), lock.TokenAt(1, lock.MaxPlace), lock.TokenAt(2, 0), lock.TokenAt(1<<40, lock.MaxPlace),
	}
	for i := 1; i < len(order); i++ {
		if order[i] <= order[i-1] {
			t.Errorf("token %d is %d, not above %d", i, order[i], order[i-1])
		}
	}
	if order[0] == 0 {
		t.Error("the first token is no token")
	}
}

// Only so many stealers are admitted past the limit, since the row of a grant is written whole.
func TestStealersAreBounded(t *testing.T) {
	g := owned()
	for i := range lock.MaxStealers {
		next, out := g.Start(lock.Incarnation(100+i), at+lock.Token(i), lock.Steal, 2, allBut())
		if !out.Stole || out.Place != i+1 {
			t.Fatalf("stealer %d became %+v", i, out)
		}
		g = next
	}
	last := at + lock.MaxStealers
	if _, out := g.Start(b, last, lock.Steal, 2, allBut()); out.Refusal != lock.QueueFull {
		t.Errorf("one stealer more became %+v, want that the queue is full", out)
	}
	if next, out := g.Start(100, last, lock.Steal, 2, allBut()); out.Place != 1 || len(next.Waiters) != lock.MaxStealers {
		t.Errorf("a stealer that has a place became %+v", out)
	}
}

func copied(g lock.Grant) lock.Grant {
	g.Waiters = append([]lock.Waiter(nil), g.Waiters...)
	return g
}

func same(x, y lock.Grant) bool { return reflect.DeepEqual(copied(x), copied(y)) }
