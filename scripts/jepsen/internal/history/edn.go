package history

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteEDN writes the events as Jepsen writes a history, one map a line, so that its checkers can be run over it.
func WriteEDN(w io.Writer, events []Event) error {
	out := bufio.NewWriter(w)
	numbers := newProcessNumbers()
	keys := map[string]string{} // of open operations, since a completion may leave the key out
	sorted := sortedByTime(events)
	for i := range sorted {
		e := &sorted[i]
		process, key := ":nemesis", e.Key
		if !e.IsObservation() {
			process = fmt.Sprint(numbers.numberOf(e))
			if name := fmt.Sprint(e.Process, " ", e.Op); e.Type == Invoke {
				keys[name] = key
			} else {
				key = keys[name]
				delete(keys, name)
			}
		}
		fmt.Fprintf(out, "{:process %s, :type :%s, :f :%s, :key %s, :value %s, :time %d}\n",
			process, e.Type, e.Action, ednString(key), ednValue(e), int64(e.Time))
	}
	return out.Flush()
}

// WriteAppendsEDN writes the lists of the append workload as transactions for Elle: a save is [[:append k v]], and a start and a
// linearizable read are [[:r k [..]]]. A value stands in the first write that has it and was not refused, since a game that was
// refused keeps its list and saves it again.
func WriteAppendsEDN(w io.Writer, events []Event) error {
	operations, err := Pair(events)
	if err != nil {
		return err
	}
	appends := attributeAppends(operations)
	type line struct {
		event *Event
		text  string
	}
	var lines []line
	for i := range operations {
		o := &operations[i]
		values, key := appends[i], o.Key()
		asked, answered := "", ""
		switch a := o.Action(); {
		case len(values) > 0:
			var parts []string
			for _, v := range values {
				parts = append(parts, fmt.Sprintf("[:append %s %d]", ednString(key), v))
			}
			asked = "[" + strings.Join(parts, " ") + "]"
			answered = asked
		case a == Start, a == Get && !o.Invocation.Stale:
			asked = fmt.Sprintf("[[:r %s nil]]", ednString(key))
			answered = asked
			if o.Type == OK {
				var list []int
				if o.Completion.Doc != nil {
					list = o.Completion.Doc.List
				}
				answered = fmt.Sprintf("[[:r %s [%s]]]", ednString(key), strings.Trim(fmt.Sprint(list), "[]"))
			}
		default:
			continue
		}
		lines = append(lines, line{&o.Invocation, asked})
		if o.Completion.Type != "" {
			lines = append(lines, line{&o.Completion, answered})
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return compareTimes(a.event, b.event) })
	out := bufio.NewWriter(w)
	numbers := newProcessNumbers()
	for _, l := range lines {
		fmt.Fprintf(out, "{:process %d, :type :%s, :f :txn, :value %s, :time %d}\n", numbers.numberOf(l.event), l.event.Type, l.text, int64(l.event.Time))
	}
	return out.Flush()
}

// attributeAppends says which values each operation appended, by its place.
func attributeAppends(operations []Operation) map[int][]int {
	type value struct {
		key string
		v   int
	}
	by := map[value]int{}
	for _, refused := range []bool{false, true} {
		for i := range operations {
			o := &operations[i]
			if d := o.Written(); d != nil && (o.Type == Fail) == refused {
				for _, v := range d.List {
					if _, known := by[value{o.Key(), v}]; !known {
						by[value{o.Key(), v}] = i
					}
				}
			}
		}
	}
	appends := map[int][]int{}
	for i := range operations {
		if d := operations[i].Written(); d != nil {
			for _, v := range d.List {
				if by[value{operations[i].Key(), v}] == i {
					appends[i] = append(appends[i], v)
				}
			}
		}
	}
	return appends
}

// processNumbers gives each process an integer as Jepsen does: one that has one operation at a time, and is retired by an unknown
// outcome, since that operation may take effect while the process goes on.
type processNumbers struct {
	free map[string][]int
	busy map[string]map[uint64]int
	next int
}

func newProcessNumbers() *processNumbers {
	return &processNumbers{free: map[string][]int{}, busy: map[string]map[uint64]int{}}
}

// numberOf is the number of the process that has the event.
func (n *processNumbers) numberOf(e *Event) int {
	if n.busy[e.Process] == nil {
		n.busy[e.Process] = map[uint64]int{}
	}
	busy, free := n.busy[e.Process], n.free[e.Process]
	if e.Type == Invoke {
		number := n.next
		if len(free) > 0 {
			number, n.free[e.Process] = free[len(free)-1], free[:len(free)-1]
		} else {
			n.next++
		}
		busy[e.Op] = number
		return number
	}
	number := busy[e.Op]
	delete(busy, e.Op)
	if e.Type != Info {
		n.free[e.Process] = append(free, number)
	}
	return number
}

// sortedByTime sorts a copy of the events, and keeps the order of those of one time.
func sortedByTime(events []Event) []Event {
	sorted := slices.Clone(events)
	slices.SortStableFunc(sorted, func(a, b Event) int { return compareTimes(&a, &b) })
	return sorted
}

func compareTimes(a, b *Event) int {
	return cmp.Compare(a.Time, b.Time)
}

// ednString is a string of EDN, whose escapes are those of JSON for what a history holds.
func ednString(s string) string {
	text, _ := json.Marshal(s) // a string always encodes
	return string(text)
}

// ednValue is what of an event depends on its action, as a map.
func ednValue(e *Event) string {
	var fields []string
	add := func(name, value string) { fields = append(fields, ":"+name+" "+value) }
	text := func(name, value string) {
		if value != "" {
			add(name, ednString(value))
		}
	}
	text("session", e.Session)
	if e.Loads > 0 {
		add("loads", fmt.Sprint(e.Loads))
	}
	if e.Token > 0 {
		add("token", fmt.Sprint(e.Token))
	}
	if e.Type == OK && !e.IsObservation() && e.Action != Send || e.Action == Final {
		add("revision", fmt.Sprint(e.Revision))
	}
	if e.Action == Set && e.Type == Invoke {
		add("expected", fmt.Sprint(e.Expected))
	}
	if d := e.Doc; d != nil {
		doc := fmt.Sprintf("{:writer %s, :seq %d", ednString(d.Writer), d.Seq)
		if len(d.Applied) > 0 {
			var bodies []string
			for _, b := range d.Applied {
				bodies = append(bodies, ednString(b))
			}
			doc += ", :applied [" + strings.Join(bodies, " ") + "]"
		}
		if len(d.List) > 0 {
			doc += ", :list [" + strings.Trim(fmt.Sprint(d.List), "[]") + "]"
		}
		if d.Coins != 0 {
			doc += fmt.Sprintf(", :coins %d", d.Coins)
		}
		add("doc", doc+"}")
	}
	text("body", e.Body)
	text("node", e.Node)
	for _, f := range []struct {
		name string
		is   bool
	}{{"stale", e.Stale}, {"steal", e.Steal}, {"current", e.Current}} {
		if f.is {
			add(f.name, "true")
		}
	}
	text("reason", e.Reason)
	text("lost", e.Lost)
	text("phase", e.Phase)
	text("name", e.Name)
	text("detail", e.Detail)
	text("error", e.Error)
	return "{" + strings.Join(fields, ", ") + "}"
}
