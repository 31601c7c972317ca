package document

import (
	"bytes"
	"slices"
)

// merger writes a changed value into the document that it was loaded from, so that what this binary does not know stays.
//
// Each step has one place of three documents: stored is what the store has, known is what this binary writes of it
// unchanged, and now is what it writes of the value as it is. The result reads back as now does: where now is as known
// was, stored stands for both.
type merger struct {
	lost []string // paths of what was in stored, that this binary does not know and could not keep
}

func (m *merger) merge(s *shape, at path, stored, known, now []byte) []byte {
	if bytes.Equal(known, now) {
		return stored
	}
	if bytes.Equal(stored, known) {
		return now // this binary knows all that is there
	}
	switch s.kind {
	case pointer:
		return m.merge(s.elem, at, stored, known, now)
	case object:
		if isObject(stored) && isObject(known) && isObject(now) {
			return m.mergeFields(s, at, stored, known, now)
		}
	case dict:
		if s.elem.lossy && isObject(stored) && isObject(known) && isObject(now) {
			return m.mergeKeys(s, at, stored, known, now)
		}
	case tuple:
		if s.elem.lossy && isArray(stored) && isArray(known) && isArray(now) {
			return m.mergePlaces(s, at, stored, known, now)
		}
	case list:
		if s.elem.lossy && isArray(stored) && isArray(known) && isArray(now) {
			return m.mergeElements(s, at, stored, known, now)
		}
	case opaque:
		m.loseWithin(at, stored, known)
	}
	return now
}

// mergeFields keeps the members that are no fields of this binary's struct.
func (m *merger) mergeFields(s *shape, at path, stored, known, now []byte) []byte {
	have, was, is := members(stored), members(known), members(now)
	last := s.last(have)
	var b buffer
	for i, h := range have {
		f := s.field(h.key)
		if f < 0 {
			b.member(h.name, h.raw)
			continue
		}
		if last[f] != i {
			continue
		}
		name := s.fields[f].name
		before, after := find(was, name), find(is, name)
		switch {
		case before == nil && after == nil:
			b.member(h.name, h.raw) // an empty value that this binary leaves out
		case before == nil:
			b.member(h.name, after)
		case after != nil:
			b.member(h.name, m.merge(s.fields[f].shape, at.key(name), h.raw, before, after))
		}
	}
	for _, i := range is {
		if last[s.field(i.key)] < 0 {
			b.member(i.name, i.raw)
		}
	}
	return b.end('}')
}

// mergeKeys keeps what is unknown below the keys that the game's map still has.
func (m *merger) mergeKeys(s *shape, at path, stored, known, now []byte) []byte {
	have, is := members(stored), members(now)
	was, left := byKey(members(known)), byKey(is)
	last := make(map[string]int, len(have))
	for i, h := range have {
		last[h.key] = i
		if was[h.key] == nil { // this binary writes keys in another way, so that none can be told from another
			m.lose(s, at, stored)
			return now
		}
	}
	var b buffer
	for i, h := range have {
		if after := left[h.key]; after != nil && last[h.key] == i {
			b.member(h.name, m.merge(s.elem, at.key(h.key), h.raw, was[h.key], after))
		}
	}
	for _, i := range is {
		if _, written := last[i.key]; !written {
			b.member(i.name, i.raw)
		}
	}
	return b.end('}')
}

// mergePlaces keeps what is unknown in each place of an array, and the places that a longer array of a newer binary has.
func (m *merger) mergePlaces(s *shape, at path, stored, known, now []byte) []byte {
	have, was, is := elements(stored), elements(known), elements(now)
	var b buffer
	for i := range max(len(have), len(is)) {
		switch {
		case i >= len(is):
			b.element(have[i])
		case i >= len(have) || i >= len(was):
			b.element(is[i])
		default:
			b.element(m.merge(s.elem, at.index(i), have[i], was[i], is[i]))
		}
	}
	return b.end(']')
}

// mergeElements keeps elements as they are stored where this binary writes them unchanged, wherever in the slice they
// are now. Each stored element stands for one at most, or what is unique in it would be there twice. Of an element that
// was changed nobody can say which stored one it was, so what is unknown in it is lost.
func (m *merger) mergeElements(s *shape, at path, stored, known, now []byte) []byte {
	have, was, is := elements(stored), elements(known), elements(now)
	if len(have) != len(was) {
		return now
	}
	from := make([]int, len(is)) // the stored element that stands for each, -1 for none
	used := make([]bool, len(have))
	for i := range is {
		from[i] = -1
		if i < len(was) && bytes.Equal(is[i], was[i]) {
			from[i], used[i] = i, true
		}
	}
	moved := make(map[string][]int) // elements that are not where they were, by what this binary writes of them
	for i := range was {
		if !used[i] {
			moved[string(was[i])] = append(moved[string(was[i])], i)
		}
	}
	changed := false
	var b buffer
	for i := range is {
		if same := moved[string(is[i])]; from[i] < 0 && len(same) > 0 {
			from[i], used[same[0]] = same[0], true
			moved[string(is[i])] = same[1:]
		}
		if from[i] >= 0 {
			b.element(have[from[i]])
		} else {
			changed = true
			b.element(is[i])
		}
	}
	for i := range have {
		if changed && !used[i] { // otherwise the game has removed it, and with it all that is in it
			m.lose(s.elem, at.any(), have[i])
		}
	}
	return b.end(']')
}

// lose notes what is in stored and has no name in this binary.
func (m *merger) lose(s *shape, at path, stored []byte) {
	switch s.kind {
	case pointer:
		m.lose(s.elem, at, stored)
	case object:
		if isObject(stored) {
			for _, h := range members(stored) {
				if f := s.field(h.key); f < 0 {
					m.note(at.key(h.key))
				} else {
					m.lose(s.fields[f].shape, at.key(h.key), h.raw)
				}
			}
		}
	case dict:
		if isObject(stored) && s.elem.lossy {
			for _, h := range members(stored) {
				m.lose(s.elem, at.key(h.key), h.raw)
			}
		}
	case list, tuple:
		if isArray(stored) && s.elem.lossy {
			for _, h := range elements(stored) {
				m.lose(s.elem, at.any(), h)
			}
		}
	}
}

// loseWithin notes what a type that reads and writes itself does not write any more.
func (m *merger) loseWithin(at path, stored, known []byte) {
	if !isObject(stored) || !isObject(known) {
		return
	}
	was := byKey(members(known))
	for _, h := range members(stored) {
		if before, ok := was[h.key]; ok {
			m.loseWithin(at.key(h.key), h.raw, before)
		} else {
			m.note(at.key(h.key))
		}
	}
}

// note keeps the first few paths: they are for people.
func (m *merger) note(at path) {
	if p := at.String(); len(m.lost) < 16 && !slices.Contains(m.lost, p) {
		m.lost = append(m.lost, p)
	}
}
