package check

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// checkRevisions takes the operations of each key in the order of their revisions: each revision is one document for everybody,
// none is left out, the order is that of real time, and in that order the operations replay through the model.
func checkRevisions(h *History) (found []Violation) {
	for _, key := range h.keys {
		p := h.profiles[key]
		found = append(found, p.checkOneDocumentEach()...)
		if !h.Header.Autosave {
			found = append(found, p.checkNoGap()...)
		}
		found = append(found, p.checkRealTime(h.Header.Autosave)...)
		found = append(found, h.replay(p)...)
	}
	return found
}

// checkOneDocumentEach: all reads of a revision, stale or not, by whichever node, and the write that made it, state one document.
func (p *profile) checkOneDocumentEach() (found []Violation) {
	for _, s := range p.sightings {
		best := p.revisions[s.revision]
		if equalDocs(s, best) {
			continue
		}
		found = append(found, Violation{
			Invariant: "I2", Key: p.key, Operations: copyOperations(best.operation, s.operation),
			Text: fmt.Sprintf("revision %d is %s and %s", s.revision, describeDoc(best.doc), describeDoc(s.doc)),
		})
	}
	return found
}

// equalDocs compares a sighting with the best one of its revision.
func equalDocs(s, best sighting) bool {
	a, b := s.doc, best.doc
	if a == nil || b == nil {
		return idOf(a) == idOf(b)
	}
	if !s.exact {
		return a.Writer == b.Writer && a.Seq <= b.Seq
	}
	return a.Writer == b.Writer && a.Seq == b.Seq && a.Coins == b.Coins && slices.Equal(a.Applied, b.Applied) && slices.Equal(a.List, b.List)
}

func describeDoc(d *history.Doc) string {
	if d == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s#%d", d.Writer, d.Seq)
}

// checkNoGap: revisions rise by one, so each that nobody saw was made by a write of unknown outcome.
func (p *profile) checkNoGap() []Violation {
	gaps := p.findGaps()
	if len(gaps.missing) == 0 {
		return nil
	}
	var calls []time.Duration // of unknown writes that nobody saw
	for _, o := range p.writes {
		if o.Type == history.Info && p.landedAt(o) == 0 {
			calls = append(calls, o.Call)
		}
	}
	slices.Sort(calls)
	for i, r := range gaps.missing {
		candidates := sort.Search(len(calls), func(k int) bool { return calls[k] >= gaps.known[i] })
		if candidates <= i {
			return []Violation{{Invariant: "I7", Key: p.key, Text: fmt.Sprintf(
				"revision %d, known by %v, is one of %d that nobody saw, and %d writes of unknown outcome can have made them",
				r, gaps.known[i], i+1, candidates)}}
		}
	}
	return nil
}

// highestBefore returns a function that says which revision was known before a time.
func (p *profile) highestBefore() func(at time.Duration) int64 {
	known := make([]seenAt, 0, len(p.sightings))
	for _, s := range p.sightings {
		known = append(known, seenAt{s.revision, s.at})
	}
	slices.SortFunc(known, func(a, b seenAt) int { return cmp.Compare(a.at, b.at) })
	for i := 1; i < len(known); i++ {
		known[i].revision = max(known[i].revision, known[i-1].revision)
	}
	return func(at time.Duration) int64 {
		i := sort.Search(len(known), func(i int) bool { return known[i].at >= at })
		if i == 0 {
			return 0
		}
		return known[i-1].revision
	}
}

func sortSeenDescending(all []seenAt) {
	slices.SortFunc(all, func(a, b seenAt) int { return cmp.Compare(b.revision, a.revision) })
}

// checkRealTime: what was known before a linearizable read began is in its result, and what was known before a write began is
// below it. Stale reads make revisions known like all others: a node's tables hold only what is committed. The final reads come
// after everything.
func (p *profile) checkRealTime(autosave bool) (found []Violation) {
	before := p.highestBefore()
	for _, o := range p.operations {
		at := p.landedAt(o)
		write := p.isSeenWrite(o)
		switch {
		case write:
		case o.Type != history.OK, o.Invocation.Stale, o.Action() != history.Start && o.Action() != history.Get:
			continue
		default:
			at = o.Completion.Revision
		}
		known := before(o.Call)
		own := autosave && write && o.Action() != history.Set // an autosave may have been first with the change
		if at < known || at == known && write && !own {
			found = append(found, Violation{Invariant: "I2", Key: p.key, Operations: copyOperations(o, p.whoKnew(known, o.Call)), Text: fmt.Sprintf(
				"revision %d was known before an operation began that came to revision %d", known, at)})
		}
	}
	return found
}

// isSeenWrite says that a write is known to have happened.
func (p *profile) isSeenWrite(o *history.Operation) bool {
	return o.IsWrite() && o.Action() != history.Zombie && o.Type != history.Fail && p.landedAt(o) > 0
}

// whoKnew is an operation that was told of the revision before the time.
func (p *profile) whoKnew(revision int64, at time.Duration) *history.Operation {
	for _, s := range p.sightings {
		if s.revision == revision && s.at < at {
			return s.operation
		}
	}
	return nil
}

// replay applies writes and starts to the model in the order of their revisions. A start stands behind the write that it loaded.
func (h *History) replay(p *profile) (found []Violation) {
	m := profileModel{h.Header.Autosave}
	var steps []step
	granted := map[string]bool{}
	for _, o := range p.starts {
		steps = append(steps, h.stepOf(o))
		granted[o.Session()] = true
	}
	for _, o := range p.writes {
		if !p.isSeenWrite(o) || m.autosave && o.Type != history.OK {
			continue
		}
		s := h.stepOf(o)
		s.unknown, s.revision = false, p.landedAt(o)
		steps = append(steps, s)
	}
	slices.SortStableFunc(steps, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.revision, b.revision), cmp.Compare(startRank(&a), startRank(&b)), cmp.Compare(a.loads, b.loads))
	})
	var s profileState
	for i := range steps {
		a := &steps[i]
		if a.action != history.Start && a.revision > s.revision+1 {
			s = p.skipTo(s, a) // over writes that nobody saw, which checkNoGap counts
		} else if a.action == history.Start && a.revision > s.revision {
			s = p.skipTo(s, a)
			s.revision, s.doc = a.revision, a.doc
		}
		if a.action != history.Start && a.action != history.Set && !granted[a.session] {
			s.owner, granted[a.session] = a.session, true // its start was not answered, and it acted
		}
		after, ok := m.apply(s, a)
		if !ok {
			found = append(found, Violation{
				Invariant: invariantOf(s, a), Key: p.key, Operations: copyOperations(a.operation),
				Text: fmt.Sprintf("it is not allowed at %v", s),
			})
			after = forceState(s, a)
		}
		s = after
	}
	return found
}

// startRank sorts starts behind the write whose revision they loaded.
func startRank(a *step) int {
	if a.action == history.Start {
		return 1
	}
	return 0
}

// skipTo is the state over revisions that no acknowledged step made.
func (p *profile) skipTo(s profileState, a *step) profileState {
	s.revision = a.revision
	if a.action != history.Start {
		s.revision--
	}
	if seen, ok := p.revisions[s.revision]; ok {
		s.doc = docStateOf(seen.doc)
	}
	return s
}

// forceState is what an operation says, so that the replay finds further violations and not this one again.
func forceState(s profileState, a *step) profileState {
	s.revision, s.doc = a.revision, a.doc
	switch a.action {
	case history.Start:
		s.loads, s.owner = max(s.loads, a.loads), a.session
	case history.Set, history.End:
		s.owner = ""
	}
	return s
}

// invariantOf is what a step breaks that is not allowed in s.
func invariantOf(s profileState, a *step) string {
	switch {
	case a.action == history.Start && a.loads <= s.loads:
		return "I1"
	case a.action != history.Start && a.action != history.Set && s.owner != a.session:
		return "I3"
	case a.action != history.Start && a.revision != s.revision+1:
		return "I7"
	}
	return "I2"
}
