package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Never is the Return of an operation whose outcome nobody was told.
const Never = time.Duration(math.MaxInt64)

// Operation is an invocation with what came of it.
type Operation struct {
	Call, Return time.Duration // Return is Never without an answer: the operation may take effect at any time after Call
	Answered     bool          // its outcome is known: Type is OK or Fail
	Type         Type          // OK, Fail or Info
	Invocation   Event
	Completion   Event // the zero Event if the operation was open at the end
}

// Action is what the operation does.
func (o *Operation) Action() Action { return o.Invocation.Action }

// Key is the profile that the operation is about.
func (o *Operation) Key() string { return o.Invocation.Key }

// Session is the session that the operation belongs to or, of a start, makes. Of a start that was not answered it may be empty.
func (o *Operation) Session() string { return cmp.Or(o.Completion.Session, o.Invocation.Session) }

// IsWrite says that the operation is to make a revision.
func (o *Operation) IsWrite() bool {
	switch o.Invocation.Action {
	case Save, Set, Zombie:
		return true
	case End:
		return o.Invocation.Doc != nil
	}
	return false
}

// Written is the document that a write writes; nil for any other operation.
func (o *Operation) Written() *Doc {
	if !o.IsWrite() {
		return nil
	}
	return o.Invocation.Doc
}

// Seen is the document that an answered start or get returned; nil: there was nothing, or it is no such operation.
func (o *Operation) Seen() *Doc {
	if o.Type == OK && (o.Invocation.Action == Start || o.Invocation.Action == Get) {
		return o.Completion.Doc
	}
	return nil
}

// String is the operation in one line.
func (o *Operation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", o.Invocation.Process, o.Invocation.Action, o.Invocation.Key)
	if s := o.Session(); s != "" {
		fmt.Fprintf(&b, " by %s", s)
	}
	if d := o.Written(); d != nil {
		fmt.Fprintf(&b, " of %s#%d", d.Writer, d.Seq)
	}
	if o.Invocation.Body != "" {
		fmt.Fprintf(&b, " of %s", o.Invocation.Body)
	}
	if o.Invocation.Action == Set && o.Invocation.Expected != AnyRevision {
		fmt.Fprintf(&b, " over revision %d", o.Invocation.Expected)
	}
	switch o.Type {
	case OK:
		b.WriteString(": ok")
		if o.Completion.Loads > 0 {
			fmt.Fprintf(&b, ", grant %d", o.Completion.Loads)
		}
		if o.Invocation.Action != Send {
			fmt.Fprintf(&b, ", revision %d", o.Completion.Revision)
		}
		if d := o.Seen(); d != nil {
			fmt.Fprintf(&b, " (%s#%d)", d.Writer, d.Seq)
		}
	case Fail:
		fmt.Fprintf(&b, ": refused %s", o.Completion.Error)
	default:
		fmt.Fprintf(&b, ": unknown %s", o.Completion.Error)
	}
	end := "open"
	if o.Return != Never {
		end = o.Return.Round(time.Microsecond).String()
	}
	fmt.Fprintf(&b, " [%v, %s]", o.Call.Round(time.Microsecond), end)
	return strings.TrimSpace(b.String())
}

// Pair puts invocations and completions together, in the order of the invocations' times. Observations are left out. An operation
// that was open at the end, and one whose completion says Info, stay unknown. A completion without its invocation is an error of
// the program that wrote the history, as is a second invocation under one number.
func Pair(events []Event) ([]Operation, error) {
	type name struct {
		process string
		op      uint64
	}
	var all []Operation
	open := map[name]int{}
	used := map[name]bool{}
	for i := range events {
		e := &events[i]
		if e.IsObservation() {
			continue
		}
		n := name{e.Process, e.Op}
		if e.Type == Invoke {
			if used[n] {
				return nil, fmt.Errorf("event %d: %s invokes operation %d again", i, e.Process, e.Op)
			}
			used[n] = true
			open[n] = len(all)
			all = append(all, Operation{Call: e.Time, Return: Never, Type: Info, Invocation: *e})
			continue
		}
		at, ok := open[n]
		if !ok {
			return nil, fmt.Errorf("event %d: %s completes operation %d, which is not open", i, e.Process, e.Op)
		}
		delete(open, n)
		o := &all[at]
		if e.Action != o.Invocation.Action || e.Key != "" && e.Key != o.Invocation.Key {
			return nil, fmt.Errorf("event %d: %s completes %s of %s as %s of %s", i, e.Process, o.Invocation.Action, o.Invocation.Key, e.Action, e.Key)
		}
		if e.Time < o.Call {
			return nil, fmt.Errorf("event %d: %s completes operation %d before it began", i, e.Process, e.Op)
		}
		o.Completion, o.Type = *e, e.Type
		if e.Type == OK || e.Type == Fail {
			o.Answered, o.Return = true, e.Time
		}
	}
	slices.SortStableFunc(all, func(a, b Operation) int { return cmp.Compare(a.Call, b.Call) })
	return all, nil
}

// CoinsOf is how many coins a message carries: the number behind the last plus sign of its body. 0: none.
func CoinsOf(body string) int64 {
	i := strings.LastIndexByte(body, '+')
	if i < 0 {
		return 0
	}
	n, err := strconv.ParseInt(body[i+1:], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
