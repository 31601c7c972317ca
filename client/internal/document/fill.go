package document

import "bytes"

// fillFromTemplate returns a stored document with the parts that only the template has. A part is missing if the stored
// document does not have it, whatever its Go value would be. Fields of structs and places of arrays are filled in; a map
// or slice that is there is taken whole, or an item that a player lost would come back. If the root is a map, or any, the
// missing keys of the root and of the maps below it are filled in. If nothing is missing, the stored bytes are returned.
func (s *shape) fillFromTemplate(stored, template []byte) []byte {
	stored = trimSpace(stored)
	if isNull(stored) && (s.kind == mapKind || !s.acceptsNull()) {
		return template
	}
	return s.fillValue(stored, template, true)
}

func (s *shape) fillValue(stored, template []byte, keys bool) []byte {
	if isNull(stored) && !s.acceptsNull() {
		return template
	}
	switch s.kind {
	case pointerKind:
		if !isNull(stored) {
			return s.elem.fillValue(stored, template, keys)
		}
	case structKind:
		if isObject(stored) && isObject(template) {
			return s.fillFields(stored, template)
		}
	case arrayKind:
		if isArray(stored) && isArray(template) {
			return s.fillPlaces(stored, template)
		}
	case mapKind, anyKind:
		if keys && isObject(stored) && isObject(template) {
			return s.fillKeys(stored, template)
		}
	}
	return stored
}

func (s *shape) fillFields(stored, template []byte) []byte {
	have, want := objectMembers(stored), objectMembers(template)
	last := s.lastMembers(have)
	var b jsonBuilder
	same := true
	for i, m := range have {
		at := s.fieldIndex(m.key)
		if at >= 0 && last[at] != i {
			same = false // of a duplicate key the last counts
			continue
		}
		raw := m.value
		if at >= 0 {
			if from := valueOfKey(want, s.fields[at].name); from != nil {
				raw = s.fields[at].shape.fillValue(raw, from, false)
			}
		}
		same = same && bytes.Equal(raw, m.value)
		b.addMember(m.quotedKey, raw)
	}
	for _, m := range want {
		if last[s.fieldIndex(m.key)] < 0 {
			same = false
			b.addMember(m.quotedKey, m.value)
		}
	}
	if same {
		return stored
	}
	return b.closeWith('}')
}

// lastMembers returns, for each field, the index of the last member that belongs to it, -1 if there is none.
func (s *shape) lastMembers(members []member) []int {
	last := make([]int, len(s.fields))
	for i := range last {
		last[i] = -1
	}
	for i, m := range members {
		if at := s.fieldIndex(m.key); at >= 0 {
			last[at] = i
		}
	}
	return last
}

func (s *shape) fillPlaces(stored, template []byte) []byte {
	have, want := arrayElements(stored), arrayElements(template)
	var b jsonBuilder
	same := len(have) >= len(want)
	for i := range max(len(have), len(want)) {
		switch {
		case i >= len(have):
			b.addElement(want[i])
		case i >= len(want):
			b.addElement(have[i])
		default:
			raw := s.elem.fillValue(have[i], want[i], false)
			same = same && bytes.Equal(raw, have[i])
			b.addElement(raw)
		}
	}
	if same {
		return stored
	}
	return b.closeWith(']')
}

func (s *shape) fillKeys(stored, template []byte) []byte {
	below := s
	if s.kind == mapKind {
		below = s.elem
	}
	have := objectMembers(stored)
	values := valuesByKey(have)
	wanted := objectMembers(template)
	from := valuesByKey(wanted)
	var b jsonBuilder
	same := true
	for _, m := range have {
		raw := m.value
		if want, ok := from[m.key]; ok {
			raw = below.fillValue(raw, want, true)
		}
		same = same && bytes.Equal(raw, m.value)
		b.addMember(m.quotedKey, raw)
	}
	for _, m := range wanted {
		if _, ok := values[m.key]; !ok {
			same = false
			b.addMember(m.quotedKey, m.value)
		}
	}
	if same {
		return stored
	}
	return b.closeWith('}')
}

func valueOfKey(members []member, key string) []byte {
	for _, m := range members {
		if m.key == key {
			return m.value
		}
	}
	return nil
}

// jsonBuilder builds the text of one object or one array.
type jsonBuilder struct{ bytes []byte }

func (b *jsonBuilder) addMember(name, raw []byte) {
	b.addSeparator('{')
	b.bytes = append(b.bytes, name...)
	b.bytes = append(b.bytes, ':')
	b.bytes = append(b.bytes, raw...)
}

func (b *jsonBuilder) addElement(raw []byte) {
	b.addSeparator('[')
	b.bytes = append(b.bytes, raw...)
}

func (b *jsonBuilder) addSeparator(open byte) {
	if len(b.bytes) == 0 {
		b.bytes = append(b.bytes, open)
	} else {
		b.bytes = append(b.bytes, ',')
	}
}

func (b *jsonBuilder) closeWith(end byte) []byte {
	if len(b.bytes) == 0 {
		return []byte{end - 2, end} // the opening bracket is two before the closing one
	}
	return append(b.bytes, end)
}
