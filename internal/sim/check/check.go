package check

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// checkRevisions rise by one; a writer's changes land once and in order; tokens only rise, also those of one session that
// was reclaimed; and no effect of a message is ever lost again.
func (j *checker) checkRevisions(p *Profile) {
	var last Revision
	lastSeq := map[string]int{}
	owned := uint64(0) // the highest token so far
	for i, r := range p.Revisions {
		if r.Number != uint64(i)+1 {
			j.addViolation(p.Key, "revision %d stands in place %d", r.Number, i+1)
		}
		if seq, ok := lastSeq[r.Doc.Writer]; ok && r.Doc.Seq <= seq {
			j.addViolation(p.Key, "revision %d is %v, which comes after %d of the same writer: it landed late, or twice", r.Number, r.Doc, seq)
		}
		if last.Number > 0 && last.Doc.Writer != r.Doc.Writer && lastSeq[r.Doc.Writer] > 0 {
			j.addViolation(p.Key, "revision %d is of %s again, after %s", r.Number, r.Doc.Writer, last.Doc.Writer)
		}
		if r.Doc.Writer == Forged {
			j.addViolation(p.Key, "revision %d is of a forged copy, which every node had to refuse", r.Number)
		}
		lastSeq[r.Doc.Writer] = r.Doc.Seq
		if r.Token > 0 {
			if r.Token < owned {
				j.addViolation(p.Key, "revision %d was written under token %d after one under %d", r.Number, r.Token, owned)
			}
			owned = max(owned, r.Token)
		}
		if len(r.Doc.Applied) < len(last.Doc.Applied) || !slices.Equal(r.Doc.Applied[:len(last.Doc.Applied)], last.Doc.Applied) {
			j.addViolation(p.Key, "revision %d has the effects %v, the one before %v", r.Number, r.Doc.Applied, last.Doc.Applied)
		}
		last = r
	}
}

// checkSessions: each grant is one session's; it loads the last revision before it, and its writes follow
// without a gap.
func (j *checker) checkSessions(p *Profile) {
	var of []*Session
	byWriter := map[string]*Session{}
	for _, s := range j.h.Sessions {
		if s.Profile == p.Key {
			of = append(of, s)
			byWriter[s.Writer] = s
		}
	}
	slices.SortFunc(of, func(a, b *Session) int { return cmp.Compare(a.Loads, b.Loads) })
	tokens := map[string]uint64{}
	next := map[string]uint64{}
	for _, r := range p.Revisions {
		s := byWriter[r.Doc.Writer]
		if s == nil {
			continue // a Set, or a session whose start was never answered
		}
		tokens[s.Writer] = r.Token
		want, wrote := next[s.Writer]
		if !wrote {
			want = s.Revision + 1
		}
		if r.Number != want {
			j.addViolation(p.Key, "%s loaded revision %d, and wrote %d where %d was to come", s.Writer, s.Revision, r.Number, want)
		}
		next[s.Writer] = r.Number + 1
	}
	for i, s := range of {
		if s.Loads > p.Loads {
			j.addViolation(p.Key, "%s was told of grant %d, the log knows %d", s.Writer, s.Loads, p.Loads)
		}
		j.checkLoaded(p, s)
		if i == 0 {
			continue
		}
		before := of[i-1]
		if s.Loads == before.Loads {
			j.addViolation(p.Key, "%s and %s were both given grant %d", before.Writer, s.Writer, s.Loads)
		}
		if a, b := tokens[before.Writer], tokens[s.Writer]; a > 0 && b > 0 && a >= b {
			j.addViolation(p.Key, "%s wrote under token %d after %s under %d", s.Writer, b, before.Writer, a)
		}
		if last, wrote := next[before.Writer]; wrote && last-1 > s.Revision {
			j.addViolation(p.Key, "%s loaded revision %d, but %s, an earlier owner, wrote %d", s.Writer, s.Revision, before.Writer, last-1)
		}
	}
}

func (j *checker) checkLoaded(p *Profile, s *Session) {
	switch {
	case s.Revision == 0:
	case s.Revision > uint64(len(p.Revisions)):
		j.addViolation(p.Key, "%s loaded revision %d, the log ends at %d", s.Writer, s.Revision, len(p.Revisions))
	case !p.Revisions[s.Revision-1].Doc.equal(s.Loaded):
		j.addViolation(p.Key, "%s loaded %v as revision %d, the log has %v", s.Writer, s.Loaded, s.Revision, p.Revisions[s.Revision-1].Doc)
	}
}

// checkSaves: an acknowledged save is in the log, and a refused one is not.
func (j *checker) checkSaves() {
	stored := map[string][]Revision{}
	for _, p := range j.h.Profiles {
		for _, r := range p.Revisions {
			stored[r.Doc.Writer] = append(stored[r.Doc.Writer], r)
		}
	}
	for _, s := range j.h.Saves {
		i := slices.IndexFunc(stored[s.Session.Writer], func(r Revision) bool { return r.Doc.Seq >= s.Seq })
		switch s.Outcome {
		case Done:
			if i < 0 {
				j.addViolation(s.Session.Profile, "a save of %s#%d was acknowledged at %v, and is lost", s.Session.Writer, s.Seq, s.Return)
			} else if r := stored[s.Session.Writer][i]; r.Number > s.Revision {
				j.addViolation(s.Session.Profile, "a save of %s#%d was acknowledged as revision %d at the latest, and is %d", s.Session.Writer, s.Seq, s.Revision, r.Number)
			}
		case Refused:
			if i >= 0 {
				j.addViolation(s.Session.Profile, "a save of %s#%d was refused at %v, and is revision %d", s.Session.Writer, s.Seq, s.Return, stored[s.Session.Writer][i].Number)
			}
		}
	}
}

// landedRevision is the revision with a save's data; 0: none.
func (j *checker) landedRevision(s *Save) uint64 {
	for _, r := range j.h.Profiles[s.Session.Profile].Revisions {
		if r.Doc.Writer == s.Session.Writer && r.Doc.Seq >= s.Seq {
			return r.Number
		}
	}
	return 0
}

func (j *checker) checkSets() {
	for _, s := range j.h.Sets {
		p := j.h.Profiles[s.Profile]
		i := slices.IndexFunc(p.Revisions, func(r Revision) bool { return r.Doc.Writer == s.Writer })
		switch {
		case s.Outcome == Done && i < 0:
			j.addViolation(s.Profile, "%s was acknowledged as revision %d, and is lost", s.Writer, s.Revision)
		case s.Outcome == Done && p.Revisions[i].Number != s.Revision:
			j.addViolation(s.Profile, "%s was acknowledged as revision %d, and is %d", s.Writer, s.Revision, p.Revisions[i].Number)
		case s.Outcome == Refused && i >= 0:
			j.addViolation(s.Profile, "%s was refused, and is revision %d", s.Writer, p.Revisions[i].Number)
		}
	}
}

// checkMessages: each that was acknowledged is applied once or waits, each that was refused is nowhere, and those of one sender
// keep their order.
func (j *checker) checkMessages(p *Profile) {
	applied := map[string]int{} // place, from 1
	if n := len(p.Revisions); n > 0 {
		for i, body := range p.Revisions[n-1].Doc.Applied {
			if applied[body] > 0 {
				j.addViolation(p.Key, "message %s was applied twice", body)
			}
			applied[body] = i + 1
		}
	}
	waiting := map[string]int{}
	for i, body := range p.Waiting {
		if waiting[body] > 0 {
			j.addViolation(p.Key, "message %s waits twice", body)
		}
		waiting[body] = i + 1
		if applied[body] > 0 {
			j.addViolation(p.Key, "message %s was applied, and waits still", body)
		}
	}
	if applied[Forged] > 0 || waiting[Forged] > 0 {
		j.addViolation(p.Key, "the message of a forged copy, which every node had to refuse, is there")
	}
	var of []*Send
	for _, s := range j.h.Sends {
		if s.Profile != p.Key {
			continue
		}
		is := applied[s.Body] > 0 || waiting[s.Body] > 0
		if s.Outcome == Done && !is {
			j.addViolation(p.Key, "message %s was acknowledged at %v, and is lost", s.Body, s.Return)
		}
		if s.Outcome == Refused && is {
			j.addViolation(p.Key, "message %s was refused, and is there", s.Body)
		}
		if s.Poison && applied[s.Body] > 0 {
			j.addViolation(p.Key, "message %s was applied, although its handler panics", s.Body)
		}
		if counted, seen := p.Panics[s.Body], j.h.Panics[s.Body]; counted > seen {
			j.addViolation(p.Key, "%d panics are counted against message %s, there were %d", counted, s.Body, seen)
		}
		if is && !s.Poison {
			of = append(of, s)
		}
	}
	place := func(s *Send) int {
		if at := applied[s.Body]; at > 0 {
			return at
		}
		return len(applied) + waiting[s.Body]
	}
	for _, a := range of {
		for _, b := range of {
			if a.Sender == b.Sender && a.before(b.Span) && place(a) > place(b) {
				j.addViolation(p.Key, "message %s was sent after %s and comes before it", b.Body, a.Body)
			}
		}
	}
}

// sight is an operation that told its caller of a revision. A write made one, too.
type sight struct {
	Span
	profile, what string
	told, made    uint64
	write         bool
}

// checkMonotonic: every revision known before a read or a load began is in its result, and each known before a write was requested
// is below it. So of two owners that both see a save acknowledged, the one with the smaller token saw it first.
func (j *checker) checkMonotonic() {
	var all []sight
	for _, s := range j.h.Saves {
		if s.Outcome == Done {
			all = append(all, sight{s.Span, s.Session.Profile, fmt.Sprintf("a save of %s#%d", s.Session.Writer, s.Seq), s.Revision, j.landedRevision(s), true})
		}
	}
	for _, s := range j.h.Sets {
		if s.Outcome == Done {
			all = append(all, sight{s.Span, s.Profile, s.Writer, s.Revision, s.Revision, true})
		}
	}
	for _, r := range j.h.Reads {
		if r.Answered {
			all = append(all, sight{r.Span, r.Profile, "a read returned", r.Revision, 0, false})
			j.checkRead(r)
		}
	}
	for _, s := range j.h.Sessions {
		all = append(all, sight{s.Span, s.Profile, s.Writer + " loaded", s.Revision, 0, false})
	}
	slices.SortFunc(all, func(a, b sight) int { return cmp.Compare(a.Return, b.Return) })
	known := map[string][]sight{} // by profile; told is the greatest so far
	for _, s := range all {
		if before := known[s.profile]; len(before) > 0 {
			s.told = max(s.told, before[len(before)-1].told)
		}
		if s.Answered {
			known[s.profile] = append(known[s.profile], s)
		}
	}
	for _, s := range all {
		before := known[s.profile]
		i, _ := slices.BinarySearchFunc(before, s.Call, func(s sight, at time.Duration) int { return cmp.Compare(s.Return, at) })
		switch {
		case i == 0:
		case s.write && s.made > 0 && s.made <= before[i-1].told:
			j.addViolation(s.profile, "%s, asked for at %v, is revision %d, and %d was known before it", s.what, s.Call, s.made, before[i-1].told)
		case !s.write && s.told < before[i-1].told:
			j.addViolation(s.profile, "%s revision %d, and %d was known before it, from %v to %v", s.what, s.told, before[i-1].told, s.Call, s.Return)
		}
	}
}

func (j *checker) checkRead(r *Read) {
	p := j.h.Profiles[r.Profile]
	switch {
	case r.Revision > uint64(len(p.Revisions)):
		j.addViolation(r.Profile, "a read at %v returned revision %d, the log ends at %d", r.Return, r.Revision, len(p.Revisions))
	case r.Revision > 0 && !p.Revisions[r.Revision-1].Doc.equal(r.Doc):
		j.addViolation(r.Profile, "a read at %v returned %v as revision %d, the log has %v", r.Return, r.Doc, r.Revision, p.Revisions[r.Revision-1].Doc)
	}
}
