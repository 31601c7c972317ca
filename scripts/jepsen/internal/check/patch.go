package check

import (
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// timedStep is a step with the time in which it takes effect.
type timedStep struct {
	step
	call, end time.Duration
	process   string
}

// patch makes the steps of a profile for the search. A search through raw unknown outcomes takes time that doubles with each of
// them, so they are decided before it as far as other operations show what became of them: a write whose document was seen has
// happened, at the latest when it or a later revision was seen first; one that no gap of the revisions has room for has not; any
// other one has no effect any more once a later grant, or a later change of its session, is known.
func (h *History) patch(p *profile) []timedStep {
	var steps []timedStep
	later := p.indexLaterStarts()
	changes := h.indexChanges(p)
	gaps := p.findGaps()
	acts := map[string]time.Duration{} // by session: when it was first known to have acted
	for _, o := range p.operations {
		if o.Action() != history.Save && o.Action() != history.End {
			continue
		}
		first := o.Return // Never if it was not answered
		if o.Type == history.Fail {
			continue
		} else if at := p.landedAt(o); at > 0 && o.IsWrite() {
			first = min(first, p.firstSeenFrom(at))
		}
		if before, known := acts[o.Session()]; !known || first < before {
			acts[o.Session()] = first
		}
	}
	for _, o := range p.operations {
		s := timedStep{step: h.stepOf(o), call: o.Call, end: o.Return, process: o.Invocation.Process}
		switch {
		case o.Type == history.Fail, o.Invocation.Stale, o.Action() == history.Send, o.Action() == history.Zombie:
			continue
		case o.Type == history.OK:
		case o.Action() == history.Start:
			first, acted := acts[o.Session()]
			if !acted || o.Session() == "" {
				continue
			}
			s.end = first
		case !o.IsWrite():
			continue
		case p.landedAt(o) > 0 && !(h.Header.Autosave && o.Action() != history.Set):
			s.unknown, s.revision = false, p.landedAt(o)
			s.end = p.firstSeenFrom(s.revision)
		case h.Header.Autosave && o.Action() != history.Set:
			continue // it is one of the saves that its session makes by itself
		case !h.Header.Autosave && !gaps.mayHold(o):
			continue
		default:
			s.end = min(later.firstReturn[later.placeAfter(s.loads)], changes.firstAfter(idOf(o.Written())))
			if s.action == history.Set {
				s.end = history.Never
				if s.expected != history.AnyRevision {
					s.end = p.firstSeenFrom(s.expected + 1)
				}
			} else if s.loads == 0 {
				s.end = changes.firstAfter(idOf(o.Written()))
			}
		}
		s.end = max(s.end, s.call)
		steps = append(steps, s)
	}
	if p.final != nil {
		steps = append(steps, timedStep{
			step: step{action: history.Get, revision: p.final.Revision, doc: docStateOf(p.final.Doc)},
			call: p.final.Time, end: p.final.Time, process: "final read",
		})
	}
	return steps
}

// stepOf is an operation as the model takes it, unknown unless it was acknowledged.
func (h *History) stepOf(o *history.Operation) step {
	s := step{
		action: o.Action(), session: o.Session(), loads: o.Completion.Loads, revision: o.Completion.Revision,
		expected: o.Invocation.Expected, writes: o.IsWrite(), unknown: o.Type != history.OK, operation: o,
	}
	if d := o.Written(); d != nil {
		s.doc = docStateOf(d)
	} else {
		s.doc = docStateOf(o.Seen())
	}
	if r := h.sessions[s.session]; r != nil && s.action != history.Set {
		s.loads = r.loads
	}
	return s
}

// writerChanges says when changes of each writer were known to be stored first.
type writerChanges map[string][]seenAt // by writer, by seq; at is the earliest time of that or a later one

func (h *History) indexChanges(p *profile) writerChanges {
	c := writerChanges{}
	for _, s := range p.sightings {
		if s.doc != nil {
			c[s.doc.Writer] = append(c[s.doc.Writer], seenAt{int64(s.doc.Seq), s.at})
		}
	}
	for _, all := range c {
		sortSeenDescending(all)
		for i := 1; i < len(all); i++ {
			all[i].at = min(all[i].at, all[i-1].at)
		}
	}
	return c
}

// firstAfter is when a later change of the same writer was known to be stored first.
func (c writerChanges) firstAfter(id docID) time.Duration {
	first := history.Never
	for _, s := range c[id.writer] {
		if s.revision <= int64(id.seq) {
			break
		}
		first = s.at
	}
	return first
}

// revisionGaps are the revisions that nobody saw, although somebody saw a later one.
type revisionGaps struct {
	missing []int64
	known   []time.Duration // of each: when a later one was known first
	before  func(at time.Duration) int64
}

func (p *profile) findGaps() revisionGaps {
	g := revisionGaps{before: p.highestBefore()}
	for r := int64(1); r <= p.highest; r++ {
		if _, seen := p.revisions[r]; !seen {
			g.missing = append(g.missing, r)
			g.known = append(g.known, p.firstSeenFrom(r))
		}
	}
	return g
}

// mayHold says that a write that nobody saw may have made one of the missing revisions.
func (g *revisionGaps) mayHold(o *history.Operation) bool {
	if len(g.missing) == 0 {
		return false
	}
	before := g.before(o.Call)
	for i, r := range g.missing {
		fits := o.Action() != history.Set || o.Invocation.Expected == history.AnyRevision || o.Invocation.Expected == r-1
		if r > before && g.known[i] > o.Call && fits {
			return true
		}
	}
	return false
}
