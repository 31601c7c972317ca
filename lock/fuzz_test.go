package lock_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/profilenode/profilenode/lock"
)

const (
	servers    = 6
	mostWaiter = 3
	longest    = 80 // operations of one script
)

// lockRun drives Grant and its reference model through the same operations, and records which tickets must be waiting.
type lockRun struct {
	t       *testing.T
	grant   lock.Grant
	model   referenceProfile
	at      lock.Token
	known   []lock.Token        // every token and ticket so far
	waiting map[lock.Token]wait // tickets that must be in the queue
	story   []string
}

// wait is what a ticket stands for: the game server's place is from its first entry in its line.
type wait struct {
	server lock.Incarnation
	steals bool
	since  lock.Token
}

func (r *lockRun) alive(id lock.Incarnation) bool { return id != 0 && !r.model.dead[id] }

func (r *lockRun) fail(format string, args ...any) {
	r.t.Helper()
	for _, line := range r.story {
		r.t.Log(line)
	}
	r.t.Fatalf(format, args...)
}

// FuzzLock reads three bytes as one operation: its kind, its game server, its token.
func FuzzLock(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x01\x00\x03\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x06\x00\x00\x09\x01\x00\x03\x01\x00"))
	f.Add([]byte("\x00\x00\x00\x00\x01\x00\x00\x02\x00\x06\x00\x00\x07\x01\x00"))
	f.Add([]byte("\x00\x00\x00\x02\x01\x00\x02\x02\x00\x05\x00\x00\x04\x02\x02\x00\x03\x00"))
	f.Add([]byte("\x00\x00\x00\x00\x01\x00\x00\x02\x00\x06\x00\x00\x00\x03\x00\x06\x01\x00\x00\x03\x00"))
	f.Fuzz(runScript)
}

// The same with random scripts, so that each run of the tests tries some.
func TestLockAgainstItsTwin(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		script := make([]byte, 3*(1+random.IntN(longest)))
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		runScript(t, script)
	}
}

func runScript(t *testing.T, script []byte) {
	r := &lockRun{t: t, waiting: map[lock.Token]wait{}, model: referenceProfile{dead: map[lock.Incarnation]bool{}}}
	for step := 0; step < longest && len(script) >= 3; step++ {
		r.runOperation(script[0], script[1], script[2])
		script = script[3:]
	}
}

func (r *lockRun) runOperation(what, who, which byte) {
	r.at += 1 + lock.Token(which>>6)
	server := lock.Incarnation(1 + int(who)%servers)
	token := lock.Token(0)
	if len(r.known) > 0 {
		token = r.known[len(r.known)-1-int(which)%len(r.known)]
	}
	before := copied(r.grant)

	brought := r.grant
	if what%10 != 4 { // Cancel brings the grant up to date itself
		var first lock.Outcome
		brought, first = r.grant.Inherit(r.at, r.alive)
		if got := r.model.bringUpToDate(r.at); got != first.Granted {
			r.fail("inherit granted %v, the model %v", first.Granted, got)
		}
		r.checkStep(before, brought, first, true)
	}
	kept := copied(brought)
	var next lock.Grant
	var out, want lock.Outcome
	switch what % 10 {
	case 0, 1, 2:
		when := lock.WhenOwned(what % 10)
		r.say("start %d when %d", server, when)
		next, out = brought.Start(server, r.at, when, mostWaiter, r.alive)
		want = r.model.start(server, r.at, when, mostWaiter)
		r.known = append(r.known, r.at)
		if out.Queued {
			mine := wait{server, when == lock.Steal, r.at}
			for ticket, old := range r.waiting {
				if old.server == server {
					delete(r.waiting, ticket) // it waits no more: checkStep fails if it stays in the queue
					if old.steals || !mine.steals {
						mine = old
					}
				}
			}
			r.waiting[r.at] = mine
		}
	case 3:
		r.say("release %d token %d", server, token)
		next, out = brought.Release(server, token, r.at, r.alive)
		want = r.model.release(server, token, r.at)
	case 4:
		r.say("cancel %d ticket %d", server, token)
		if r.waiting[token].server == server {
			delete(r.waiting, token) // checkStep fails if it stays in the queue
		}
		next, out = brought.Cancel(server, token, r.at, r.alive)
		want = r.model.cancel(server, token, r.at)
		if out.Refusal == lock.NotWaiting && !same(next, brought) {
			r.fail("a refused cancel changed the grant to %+v", next)
		}
	case 5:
		r.say("revoke %d", token)
		cause := lock.Cause(1 + int(which)%(lock.Causes-1))
		next, out = brought.Revoke(token, cause, r.alive)
		want = r.model.revoke(token, cause)
	case 6:
		next = brought
		if which < 64 { // seldom, or no game server would be left for the rest of the script
			r.say("kill %d", server)
			r.model.dead[server] = true
		}
	case 7:
		r.say("lapse %d", token)
		next, out = brought.Lapse(token, r.at, r.alive)
		want = r.model.lapse(token, r.at)
	case 8:
		r.say("ask %d", token)
		next, out = brought.Ask(token, r.alive)
		want = r.model.ask(token)
	case 9:
		r.say("reclaim %d token %d", server, token)
		next, out = brought.Reclaim(server, token, r.at)
		want = r.model.reclaim(server, token, r.at)
		r.known = append(r.known, r.at)
	}
	if out != want {
		r.fail("outcome is %+v, the model's %+v", out, want)
	}
	if !same(brought, kept) {
		r.fail("the old grant was changed to %+v", brought)
	}
	ownCancel := what%10 == 4 && brought.Owner == server && brought.Ticket == token
	letGo := what%10 == 3 || ownCancel || what%10 == 7 && brought.Revoked
	r.checkStep(brought, next, out, letGo || brought.Owner == 0)
	r.grant = next
	if got, want := r.grant, r.model.grant(); !same(got, want) {
		r.fail("grant is\n%+v, the model's\n%+v", got, want)
	}
	for id := lock.Incarnation(1); id <= servers; id++ {
		for _, token := range r.known {
			if got, want := r.grant.MayWrite(id, token) == lock.None, r.model.mayWrite(id, token); got != want {
				r.fail("%d may write under %d: %v, the model says %v", id, token, got, want)
			}
		}
	}
}

// checkStep checks the invariants of one step without the model: tokens rise, no owner loses its grant that did not let go,
// the queue is served in order, and no waiter is lost.
func (r *lockRun) checkStep(old, next lock.Grant, out lock.Outcome, mayMove bool) {
	if next.Token < old.Token || (next.Token != old.Token) != out.Granted {
		r.fail("token went from %d to %d, granted %v", old.Token, next.Token, out.Granted)
	}
	if out.Granted {
		if r.alive(old.Owner) && !mayMove {
			r.fail("the grant of %d was given to %d though it lives and did not let go", old.Owner, next.Owner)
		}
		served, waited := r.waiting[next.Ticket]
		if waited {
			delete(r.waiting, next.Ticket)
			for _, w := range old.Waiters {
				other, still := r.waiting[w.Ticket]
				if !still || !r.alive(w.Server) {
					continue
				}
				if other.steals && !served.steals || other.steals == served.steals && other.since < served.since {
					r.fail("ticket %d was served before %d of %d", next.Ticket, w.Ticket, w.Server)
				}
			}
		} else if len(old.Waiters) > 0 && r.anyAlive(old.Waiters) {
			r.fail("token %d went to %d past the queue %v", next.Token, next.Owner, old.Waiters)
		}
	}
	inQueue, placed := map[lock.Token]bool{}, map[lock.Incarnation]bool{}
	for _, w := range next.Waiters {
		if inQueue[w.Ticket] {
			r.fail("ticket %d waits twice", w.Ticket)
		}
		if inQueue[w.Ticket] = true; placed[w.Server] {
			r.fail("%d waits twice", w.Server)
		}
		placed[w.Server] = true
		if _, ok := r.waiting[w.Ticket]; !ok {
			r.fail("ticket %d waits, though it was granted or cancelled", w.Ticket)
		}
	}
	for _, w := range old.Waiters {
		_, still := r.waiting[w.Ticket]
		if still && !r.alive(w.Server) && !inQueue[w.Ticket] {
			delete(r.waiting, w.Ticket)
			still = false
		}
		if still && !inQueue[w.Ticket] {
			r.fail("ticket %d of %d was lost", w.Ticket, w.Server)
		}
	}
}

func (r *lockRun) anyAlive(waiters []lock.Waiter) bool {
	for _, w := range waiters {
		if r.alive(w.Server) {
			return true
		}
	}
	return false
}

func (r *lockRun) say(format string, args ...any) {
	r.story = append(r.story, fmt.Sprintf("%d: ", r.at)+fmt.Sprintf(format, args...))
}
