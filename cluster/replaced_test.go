package cluster_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// replace registers the owner's process anew, under the same name, as its next incarnation or its copy does.
func (x *takeover) replace() *server {
	x.t.Helper()
	view, err := x.n.View()
	if err != nil {
		x.t.Fatal(err)
	}
	id := view.Position().Cluster
	view.Close()
	nonce := bytes.Repeat([]byte{9}, 16)
	r := propose(x.t, x.n, fsm.NewCommand(nil, &fsm.Register{
		Name: "owner", Nonce: nonce, Cluster: id, Replaces: uint64(x.owner.inc), ReplacedRegistration: lock.Registration(x.owner.nonce),
	}))
	if r.Code != fsm.OK {
		x.t.Fatalf("the registration that replaces: code %d, want OK", r.Code)
	}
	return &server{inc: lock.Incarnation(r.Token), nonce: nonce}
}

// A process keeps its registration in a file. It is cut off, and believes for three seconds more; its successor starts
// from the file and replaces it. The next owner must not be granted meanwhile.
func TestAReplacedIncarnationKeepsItsProfilesWhileItsProcessMayBelieve(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		renew(x.t, x.n, x.owner)
		heard := time.Now()
		x.wall.set(loseAll)
		x.pass(time.Second, nil)
		x.replace()
		x.gone(lock.Evidence, heard, lock.DefaultTiming().Evidence, evidently)
	})
}

// It has been silent for long enough already when it is replaced.
func TestAReplacedIncarnationThatWasSilentForLongEndsWithinTwoSeconds(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		x.wall.set(loseAll)
		x.pass(6*time.Second, nil)
		x.lives("before it was replaced")
		x.replace()
		x.gone(lock.Evidence, time.Now(), 0, 2*time.Second)
	})
}

// A copy of the process that goes on renewing is not confirmed any more, so it stops; else the goodbye would never come true.
func TestAReplacedIncarnationIsNotConfirmed(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		x.replace()
		refused := time.Time{}
		for since := time.Now(); refused.IsZero(); time.Sleep(50 * time.Millisecond) {
			if _, err := x.n.Renew(x.t.Context(), x.owner.inc); err != nil {
				refused = time.Now()
			}
			if time.Since(since) > 2*time.Second {
				t.Fatal("still confirmed two seconds after it was replaced")
			}
		}
		x.wall.set(loseAll)
		x.gone(lock.Evidence, refused, lock.DefaultTiming().Evidence-200*time.Millisecond, evidently)
	})
}

// A new leader did not hear when the replaced one was confirmed last: it counts from its own opening.
func TestANewLeaderCountsTheSilenceOfAReplacedIncarnationAnew(t *testing.T) {
	onThree(t, func(x *takeover, deposed func() time.Time) {
		x.wall.set(loseAll)
		x.pass(3*time.Second, nil)
		x.replace()
		at := deposed()
		x.gone(lock.Evidence, at, lock.DefaultTiming().Evidence, 2*lock.DefaultTiming().Evidence)
	})
}

// The same process goes on: it shows its next incarnation on the port that it holds for its whole life.
func TestAReplacedIncarnationEndsOnceItsSuccessorAnswersOnItsPingPort(t *testing.T) {
	for name, ended := range map[string]func(x *takeover){
		"its stream is open":        func(*takeover) {},
		"its stream was ended here": func(x *takeover) { x.n.NoteStreamEnd(x.stream, false) },
	} {
		t.Run(name, func(t *testing.T) {
			onTakeover(t, "gs", func(x *takeover) {
				renew(x.t, x.n, x.owner)
				ended(x)
				next := x.replace()
				x.port.say(next.inc)
				x.gone(lock.Proof, time.Now(), 0, 2*time.Second)
			})
		})
	}
}

// Any other answer on that port says nothing of one whose stream is open: a proxy may lead to another process.
func TestAReplacedIncarnationIsNotGoneByAnotherAnswerOnItsPingPort(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		renew(x.t, x.n, x.owner)
		heard := time.Now()
		x.replace()
		x.port.say(x.waiter.inc)
		x.gone(lock.Evidence, heard, lock.DefaultTiming().Evidence, evidently)
	})
}
