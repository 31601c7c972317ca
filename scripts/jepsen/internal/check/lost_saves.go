package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// checkLostSaves: an acknowledged write is the final state or lies below it; a write of unknown outcome lands once or not at all,
// never after a later one of its session or what a later owner loaded; a refused one is nowhere; and nothing is there that nobody
// wrote.
func checkLostSaves(h *History) (found []Violation) {
	for _, key := range h.keys {
		p := h.profiles[key]
		found = append(found, p.checkAcknowledged()...)
		found = append(found, h.checkLateWrites(p)...)
		found = append(found, h.checkOrigins(p)...)
		for _, o := range p.writes {
			if o.Type == history.Info {
				h.Statistics.UnknownWrites++
				if p.landedAt(o) > 0 {
					h.Statistics.LandedUnknown++
				}
			}
		}
	}
	return found
}

// checkAcknowledged: whoever reads last finds every revision that anybody was told of.
func (p *profile) checkAcknowledged() (found []Violation) {
	if p.final == nil {
		return nil // checkFinals says so
	}
	for _, s := range p.sightings {
		if s.operation == nil || s.revision <= p.final.Revision {
			continue
		}
		what := "was read"
		if s.operation.IsWrite() {
			what = "was acknowledged"
		}
		found = append(found, Violation{Invariant: "I2", Key: p.key, Operations: copyOperations(s.operation), Text: fmt.Sprintf(
			"revision %d %s, and is lost: the last one is %d", s.revision, what, p.final.Revision)})
	}
	return found
}

// landedWrite is a write of a session with the revision that it made.
type landedWrite struct {
	*history.Operation
	revision int64
	seq      int
}

// checkLateWrites looks at where the writes of each session landed.
func (h *History) checkLateWrites(p *profile) (found []Violation) {
	later := p.indexLaterStarts()
	wrote := map[docID]int{} // writes that were not refused
	bySession := map[string][]landedWrite{}
	for _, o := range p.writes {
		d := o.Written()
		if d == nil || o.Type == history.Fail {
			continue
		}
		wrote[idOf(d)]++
		if at := p.landedAt(o); at > 0 && o.Action() != history.Set {
			bySession[o.Session()] = append(bySession[o.Session()], landedWrite{o, at, d.Seq})
		}
	}
	if !h.Header.Autosave {
		for id, at := range p.landed {
			if n := wrote[id]; n > 0 && len(at) > n {
				found = append(found, Violation{Invariant: "I4", Key: p.key, Text: fmt.Sprintf("%s#%d landed %d times, as revisions %v", id.writer, id.seq, len(at), at)})
			}
		}
	}
	for name, all := range bySession {
		s := h.sessions[name]
		slices.SortStableFunc(all, func(a, b landedWrite) int {
			return cmp.Or(cmp.Compare(a.revision, b.revision), cmp.Compare(a.seq, b.seq))
		})
		for i, w := range all {
			invariant := "I2"
			if w.Type != history.OK {
				invariant = "I4"
			}
			if i > 0 && !h.Header.Autosave && w.seq <= all[i-1].seq && w.revision > all[i-1].revision {
				found = append(found, Violation{Invariant: "I4", Key: p.key, Operations: copyOperations(all[i-1].Operation, w.Operation), Text: fmt.Sprintf(
					"%s#%d landed as revision %d, after its session's later change #%d as %d", name, w.seq, w.revision, all[i-1].seq, all[i-1].revision)})
			}
			if s.loads == 0 {
				continue
			}
			if at := later.placeAfter(s.loads); w.revision > later.leastLoaded[at] {
				found = append(found, Violation{Invariant: invariant, Key: p.key, Operations: copyOperations(w.Operation, later.whoLoaded(at)), Text: fmt.Sprintf(
					"%s#%d landed as revision %d, and the owner of a later grant had loaded %d", name, w.seq, w.revision, later.leastLoaded[at])})
			}
		}
	}
	return found
}

// whoLoaded is the start from a place on that loaded the least.
func (l *laterStarts) whoLoaded(at int) *history.Operation {
	for _, o := range l.starts[at:] {
		if o.Completion.Revision == l.leastLoaded[at] {
			return o
		}
	}
	return nil
}

// checkOrigins: each document that was seen is one that somebody asked to write and was not refused.
func (h *History) checkOrigins(p *profile) (found []Violation) {
	asked, refused := map[docID]bool{}, map[docID]*history.Operation{}
	for _, o := range p.operations {
		d := o.Written()
		switch {
		case d == nil:
		case o.Type == history.Fail:
			refused[idOf(d)] = o
		default:
			asked[idOf(d)] = true // a zombie's too: checkFencedWrites looks at those
		}
	}
	told := map[docID]bool{}
	for _, s := range p.sightings {
		id := idOf(s.doc)
		if s.doc == nil || id == (docID{}) || asked[id] || told[id] {
			continue
		}
		by := h.sessions[id.writer]
		if h.Header.Autosave && by != nil && by.key == p.key {
			continue // a session may save what no operation names
		}
		told[id] = true
		v := Violation{Invariant: "I11", Key: p.key, Operations: copyOperations(refused[id], s.operation), Text: fmt.Sprintf(
			"revision %d is %s, which nobody wrote", s.revision, describeDoc(s.doc))}
		if refused[id] != nil {
			v.Text = fmt.Sprintf("revision %d is %s, which was refused", s.revision, describeDoc(s.doc))
		}
		found = append(found, v)
	}
	return found
}
