package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// corruptionsOfOwners spoil grants, messages and lists, and let lost sessions write.
var corruptionsOfOwners = []corruption{
	{"an acknowledged raw save of a lost session", "fenced writes", "I3", "was acknowledged", func(e []history.Event) bool {
		for i := range e {
			if e[i].Action == history.Zombie && e[i].Type == history.Fail {
				e[i].Type = history.OK
				return true
			}
		}
		return false
	}},
	{"data of a lost session", "fenced writes", "I3", "of a lost session", func(e []history.Event) bool {
		for i := range e {
			if e[i].Action == history.Zombie && e[i].Type == history.Invoke {
				for _, k := range completionsOf(e, history.Get, written) {
					if e[k].Key == e[i].Key {
						e[k].Doc.Writer, e[k].Doc.Seq = e[i].Doc.Writer, e[i].Doc.Seq
						return true
					}
				}
			}
		}
		return false
	}},
	{"later data of a lost session", "fenced writes", "I3", "of a lost session", func(e []history.Event) bool {
		for i := range e {
			if e[i].Action == history.Zombie && e[i].Type == history.Invoke {
				for _, k := range completionsOf(e, history.Get, written) {
					if e[k].Key == e[i].Key {
						e[k].Doc.Writer, e[k].Doc.Seq = e[i].Doc.Writer, -1
						return true
					}
				}
			}
		}
		return false
	}},
	{"a save acknowledged under an older grant", "fenced writes", "I3", "acknowledged after a later grant", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Save, nil) {
			at := invocationOf(e, i)
			for k := range e[:at] {
				if e[k].Action == history.Start && e[k].Type == history.OK && e[k].Key == e[i].Key && e[k].Session != e[at].Session && e[k].Loads == 1 {
					e[at].Session = e[k].Session
					return true
				}
			}
		}
		return false
	}},
	{"one grant for two", "owners", "I1", "were both given", func(e []history.Event) bool {
		s := completionsOf(e, history.Start, nil)
		for _, i := range s {
			for _, k := range s {
				if i != k && e[i].Key == e[k].Key {
					e[k].Loads = e[i].Loads
					return true
				}
			}
		}
		return false
	}},
	{"one token for two", "owners", "I1", "has token", func(e []history.Event) bool {
		s := completionsOf(e, history.Start, nil)
		for _, i := range s {
			for _, k := range s {
				if i != k && e[i].Key == e[k].Key {
					e[k].Token = e[i].Token
					return true
				}
			}
		}
		return false
	}},
	{"grants that go back in time", "owners", "I1", "asked for after", func(e []history.Event) bool {
		s := completionsOf(e, history.Start, nil)
		for _, i := range s {
			for _, k := range s {
				if e[i].Key == e[k].Key && i < invocationOf(e, k) {
					e[i].Loads, e[k].Loads = e[k].Loads, e[i].Loads
					e[i].Token, e[k].Token = e[k].Token, e[i].Token
					return true
				}
			}
		}
		return false
	}},
	{"a session that stays active", "owners", "I8", "was active at", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Active, nil) {
			for _, k := range completionsOf(e, history.Start, nil) {
				if k > i && e[k].Key == e[i].Key && e[k].Session != e[i].Session && grantedBefore(e, e[i].Session, e[k].Loads) {
					e[i].Time = e[k].Time + time.Microsecond
					return true
				}
			}
		}
		return false
	}},
	{"a message that is lost", "messages", "I5", "and is lost", spoilFinal(func(f *history.Event) bool {
		if f.Doc == nil || len(f.Doc.Applied) == 0 {
			return false
		}
		f.Doc.Applied = nil
		return true
	})},
	{"a message that was applied twice", "messages", "I5", "applied twice", spoilFinal(func(f *history.Event) bool {
		if f.Doc == nil || len(f.Doc.Applied) == 0 {
			return false
		}
		f.Doc.Applied = append(f.Doc.Applied, f.Doc.Applied[0])
		return true
	})},
	{"a message that was applied and waits", "messages", "I5", "waits still", spoilFinal(func(f *history.Event) bool {
		if f.Doc == nil || len(f.Doc.Applied) == 0 {
			return false
		}
		f.Detail = fmt.Sprintf("[%q]", f.Doc.Applied[0])
		return true
	})},
	{"messages out of order", "messages", "I5", "and comes before it", spoilFinal(func(f *history.Event) bool {
		if f.Doc == nil || len(f.Doc.Applied) < 12 {
			return false
		}
		slices.Reverse(f.Doc.Applied)
		return true
	})},
	{"a refused message that is there", "messages", "I5", "was refused, and is there", func(e []history.Event) bool {
		for i := range e {
			if e[i].Action == history.Send && e[i].Type == history.Fail {
				for _, k := range completionsOf(e, history.Final, nil) {
					if e[k].Key == e[i].Key {
						e[k].Detail = fmt.Sprintf("[%q]", e[invocationOf(e, i)].Body)
						return true
					}
				}
			}
		}
		return false
	}},
	{"an effect that was there and is gone", "messages", "I5", "does not go on", func(e []history.Event) bool {
		for _, i := range completionsOf(e, history.Get, func(e *history.Event) bool { return written(e) && len(e.Doc.Applied) > 0 }) {
			if d := docAt(e, e[i].Key, e[i].Revision-1); d != nil && len(d.Applied) > 0 {
				e[i].Doc.Applied = e[i].Doc.Applied[1:]
				return true
			}
		}
		return false
	}},
	{"a list that lost a value", "appends", "I2", "is lost", spoilFinal(func(f *history.Event) bool {
		if f.Doc == nil || len(f.Doc.List) < 3 {
			return false
		}
		f.Doc.List = slices.Delete(f.Doc.List, 1, 2)
		return true
	})},
	{"a list with a value twice", "appends", "I2", "twice", spoilFinal(func(f *history.Event) bool {
		if f.Doc == nil || len(f.Doc.List) < 3 {
			return false
		}
		f.Doc.List = append(f.Doc.List, f.Doc.List[0])
		return true
	})},
	{"a list with a value that nobody appended", "appends", "I2", "nobody appended", spoilFinal(func(f *history.Event) bool {
		if f.Doc == nil || len(f.Doc.List) < 3 {
			return false
		}
		f.Doc.List = append(f.Doc.List, -1)
		return true
	})},
}

// grantedBefore says that a session has a grant below the given one.
func grantedBefore(e []history.Event, session string, loads uint64) bool {
	return slices.ContainsFunc(e, func(e history.Event) bool {
		return e.Action == history.Start && e.Type == history.OK && e.Session == session && e.Loads < loads
	})
}

// spoilFinal spoils the first final read that has something to spoil.
func spoilFinal(spoil func(f *history.Event) bool) func(e []history.Event) bool {
	return func(e []history.Event) bool {
		return slices.ContainsFunc(completionsOf(e, history.Final, nil), func(i int) bool { return spoil(&e[i]) })
	}
}
