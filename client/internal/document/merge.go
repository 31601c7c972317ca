package document

import (
	"bytes"
	"slices"
)

// merger writes a changed value into the document that it was loaded from, so that fields that this binary does not know
// survive: a three-way merge.
//
// Each step looks at one place in three documents: stored is the document in the store, known is this binary's encoding of
// the value as loaded, and now is its encoding of the value as it is. The result reads back as now does. Where now equals
// known, the game changed nothing, and the bytes of stored are kept.
type merger struct {
	lostPaths []string // paths of stored members that this binary does not know and could not keep
}

func (m *merger) mergeValue(s *shape, at path, stored, known, now []byte) []byte {
	if bytes.Equal(known, now) {
		return stored
	}
	if bytes.Equal(stored, known) {
		return now // stored holds nothing that is unknown
	}
	switch s.kind {
	case pointerKind:
		return m.mergeValue(s.elem, at, stored, known, now)
	case structKind:
		if isObject(stored) && isObject(known) && isObject(now) {
			return m.mergeStruct(s, at, stored, known, now)
		}
	case mapKind:
		if s.elem.lossy && isObject(stored) && isObject(known) && isObject(now) {
			return m.mergeMap(s, at, stored, known, now)
		}
	case arrayKind:
		if s.elem.lossy && isArray(stored) && isArray(known) && isArray(now) {
			return m.mergeArray(s, at, stored, known, now)
		}
	case sliceKind:
		if s.elem.lossy && isArray(stored) && isArray(known) && isArray(now) {
			return m.mergeSlice(s, at, stored, known, now)
		}
	case selfWritingKind:
		m.noteDropped(at, stored, known)
	}
	return now
}

// mergeStruct keeps the members that are no fields of this binary's struct.
func (m *merger) mergeStruct(s *shape, at path, stored, known, now []byte) []byte {
	have, was, is := objectMembers(stored), objectMembers(known), objectMembers(now)
	last := s.lastMembers(have)
	var b jsonBuilder
	for i, h := range have {
		f := s.fieldIndex(h.key)
		if f < 0 {
			b.addMember(h.quotedKey, h.value)
			continue
		}
		if last[f] != i {
			continue
		}
		name := s.fields[f].name
		before, after := valueOfKey(was, name), valueOfKey(is, name)
		switch {
		case before == nil && after == nil:
			b.addMember(h.quotedKey, h.value) // an empty value that this binary leaves out
		case before == nil:
			b.addMember(h.quotedKey, after)
		case after != nil:
			b.addMember(h.quotedKey, m.mergeValue(s.fields[f].shape, at.atKey(name), h.value, before, after))
		}
	}
	for _, i := range is {
		if last[s.fieldIndex(i.key)] < 0 {
			b.addMember(i.quotedKey, i.value)
		}
	}
	return b.closeWith('}')
}

// mergeMap keeps unknown fields below the keys that the game's map still has.
func (m *merger) mergeMap(s *shape, at path, stored, known, now []byte) []byte {
	have, is := objectMembers(stored), objectMembers(now)
	was, left := valuesByKey(objectMembers(known)), valuesByKey(is)
	last := make(map[string]int, len(have))
	for i, h := range have {
		last[h.key] = i
		if was[h.key] == nil { // this binary writes keys in another form: stored keys cannot be matched
			m.noteUnknown(s, at, stored)
			return now
		}
	}
	var b jsonBuilder
	for i, h := range have {
		if after := left[h.key]; after != nil && last[h.key] == i {
			b.addMember(h.quotedKey, m.mergeValue(s.elem, at.atKey(h.key), h.value, was[h.key], after))
		}
	}
	for _, i := range is {
		if _, written := last[i.key]; !written {
			b.addMember(i.quotedKey, i.value)
		}
	}
	return b.closeWith('}')
}

// mergeArray keeps unknown fields in each place of an array, and the further places of a newer binary's longer array.
func (m *merger) mergeArray(s *shape, at path, stored, known, now []byte) []byte {
	have, was, is := arrayElements(stored), arrayElements(known), arrayElements(now)
	var b jsonBuilder
	for i := range max(len(have), len(is)) {
		switch {
		case i >= len(is):
			b.addElement(have[i])
		case i >= len(have) || i >= len(was):
			b.addElement(is[i])
		default:
			b.addElement(m.mergeValue(s.elem, at.atIndex(i), have[i], was[i], is[i]))
		}
	}
	return b.closeWith(']')
}

// mergeSlice keeps the stored form of each element that the game did not change, wherever in the slice it is now. A stored
// element is used at most once, or a unique serial number in it would exist twice. An element that was changed cannot be
// matched with a stored one, so its unknown fields are lost.
func (m *merger) mergeSlice(s *shape, at path, stored, known, now []byte) []byte {
	have, was, is := arrayElements(stored), arrayElements(known), arrayElements(now)
	if len(have) != len(was) {
		return now
	}
	from := make([]int, len(is)) // for each element now, the index of its stored form, -1 for none
	used := make([]bool, len(have))
	for i := range is {
		from[i] = -1
		if i < len(was) && bytes.Equal(is[i], was[i]) {
			from[i], used[i] = i, true
		}
	}
	moved := make(map[string][]int) // stored elements not used yet, by this binary's encoding of them
	for i := range was {
		if !used[i] {
			moved[string(was[i])] = append(moved[string(was[i])], i)
		}
	}
	changed := false
	var b jsonBuilder
	for i := range is {
		if same := moved[string(is[i])]; from[i] < 0 && len(same) > 0 {
			from[i], used[same[0]] = same[0], true
			moved[string(is[i])] = same[1:]
		}
		if from[i] >= 0 {
			b.addElement(have[from[i]])
		} else {
			changed = true
			b.addElement(is[i])
		}
	}
	for i := range have {
		if changed && !used[i] { // with no changed element, the game removed this one on purpose
			m.noteUnknown(s.elem, at.atAnyIndex(), have[i])
		}
	}
	return b.closeWith(']')
}

// noteUnknown adds the paths of stored members that this binary has no field for.
func (m *merger) noteUnknown(s *shape, at path, stored []byte) {
	switch s.kind {
	case pointerKind:
		m.noteUnknown(s.elem, at, stored)
	case structKind:
		if isObject(stored) {
			for _, h := range objectMembers(stored) {
				if f := s.fieldIndex(h.key); f < 0 {
					m.addLostPath(at.atKey(h.key))
				} else {
					m.noteUnknown(s.fields[f].shape, at.atKey(h.key), h.value)
				}
			}
		}
	case mapKind:
		if isObject(stored) && s.elem.lossy {
			for _, h := range objectMembers(stored) {
				m.noteUnknown(s.elem, at.atKey(h.key), h.value)
			}
		}
	case sliceKind, arrayKind:
		if isArray(stored) && s.elem.lossy {
			for _, h := range arrayElements(stored) {
				m.noteUnknown(s.elem, at.atAnyIndex(), h)
			}
		}
	}
}

// noteDropped adds the paths of stored members that a type with its own UnmarshalJSON and MarshalJSON did not write back.
func (m *merger) noteDropped(at path, stored, known []byte) {
	if !isObject(stored) || !isObject(known) {
		return
	}
	was := valuesByKey(objectMembers(known))
	for _, h := range objectMembers(stored) {
		if before, ok := was[h.key]; ok {
			m.noteDropped(at.atKey(h.key), h.value, before)
		} else {
			m.addLostPath(at.atKey(h.key))
		}
	}
}

// addLostPath keeps the first 16 paths: they go into a log line.
func (m *merger) addLostPath(at path) {
	if p := at.String(); len(m.lostPaths) < 16 && !slices.Contains(m.lostPaths, p) {
		m.lostPaths = append(m.lostPaths, p)
	}
}
