package check

import (
	"fmt"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// checkFencedWrites: no write with the token of a lost session lands, whatever revision it names; and no session is told that it
// saved when it asked after a later grant had been told to another one.
func checkFencedWrites(h *History) (found []Violation) {
	for _, key := range h.keys {
		p := h.profiles[key]
		found = append(found, h.checkZombies(p)...)
		later := p.indexLaterStarts()
		for _, o := range p.operations {
			if o.Type != history.OK || o.Action() != history.Save && o.Action() != history.End {
				continue
			}
			s := h.sessions[o.Session()]
			if s == nil || s.loads == 0 {
				continue
			}
			if at := later.placeAfter(s.loads); later.firstReturn[at] < o.Call {
				found = append(found, Violation{Invariant: "I3", Key: key, Operations: copyOperations(later.whoReturned(at), o), Text: fmt.Sprintf(
					"%s of grant %d was acknowledged after a later grant", s.name, s.loads)})
			}
		}
	}
	return found
}

// checkZombies looks for acknowledged raw writes of lost sessions, and for their documents everywhere.
func (h *History) checkZombies(p *profile) (found []Violation) {
	zombies := map[docID]*history.Operation{}
	for _, o := range p.operations {
		if o.Action() != history.Zombie {
			continue
		}
		if o.Type == history.OK {
			found = append(found, Violation{Invariant: "I3", Key: p.key, Operations: copyOperations(o), Text: "a write with the token of a lost session was acknowledged"})
		}
		if d := o.Written(); d != nil {
			zombies[idOf(d)] = o
			if h.sessions[d.Writer] == nil && !h.sets[d.Writer] {
				zombies[docID{writer: d.Writer}] = o // a writer of its own: no change of it may be seen
			}
		}
	}
	if len(zombies) == 0 {
		return found
	}
	told := map[*history.Operation]bool{}
	for _, s := range p.sightings {
		if s.doc == nil {
			continue
		}
		o := zombies[idOf(s.doc)]
		if o == nil {
			o = zombies[docID{writer: s.doc.Writer}]
		}
		if o != nil && !told[o] {
			told[o] = true
			found = append(found, Violation{Invariant: "I3", Key: p.key, Operations: copyOperations(o, s.operation), Text: fmt.Sprintf(
				"revision %d is %s, of a lost session", s.revision, describeDoc(s.doc))})
		}
	}
	return found
}

// whoReturned is the start from a place on that was told first.
func (l *laterStarts) whoReturned(at int) *history.Operation {
	for _, o := range l.starts[at:] {
		if o.Return == l.firstReturn[at] {
			return o
		}
	}
	return nil
}
