package check

import (
	"slices"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// completionsOf are the places of the acknowledged completions of an action.
func completionsOf(events []history.Event, a history.Action, accept func(e *history.Event) bool) (places []int) {
	for i := range events {
		if e := &events[i]; e.Action == a && (e.Type == history.OK || e.IsObservation()) && (accept == nil || accept(e)) {
			places = append(places, i)
		}
	}
	return places
}

// invocationOf is the place of the invocation that the event at i completes.
func invocationOf(events []history.Event, i int) int {
	return slices.IndexFunc(events, func(e history.Event) bool {
		return e.Type == history.Invoke && e.Process == events[i].Process && e.Op == events[i].Op
	})
}

// docAt is what is stored as a revision of a key by the events' own account.
func docAt(events []history.Event, key string, revision int64) *history.Doc {
	for i := range events {
		e := &events[i]
		if e.Key == key && e.Revision == revision && e.Doc != nil && (e.Type == history.OK || e.Action == history.Final) {
			return e.Doc
		}
	}
	return nil
}

func written(e *history.Event) bool { return e.Doc != nil && e.Revision > 1 }

// corruption spoils a history in one way. It returns false if the history has nothing to spoil.
type corruption struct {
	name      string
	checker   string // must find it
	invariant string // of that violation; empty: any
	text      string // in it
	spoil     func(e []history.Event) bool
}

// corruptionsOfSaves spoil revisions, saves and reads.
var corruptionsOfSaves = []corruption{
	{"a stale read of other data", "revisions", "I2", "revision", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Get, written) {
			if e[invocationOf(e, i)].Stale {
				e[i].Doc.Seq += 100
				return true
			}
		}
		return false
	}},
	{"a hole in the revisions", "revisions", "I7", "nobody saw", func(e []history.Event) bool {
		f := completionsOf(e, history.Final, func(e *history.Event) bool { return e.Revision > 4 })
		if len(f) == 0 {
			return false
		}
		for i := range e {
			if e[i].Key != e[f[0]].Key {
				continue
			}
			if e[i].Revision > 4 {
				e[i].Revision += 30
			}
			if e[i].Action == history.Set && e[i].Expected > 4 {
				e[i].Expected += 30
			}
		}
		return true
	}},
	{"a linearizable read of the past", "revisions", "I2", "was known before", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Get, written) {
			d := docAt(e, e[i].Key, e[i].Revision-2)
			if at := invocationOf(e, i); d != nil && !e[at].Stale && e[i].Revision > 8 {
				known := int64(0)
				for k := range e[:at] {
					if e[k].Key == e[i].Key && e[k].Type == history.OK {
						known = max(known, e[k].Revision)
					}
				}
				if known < e[i].Revision {
					continue
				}
				e[i].Revision, e[i].Doc = e[i].Revision-2, d
				return true
			}
		}
		return false
	}},
	{"a save of a session that was replaced", "revisions", "I3", "not allowed", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Save, nil) {
			at := invocationOf(e, i)
			var others []string // granted on this key before
			for k := range e[:at] {
				if e[k].Action == history.Start && e[k].Type == history.OK && e[k].Key == e[i].Key && e[k].Session != e[at].Session {
					others = append(others, e[k].Session)
				}
			}
			if len(others) > 0 {
				e[at].Session = others[0]
				return true
			}
		}
		return false
	}},
	{"a start that loaded the past", "lost saves", "", "of a later grant had loaded", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Start, written) {
			d := docAt(e, e[i].Key, e[i].Revision-1)
			if d != nil && grantedBefore(e, e[i].Doc.Writer, e[i].Loads) {
				e[i].Revision, e[i].Doc = e[i].Revision-1, d
				return true
			}
		}
		return false
	}},
	{"an acknowledged save that is lost", "lost saves", "I2", "is lost", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Final, written) {
			told := func(o history.Event) bool {
				return o.Type == history.OK && o.Key == e[i].Key && o.Revision == e[i].Revision
			}
			if d := docAt(e, e[i].Key, e[i].Revision-1); d != nil && slices.ContainsFunc(e, told) {
				e[i].Revision, e[i].Doc = e[i].Revision-1, d
				return true
			}
		}
		return false
	}},
	{"a refused save that landed", "lost saves", "I11", "which was refused", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Save, nil) {
			d := e[invocationOf(e, i)].Doc
			if f := completionsOf(e, history.Get, func(e *history.Event) bool { return e.Doc != nil && idOf(e.Doc) == idOf(d) }); len(f) > 0 {
				e[i].Type, e[i].Revision = history.Fail, 0
				return true
			}
		}
		return false
	}},
	{"data that nobody wrote", "lost saves", "I11", "which nobody wrote", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Get, written) {
			e[i].Doc.Writer = "nobody"
			return true
		}
		return false
	}},
	{"a save that landed twice", "lost saves", "I4", "landed 2 times", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Final, written) {
			if d := docAt(e, e[i].Key, e[i].Revision-1); d != nil {
				e[i].Revision, e[i].Doc = e[i].Revision+1, d
				return true
			}
		}
		return false
	}},
}
