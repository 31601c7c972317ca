package document

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"
)

// kind is how a Go type stands in a document.
type kind uint8

const (
	leaf    kind = iota // strings, numbers, bools, []byte
	opaque              // reads or writes itself, by MarshalJSON and the like: its JSON is taken whole
	object              // a struct
	dict                // a map
	list                // a slice
	tuple               // an array: its places are named, as a struct's fields are
	pointer             // null, or what it points to
	loose               // any: whatever JSON gives back
	closed              // another interface: encoding/json writes what is in it, and cannot read it back
	foreign             // cannot be in a document: channels, functions, complex numbers
)

// shape is what reflection knows of a type. Shapes of recursive types have cycles.
type shape struct {
	kind   kind
	typ    reflect.Type
	elem   *shape // of dict, list, tuple and pointer
	fields []field
	exact  map[string]int // fields by name
	folded map[string]int // by name without regard for upper and lower case, which encoding/json accepts as well

	// What can be found in it or below it:
	maps       bool // maps, which are never nil after a load
	interfaces bool // values whose type is only known at run time
	custom     bool // types whose own code may write what it cannot read back
	lossy      bool // data of which this binary may write less than it has read
}

var (
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

	// trusted types write themselves, and read back what they wrote.
	trusted = []reflect.Type{reflect.TypeFor[time.Time](), reflect.TypeFor[json.RawMessage]()}
)

func shapeOf(t reflect.Type) *shape {
	b := builder{made: make(map[reflect.Type]*shape)}
	root := b.shape(t)
	for changed := true; changed; { // until no shape learns anything more from those below it
		changed = false
		for _, s := range b.made {
			changed = s.learn() || changed
		}
	}
	return root
}

type builder struct{ made map[reflect.Type]*shape }

func (b *builder) shape(t reflect.Type) *shape {
	if s := b.made[t]; s != nil {
		return s
	}
	s := &shape{typ: t}
	b.made[t] = s
	switch {
	case t.Kind() == reflect.Pointer:
		s.kind, s.elem = pointer, b.shape(t.Elem())
	case t.Kind() == reflect.Interface:
		s.kind, s.interfaces = closed, true
		if t.NumMethod() == 0 {
			s.kind = loose
		}
	case implements(t, jsonMarshaler) || implements(t, jsonUnmarshaler) || implements(t, textMarshaler) || implements(t, textUnmarshaler):
		s.kind, s.custom = opaque, !slices.Contains(trusted, t)
		s.lossy = t != reflect.TypeFor[json.RawMessage]()
	default:
		b.plain(s)
	}
	return s
}

func (b *builder) plain(s *shape) {
	switch t := s.typ; t.Kind() {
	case reflect.Struct:
		s.kind, s.lossy = object, true
		s.fields = fieldsOf(t)
		s.exact, s.folded = make(map[string]int), make(map[string]int)
		for i := range s.fields {
			f := &s.fields[i]
			f.shape = b.shape(f.typ)
			s.custom = s.custom || f.sealed
			s.exact[f.name] = i
			if _, taken := s.folded[fold(f.name)]; !taken {
				s.folded[fold(f.name)] = i
			}
		}
	case reflect.Map:
		s.kind, s.maps, s.elem = dict, true, b.shape(t.Elem())
		s.custom = implements(t.Key(), textMarshaler) || implements(t.Key(), textUnmarshaler)
		s.lossy = s.custom
	case reflect.Slice:
		if s.kind, s.elem = list, b.shape(t.Elem()); s.elem.kind == leaf && t.Elem().Kind() == reflect.Uint8 {
			s.kind, s.elem = leaf, nil
		}
	case reflect.Array:
		s.kind, s.lossy, s.elem = tuple, true, b.shape(t.Elem())
	case reflect.Float32, reflect.Float64:
		s.lossy = true // of digits
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		s.kind = foreign
	}
}

func implements(t, what reflect.Type) bool {
	return t.Implements(what) || reflect.PointerTo(t).Implements(what)
}

// learn takes over what the shapes below say, and tells whether that was news.
func (s *shape) learn() bool {
	was := [...]bool{s.maps, s.interfaces, s.custom, s.lossy}
	from := func(below *shape) {
		s.maps = s.maps || below.maps
		s.interfaces = s.interfaces || below.interfaces
		s.custom = s.custom || below.custom
		s.lossy = s.lossy || below.lossy
	}
	if s.elem != nil {
		from(s.elem)
	}
	for i := range s.fields {
		from(s.fields[i].shape)
	}
	return was != [...]bool{s.maps, s.interfaces, s.custom, s.lossy}
}

// hasNull says whether null is a value of the type. Of others encoding/json ignores it: it then counts as missing.
func (s *shape) hasNull() bool {
	return s.kind != object && s.kind != tuple && (s.kind != leaf || s.typ.Kind() == reflect.Slice)
}

// field is the field that a key of a document belongs to, -1 if this binary knows none.
func (s *shape) field(key string) int {
	if i, ok := s.exact[key]; ok {
		return i
	}
	if i, ok := s.folded[fold(key)]; ok {
		return i
	}
	return -1
}

// fold makes names equal that differ only in upper and lower case, as strings.EqualFold has it.
func fold(name string) string { return strings.Map(foldRune, name) }
