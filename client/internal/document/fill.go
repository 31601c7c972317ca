package document

import "bytes"

// fill is a stored document with what only the template has. What is missing is judged on the two documents: the fields
// of structs and the places of arrays are filled in; a map or slice that is there is taken whole, or an item that a
// player lost would come back. Where the root is a map, or any, the keys of it and of the maps in it are filled in.
// The result is the stored bytes themselves if nothing is missing.
func (s *shape) fill(stored, template []byte) []byte {
	stored = trim(stored)
	if isNull(stored) && (s.kind == dict || !s.hasNull()) {
		return template
	}
	return s.fillIn(stored, template, true)
}

func (s *shape) fillIn(stored, template []byte, keys bool) []byte {
	if isNull(stored) && !s.hasNull() {
		return template
	}
	switch s.kind {
	case pointer:
		if !isNull(stored) {
			return s.elem.fillIn(stored, template, keys)
		}
	case object:
		if isObject(stored) && isObject(template) {
			return s.fillFields(stored, template)
		}
	case tuple:
		if isArray(stored) && isArray(template) {
			return s.fillPlaces(stored, template)
		}
	case dict, loose:
		if keys && isObject(stored) && isObject(template) {
			return s.fillKeys(stored, template)
		}
	}
	return stored
}

func (s *shape) fillFields(stored, template []byte) []byte {
	have, want := members(stored), members(template)
	last := s.last(have)
	var b buffer
	same := true
	for i, m := range have {
		at := s.field(m.key)
		if at >= 0 && last[at] != i {
			same = false // of a key that is there twice the last counts
			continue
		}
		raw := m.raw
		if at >= 0 {
			if from := find(want, s.fields[at].name); from != nil {
				raw = s.fields[at].shape.fillIn(raw, from, false)
			}
		}
		same = same && bytes.Equal(raw, m.raw)
		b.member(m.name, raw)
	}
	for _, m := range want {
		if last[s.field(m.key)] < 0 {
			same = false
			b.member(m.name, m.raw)
		}
	}
	if same {
		return stored
	}
	return b.end('}')
}

// last is, for each field, the last member that belongs to it, -1 if there is none.
func (s *shape) last(members []member) []int {
	last := make([]int, len(s.fields))
	for i := range last {
		last[i] = -1
	}
	for i, m := range members {
		if at := s.field(m.key); at >= 0 {
			last[at] = i
		}
	}
	return last
}

func (s *shape) fillPlaces(stored, template []byte) []byte {
	have, want := elements(stored), elements(template)
	var b buffer
	same := len(have) >= len(want)
	for i := range max(len(have), len(want)) {
		switch {
		case i >= len(have):
			b.element(want[i])
		case i >= len(want):
			b.element(have[i])
		default:
			raw := s.elem.fillIn(have[i], want[i], false)
			same = same && bytes.Equal(raw, have[i])
			b.element(raw)
		}
	}
	if same {
		return stored
	}
	return b.end(']')
}

func (s *shape) fillKeys(stored, template []byte) []byte {
	below := s
	if s.kind == dict {
		below = s.elem
	}
	have := members(stored)
	values := byKey(have)
	wanted := members(template)
	from := byKey(wanted)
	var b buffer
	same := true
	for _, m := range have {
		raw := m.raw
		if want, ok := from[m.key]; ok {
			raw = below.fillIn(raw, want, true)
		}
		same = same && bytes.Equal(raw, m.raw)
		b.member(m.name, raw)
	}
	for _, m := range wanted {
		if _, ok := values[m.key]; !ok {
			same = false
			b.member(m.name, m.raw)
		}
	}
	if same {
		return stored
	}
	return b.end('}')
}

func find(members []member, key string) []byte {
	for _, m := range members {
		if m.key == key {
			return m.raw
		}
	}
	return nil
}

// buffer builds an object or an array.
type buffer struct{ b []byte }

func (b *buffer) member(name, raw []byte) {
	b.begin('{')
	b.b = append(b.b, name...)
	b.b = append(b.b, ':')
	b.b = append(b.b, raw...)
}

func (b *buffer) element(raw []byte) {
	b.begin('[')
	b.b = append(b.b, raw...)
}

func (b *buffer) begin(open byte) {
	if len(b.b) == 0 {
		b.b = append(b.b, open)
	} else {
		b.b = append(b.b, ',')
	}
}

func (b *buffer) end(end byte) []byte {
	if len(b.b) == 0 {
		return []byte{end - 2, end} // the opening bracket is two before the closing one
	}
	return append(b.b, end)
}
