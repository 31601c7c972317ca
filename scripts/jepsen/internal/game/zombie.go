package game

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/internal/wire"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// The ways in which a raw game server loses its sessions.
const (
	lostStolen      = "stolen"
	lostLate        = "hand-off expired"
	lostProof       = "proof"
	lostSilence     = "silence"
	lostOverwritten = "overwritten"

	oldBase = "not lost, on an old base" // no way to lose a session: the write is refused for its base
)

// zombiePrefix begins the writer of everything that a zombie tries to store.
const zombiePrefix = "zombie:"

const (
	zombieSessions = 6                // of one raw game server, lost in one way
	zombieWrites   = 40               // under each lost token
	loseLimit      = 45 * time.Second // more than a lease, and than the time for a hand-off
)

// playZombie lets a raw game server lose its sessions in one way, and then write under each of its tokens, on the base that it knows and
// on the current one, under new numbers and under one that is settled. Not one may land.
func playZombie(ctx context.Context, w *worker) {
	way := []string{lostStolen, lostLate, lostProof, lostSilence, lostOverwritten}[w.random.IntN(5)]
	ctx, cancel := context.WithTimeout(ctx, loseLimit)
	defer cancel()
	defer context.AfterFunc(w.game.finishing, cancel)()
	zombie, err := startRawServer(ctx, w, way == lostProof)
	if err != nil {
		w.pause(ctx, thinkTime)
		return
	}
	defer zombie.close()
	var lost []*rawSession
	for range zombieSessions {
		s := zombie.startSession(ctx, w, "z-"+w.unique("p"))
		if s == nil {
			continue
		}
		before := s.revision
		if zombie.saveOnce(ctx, w, s) { // a save on the base before that one is refused, though the session is in force
			w.writeAsZombie(ctx, zombie, oldBase, s, before, 1)
		}
		lost = append(lost, s)
	}
	switch way {
	case lostSilence:
		zombie.stopRenewing()
	case lostProof:
		zombie.stopRenewing()
		_ = zombie.ping.Close()
	}
	var writing sync.WaitGroup
	for i, l := range lost {
		branch := &worker{game: w.game, name: fmt.Sprintf("%s.%d-%d", w.name, w.count, i), random: rand.New(rand.NewPCG(w.random.Uint64(), 0))}
		writing.Go(func() {
			next := branch.loseSession(ctx, l.key, way)
			if next == nil {
				return
			}
			branch.writeAsZombie(ctx, zombie, way, l, l.revision, zombieWrites)
			next.end(ctx)
			branch.writeAsZombie(ctx, zombie, way, l, l.revision, zombieWrites) // nobody owns it now
			if zombie.startSession(ctx, branch, l.key) != nil {                 // it owns it again, under another token
				branch.writeAsZombie(ctx, zombie, way, l, l.revision, zombieWrites)
			}
		})
	}
	writing.Wait()
}

// loseSession makes another game server the owner, in one way; nil: it does not own it, and the way cannot be said to have been taken.
func (w *worker) loseSession(ctx context.Context, key, way string) *session {
	ifOwned := client.IfOwnedWait
	switch way {
	case lostStolen:
		ifOwned = client.IfOwnedSteal
	case lostOverwritten:
		w.set(ctx, key, history.Doc{Writer: w.unique("set"), Seq: 1}, history.AnyRevision, client.Force())
	}
	s := w.startSessionWithin(ctx, key, ifOwned, loseLimit)
	if s == nil {
		return nil
	}
	if s.change(func(*history.Doc) {}) {
		_ = s.save(ctx)
	}
	return s
}

// writeAsZombie writes so many times under a session's token: on a base, and but for the first time every other time on the current one.
func (w *worker) writeAsZombie(ctx context.Context, zombie *rawServer, way string, s *rawSession, base uint64, writes int) {
	key, token := s.key, s.token
	var request *profilev1.SaveRequest // the last one, with its number
	var number uint64
	var doc history.Doc
	for i := range writes {
		if ctx.Err() != nil {
			return
		}
		current := i%2 == 1
		at := base
		if current {
			if revision, ok := w.currentRevision(ctx, key); ok {
				at = revision
			}
		}
		if i%8 != 7 || request == nil { // else a copy of the last one, which is late: its number is settled
			doc = history.Doc{Writer: zombiePrefix + w.unique("z"), Seq: 1}
			made, err := makeSave(key, token, at, doc)
			if err != nil {
				return
			}
			taken, ok := zombie.Numbers.TakeNumber(ctx, nil)
			if !ok {
				return
			}
			if err := zombie.number(taken, made); err != nil {
				return
			}
			request, number = made, taken
		}
		e := history.Event{Process: w.name, Action: history.Zombie, Key: key, Token: token, Doc: &doc, Lost: way, Current: current, Expected: int64(request.GetBase())}
		op := w.game.events.begin(e)
		try, cancel := context.WithTimeout(ctx, callLimit)
		err := zombie.nodes.Call(try, profilev1.Profiles_Save_FullMethodName, request, &profilev1.SaveResponse{})
		cancel()
		if err == nil || wire.RefusalIn(err).GetReason() != profilev1.Reason_REASON_UNKNOWN {
			zombie.Numbers.SettleNumber(number)
		}
		completeZombie(w, op, e, err)
	}
}

// completeZombie writes the outcome: only a refusal by rule counts as tried, and no answer as unknown.
func completeZombie(w *worker, op uint64, e history.Event, err error) {
	e.Op, e.Type = op, history.Info
	switch reason := wire.RefusalIn(err).GetReason(); {
	case err == nil:
		e.Type = history.OK
	case reason != profilev1.Reason_REASON_UNSPECIFIED && reason != profilev1.Reason_REASON_UNKNOWN:
		e.Type, e.Error = history.Fail, reason.String()
	default:
		e.Error = err.Error()
	}
	w.game.events.record(e)
}

// currentRevision reads a profile's revision, which is no operation of the history: a zombie reads once for each write.
func (w *worker) currentRevision(ctx context.Context, key string) (uint64, bool) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	found, err := w.game.store.Get(ctx, key)
	if err != nil {
		return 0, false
	}
	return found.Revision, true
}
