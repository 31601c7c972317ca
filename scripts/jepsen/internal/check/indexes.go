package check

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// History is a run as the checkers read it.
type History struct {
	Header     history.Header
	Options    Options
	Operations []history.Operation // by Call
	Faults     []FaultSpan         // by Begin
	Finals     map[string]*history.Event
	Statistics Statistics

	keys     []string // sorted
	profiles map[string]*profile
	sessions map[string]*sessionRecord
	sets     map[string]bool // writers of sets
	length   time.Duration   // the time of the last event
	skipped  []*history.Event
}

// FaultSpan is a fault from its begin to its end. A fault that was not healed ends never.
type FaultSpan struct {
	Name, Node, Detail string
	Begin, End         time.Duration
}

// sessionRecord is what is known of a session.
type sessionRecord struct {
	name   string
	key    string
	start  *history.Operation // nil: none was asked for under this name
	loads  uint64             // 0: unknown
	active []time.Duration    // when IsActive returned true last
}

// docID names the write that made a document.
type docID struct {
	writer string
	seq    int
}

func idOf(d *history.Doc) docID {
	if d == nil {
		return docID{}
	}
	return docID{d.Writer, d.Seq}
}

// sighting is a document at a revision, as somebody was told of it.
type sighting struct {
	revision  int64
	doc       *history.Doc
	exact     bool               // it is what is stored; otherwise the writer may have stored a later change of its own
	operation *history.Operation // nil: the final read
	at        time.Duration
}

// profile is what the history has of one key.
type profile struct {
	key        string
	operations []*history.Operation // by Call
	starts     []*history.Operation // acknowledged, by Loads
	writes     []*history.Operation // saves, ends with a document, and sets; no zombies
	final      *history.Event
	sightings  []sighting
	revisions  map[int64]sighting // the best one of each revision
	landed     map[docID][]int64  // the revisions at which a document was seen, ascending
	highest    int64              // revision that was seen
	firstSeen  []seenAt           // by revision
}

// seenAt says when a revision, or a later one, was known first.
type seenAt struct {
	revision int64
	at       time.Duration
}

// NewHistory pairs the events and indexes them by profile and session.
func NewHistory(header history.Header, events []history.Event, options Options) (*History, error) {
	operations, err := history.Pair(events)
	if err != nil {
		return nil, err
	}
	h := &History{
		Header: header, Options: options, Operations: operations, Finals: map[string]*history.Event{},
		profiles: map[string]*profile{}, sessions: map[string]*sessionRecord{}, sets: map[string]bool{},
	}
	h.indexOperations()
	h.indexObservations(events)
	for key := range h.profiles {
		h.keys = append(h.keys, key)
	}
	slices.Sort(h.keys)
	for _, key := range h.keys {
		h.profiles[key].indexSightings(header.Autosave)
	}
	h.Statistics = newStatistics(h, len(events))
	return h, nil
}

func (h *History) profileOf(key string) *profile {
	p := h.profiles[key]
	if p == nil {
		p = &profile{key: key, revisions: map[int64]sighting{}, landed: map[docID][]int64{}}
		h.profiles[key] = p
	}
	return p
}

func (h *History) sessionOf(name, key string) *sessionRecord {
	s := h.sessions[name]
	if s == nil {
		s = &sessionRecord{name: name, key: key}
		h.sessions[name] = s
	}
	return s
}

func (h *History) indexOperations() {
	for i := range h.Operations {
		o := &h.Operations[i]
		p := h.profileOf(o.Key())
		p.operations = append(p.operations, o)
		if o.IsWrite() && o.Action() != history.Zombie {
			p.writes = append(p.writes, o)
		}
		switch o.Action() {
		case history.Start:
			if name := o.Session(); name != "" {
				s := h.sessionOf(name, o.Key())
				if s.start == nil || o.Type == history.OK {
					s.start, s.loads = o, o.Completion.Loads
				}
			}
			if o.Type == history.OK {
				p.starts = append(p.starts, o)
			}
		case history.Set:
			if d := o.Written(); d != nil {
				h.sets[d.Writer] = true
			}
		case history.Save, history.End:
			h.sessionOf(o.Session(), o.Key())
		}
	}
	for _, p := range h.profiles {
		slices.SortStableFunc(p.starts, func(a, b *history.Operation) int { return cmp.Compare(a.Completion.Loads, b.Completion.Loads) })
	}
}

func (h *History) indexObservations(events []history.Event) {
	open := map[[2]string]int{} // a fault's name and node, its place from 1
	for i := range events {
		e := &events[i]
		h.length = max(h.length, e.Time)
		switch e.Action {
		case history.Active:
			s := h.sessionOf(e.Session, e.Key)
			s.active = append(s.active, e.Time)
		case history.Final:
			if before := h.Finals[e.Key]; before == nil || before.Time <= e.Time {
				h.Finals[e.Key] = e
				h.profileOf(e.Key).final = e
			}
		case history.Fault:
			name := [2]string{e.Name, e.Node}
			switch at := open[name]; {
			case e.Phase == history.Begin:
				h.Faults = append(h.Faults, FaultSpan{Name: e.Name, Node: e.Node, Detail: e.Detail, Begin: e.Time, End: history.Never})
				open[name] = len(h.Faults)
			case e.Phase == history.Skipped:
				h.skipped = append(h.skipped, e)
			case e.Phase == history.Heal && at > 0:
				h.Faults[at-1].End = e.Time
				delete(open, name)
			}
		}
	}
	slices.SortStableFunc(h.Faults, func(a, b FaultSpan) int { return cmp.Compare(a.Begin, b.Begin) })
}

// indexSightings collects every document that somebody was told of, with its revision.
func (p *profile) indexSightings(autosave bool) {
	add := func(s sighting) {
		p.sightings = append(p.sightings, s)
		p.highest = max(p.highest, s.revision)
		best, known := p.revisions[s.revision]
		if !known || s.exact && !best.exact || !s.exact && !best.exact && s.doc != nil && idOf(s.doc).seq > idOf(best.doc).seq {
			p.revisions[s.revision] = s
		}
	}
	for _, o := range p.operations {
		if o.Type != history.OK {
			continue
		}
		switch o.Action() {
		case history.Start, history.Get:
			add(sighting{o.Completion.Revision, o.Completion.Doc, true, o, o.Return})
		case history.Save, history.End, history.Set:
			if d := o.Written(); d != nil {
				add(sighting{o.Completion.Revision, d, !autosave || o.Action() == history.Set, o, o.Return})
			}
		}
	}
	if p.final != nil {
		add(sighting{p.final.Revision, p.final.Doc, true, nil, p.final.Time})
	}
	for revision, s := range p.revisions {
		if s.doc != nil && revision > 0 {
			id := idOf(s.doc)
			p.landed[id] = append(p.landed[id], revision)
		}
	}
	for _, at := range p.landed {
		slices.Sort(at)
	}
	p.indexFirstSeen()
}

// indexFirstSeen walks the sightings from the highest revision down, so that each has the earliest time of all above it.
func (p *profile) indexFirstSeen() {
	sorted := slices.Clone(p.sightings)
	slices.SortFunc(sorted, func(a, b sighting) int { return cmp.Compare(b.revision, a.revision) })
	earliest := history.Never
	for _, s := range sorted {
		earliest = min(earliest, s.at)
		if n := len(p.firstSeen); n > 0 && p.firstSeen[n-1].revision == s.revision {
			p.firstSeen[n-1].at = earliest
			continue
		}
		p.firstSeen = append(p.firstSeen, seenAt{s.revision, earliest})
	}
	slices.Reverse(p.firstSeen)
}

// firstSeenFrom is when a revision at or above the given one was known first.
func (p *profile) firstSeenFrom(revision int64) time.Duration {
	i := sort.Search(len(p.firstSeen), func(i int) bool { return p.firstSeen[i].revision >= revision })
	if i == len(p.firstSeen) {
		return history.Never
	}
	return p.firstSeen[i].at
}

// landedAt is the revision that a write made; 0: nobody saw that it made one.
func (p *profile) landedAt(o *history.Operation) int64 {
	if o.Type == history.OK {
		return o.Completion.Revision
	}
	if at := p.landed[idOf(o.Written())]; len(at) > 0 && o.Written() != nil {
		return at[0]
	}
	return 0
}

// laterStarts says, for each number of a grant, what the acknowledged starts of later grants loaded and when they were told.
type laterStarts struct {
	starts      []*history.Operation // by Loads
	leastLoaded []int64              // from each place on
	firstReturn []time.Duration      // from each place on
}

func (p *profile) indexLaterStarts() laterStarts {
	n := len(p.starts)
	l := laterStarts{p.starts, make([]int64, n+1), make([]time.Duration, n+1)}
	l.leastLoaded[n], l.firstReturn[n] = math.MaxInt64, history.Never
	for i := n - 1; i >= 0; i-- {
		l.leastLoaded[i] = min(l.leastLoaded[i+1], p.starts[i].Completion.Revision)
		l.firstReturn[i] = min(l.firstReturn[i+1], p.starts[i].Return)
	}
	return l
}

// placeAfter is the place of the first start with a later grant than loads.
func (l *laterStarts) placeAfter(loads uint64) int {
	return sort.Search(len(l.starts), func(i int) bool { return l.starts[i].Completion.Loads > loads })
}

func copyOperations(of ...*history.Operation) []history.Operation {
	var all []history.Operation
	for _, o := range of {
		if o != nil {
			all = append(all, *o)
		}
	}
	return all
}
