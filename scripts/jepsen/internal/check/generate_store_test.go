package check

import (
	"slices"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// takeEffect carries an operation out and fills in its answer.
func (g *generator) takeEffect(w *worker, e, done *history.Event, s *gameSession) {
	p := g.profileOf(e.Key)
	done.Type, done.Error = history.OK, ""
	refuse := func(why string) { done.Type, done.Error = history.Fail, why }
	switch e.Action {
	case history.Get:
		done.Revision, done.Doc = p.revision, p.doc
		if e.Stale {
			done.Revision = g.random.Int64N(p.revision + 1)
			done.Doc, done.Node = p.past[done.Revision], "n1"
		}
	case history.Send:
		if g.chance(0.05) {
			refuse("inbox full")
			return
		}
		p.waiting = append(p.waiting, e.Body)
	case history.Start:
		g.loseOwner(p)
		p.loads++
		g.unique++
		s.loads, s.token, p.owner = p.loads, uint64(g.unique), s
		if p.doc != nil {
			s.doc = *p.doc
		}
		w.sessions[e.Key] = s
		done.Session, done.Loads, done.Token, done.Revision, done.Doc = s.name, s.loads, s.token, p.revision, p.doc
	case history.Set:
		if e.Expected != p.revision {
			refuse("conflict")
			return
		}
		g.loseOwner(p)
		p.store(e.Doc)
		done.Revision = p.revision
	case history.Zombie:
		refuse("fenced")
		delete(w.sessions, e.Key)
	default:
		if p.owner != s {
			refuse("fenced")
			s.over = true
			return
		}
		if e.Doc != nil {
			p.store(e.Doc)
		}
		done.Revision = p.revision
		if e.Action == history.End {
			g.loseOwner(p)
			delete(w.sessions, e.Key)
		}
	}
}

// loseOwner ends the owner's session, which was active until just now.
func (g *generator) loseOwner(p *storedProfile) {
	if s := p.owner; s != nil {
		g.add(history.Event{Type: history.Info, Action: history.Active, Key: s.key, Session: s.name, Process: s.process})
		g.add(history.Event{Type: history.Info, Action: history.Over, Key: s.key, Session: s.name, Process: s.process, Reason: "expired"})
		s.over, p.owner = true, nil
	}
}

func (p *storedProfile) store(d *history.Doc) {
	p.revision++
	p.doc = d
	p.past = append(p.past, d)
	p.waiting = slices.DeleteFunc(p.waiting, func(body string) bool { return slices.Contains(d.Applied, body) })
}
