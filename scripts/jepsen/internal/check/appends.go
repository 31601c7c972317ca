package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// checkAppends looks at the lists of the append workload, as Elle would for transactions of one key: by revision each list is the
// beginning of the next one, none has a value twice or one that only refused writes had, and acknowledged values are in the last
// list.
func checkAppends(h *History) (found []Violation) {
	for _, key := range h.keys {
		p := h.profiles[key]
		asked := map[int]bool{} // values of writes that were not refused
		lists := false
		for _, o := range p.operations {
			d := o.Written()
			if d == nil || len(d.List) == 0 {
				continue
			}
			lists = true
			if o.Type != history.Fail && o.Action() != history.Zombie {
				for _, v := range d.List {
					asked[v] = true
				}
			}
		}
		if lists {
			found = append(found, p.checkLists(asked)...)
			found = append(found, p.checkAcknowledgedValues()...)
		}
	}
	return found
}

func (p *profile) checkLists(asked map[int]bool) (found []Violation) {
	all := slices.Clone(p.sightings)
	slices.SortStableFunc(all, func(a, b sighting) int { return cmp.Compare(a.revision, b.revision) })
	var before sighting
	var beforeList []int
	complain := func(s sighting, format string, args ...any) {
		found = append(found, Violation{Invariant: "I2", Key: p.key, Operations: copyOperations(before.operation, s.operation), Text: fmt.Sprintf(format, args...)})
	}
	for _, s := range all {
		var list []int
		if s.doc != nil {
			list = s.doc.List
		}
		if len(list) < len(beforeList) || !slices.Equal(list[:len(beforeList)], beforeList) {
			complain(s, "the list of revision %d has %d values, and that of revision %d does not go on from them but has %d",
				before.revision, len(beforeList), s.revision, len(list))
		} else {
			for i := len(beforeList); i < len(list); i++ { // what stands before was looked at
				if slices.Contains(list[:i], list[i]) {
					complain(s, "the list of revision %d has the value %d twice", s.revision, list[i])
				}
				if !asked[list[i]] {
					complain(s, "the list of revision %d has the value %d, which nobody appended", s.revision, list[i])
				}
			}
		}
		before, beforeList = s, list
	}
	return found
}

// checkAcknowledgedValues: the last list has every value of an acknowledged write.
func (p *profile) checkAcknowledgedValues() (found []Violation) {
	if p.final == nil {
		return nil
	}
	last := map[int]bool{}
	if p.final.Doc != nil {
		for _, v := range p.final.Doc.List {
			last[v] = true
		}
	}
	for _, o := range p.writes {
		d := o.Written()
		if o.Type != history.OK || d == nil {
			continue
		}
		for _, v := range d.List {
			if !last[v] {
				last[v] = true // once is enough
				found = append(found, Violation{Invariant: "I2", Key: p.key, Operations: copyOperations(o), Text: fmt.Sprintf("the value %d was appended, and is lost", v)})
			}
		}
	}
	return found
}
