package check

import (
	"cmp"
	"hash/maphash"
	"slices"
	"time"
)

// decision is what a search for a linearization came to.
type decision uint8

const (
	undecided decision = iota // out of time
	linearizable
	notLinearizable
)

// searchResult is a decision, and of a history that is not linearizable where the longest attempt ended.
type searchResult struct {
	decision
	placed int   // steps that the longest attempt placed
	stuck  *step // the step that had to be placed next, and could not
}

// searcher looks for a linearization as Wing, Gong and Lowe do: a list of calls and returns by time, and a set of the
// configurations that were tried, each the steps that were placed and the state. It differs from porcupine in one rule: a step
// that can be placed and changes nothing, now or later, is placed at once and never tried elsewhere. To place it earlier takes
// nothing from any other step, and without the rule each read doubles the work where many clients use one key.
type searcher struct {
	model profileModel
	steps []timedStep
	list  []listEntry // entry 0 is the head
	tried map[uint64][]configuration
	seed  maphash.Seed

	state  profileState
	placed []uint64 // bits of steps
	count  int
	stack  []placement
	best   searchResult
}

// listEntry is a call or a return in the doubly linked list of what is not placed yet.
type listEntry struct {
	step       int
	call       bool
	match      int // of a call its return
	prev, next int // 0: the head
}

type configuration struct {
	placed []uint64
	state  profileState
}

// placement is a step that was placed, with the state before it.
type placement struct {
	entry  int
	state  profileState
	forced bool // by the rule: there is no other place to try
}

// searchLinearization decides whether the steps have an order that the model allows and that keeps the order of real time.
func searchLinearization(m profileModel, steps []timedStep, limit time.Duration) searchResult {
	s := &searcher{
		model: m, steps: steps, tried: map[uint64][]configuration{}, seed: maphash.MakeSeed(),
		placed: make([]uint64, (len(steps)+63)/64),
	}
	s.makeList()
	return s.search(time.Now().Add(limit))
}

func (s *searcher) makeList() {
	type moment struct {
		at   time.Duration
		step int
		call bool
	}
	var moments []moment
	for i := range s.steps {
		moments = append(moments, moment{s.steps[i].call, i, true}, moment{s.steps[i].end, i, false})
	}
	slices.SortStableFunc(moments, func(a, b moment) int {
		if a.at == b.at && a.call != b.call {
			if a.call {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.at, b.at)
	})
	s.list = make([]listEntry, 1, len(moments)+1)
	calls := make([]int, len(s.steps))
	for i, m := range moments {
		at := i + 1
		s.list = append(s.list, listEntry{step: m.step, call: m.call, prev: i})
		s.list[i].next = at
		if m.call {
			calls[m.step] = at
		} else {
			s.list[calls[m.step]].match = at
		}
	}
}

func (s *searcher) search(deadline time.Time) searchResult {
	at := s.list[0].next
	for turn := 0; s.list[0].next != 0; turn++ {
		if turn%1024 == 1023 && time.Now().After(deadline) {
			return searchResult{decision: undecided, placed: s.best.placed, stuck: s.best.stuck}
		}
		e := &s.list[at]
		if !e.call {
			if s.count >= s.best.placed {
				s.best = searchResult{placed: s.count, stuck: &s.steps[e.step].step}
			}
			if at = s.takeBack(); at == 0 {
				s.best.decision = notLinearizable
				return s.best
			}
			continue
		}
		if s.place(at) {
			at = s.list[0].next
		} else {
			at = e.next
		}
	}
	return searchResult{decision: linearizable, placed: s.count}
}

// place places the step of a call, if the model allows it and the configuration after it was not tried.
func (s *searcher) place(at int) bool {
	e := &s.list[at]
	a := &s.steps[e.step].step
	after, ok := s.model.apply(s.state, a)
	if !ok {
		return false
	}
	forced := after == s.state && (!a.unknown || s.model.isSpent(s.state, a))
	s.flip(e.step)
	if !forced && !s.addConfiguration(after) {
		s.flip(e.step)
		return false
	}
	s.stack = append(s.stack, placement{at, s.state, forced})
	s.state = after
	s.count++
	for _, i := range []int{at, e.match} {
		l := &s.list[i]
		s.list[l.prev].next = l.next
		if l.next != 0 {
			s.list[l.next].prev = l.prev
		}
	}
	return true
}

// takeBack takes back placements up to the last one that was a choice, and returns the entry behind it; 0: there is no choice left.
func (s *searcher) takeBack() int {
	for len(s.stack) > 0 {
		p := s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		e := &s.list[p.entry]
		for _, i := range []int{e.match, p.entry} {
			l := &s.list[i]
			if l.next != 0 {
				s.list[l.next].prev = i
			}
			s.list[l.prev].next = i
		}
		s.flip(e.step)
		s.count--
		s.state = p.state
		if !p.forced {
			return e.next // a call's return stands behind it, so this is no end of the list
		}
	}
	return 0
}

func (s *searcher) flip(step int) { s.placed[step/64] ^= 1 << (step % 64) }

// addConfiguration notes a configuration and reports whether it is new.
func (s *searcher) addConfiguration(state profileState) bool {
	sum := maphash.Comparable(s.seed, state)
	for _, word := range s.placed {
		sum = (sum ^ word) * 0x9e3779b97f4a7c15
		sum ^= sum >> 29
	}
	for _, c := range s.tried[sum] {
		if c.state == state && slices.Equal(c.placed, s.placed) {
			return false
		}
	}
	s.tried[sum] = append(s.tried[sum], configuration{slices.Clone(s.placed), state})
	return true
}
