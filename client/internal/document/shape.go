package document

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"
)

// shapeKind says how a Go type is written in a document.
type shapeKind uint8

const (
	scalarKind      shapeKind = iota // strings, numbers, bools, []byte
	selfWritingKind                  // a type with MarshalJSON, UnmarshalText or the like: its JSON is taken whole
	structKind                       // a struct
	mapKind                          // a map
	sliceKind                        // a slice
	arrayKind                        // an array: its places are named, as a struct's fields are
	pointerKind                      // a pointer: null, or the value that it points to
	anyKind                          // any: it holds the types that decoding JSON gives
	interfaceKind                    // an interface with methods: encoding/json can write its value, and cannot read it back
	unsupportedKind                  // cannot be in a document: channels, functions, complex numbers
)

// shape describes a type, by reflection. Shapes of recursive types have cycles.
type shape struct {
	kind         shapeKind
	typ          reflect.Type
	elem         *shape // of dict, list, tuple and pointer
	fields       []field
	byName       map[string]int // fields by name
	byFoldedName map[string]int // by name without regard for upper and lower case, which encoding/json accepts as well

	// The following facts hold of the type itself or of a type below it.
	hasMaps       bool // maps, which are never nil after a load
	hasInterfaces bool // interfaces: their values have a type that is only known at run time
	hasCustomCode bool // types with code of their own that may write a form it cannot read back
	lossy         bool // types of which this binary may write less than it has read: unknown fields, digits
}

var (
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

	// faithfulTypes have their own marshalling code, and are known to read back exactly the value that they wrote.
	faithfulTypes = []reflect.Type{reflect.TypeFor[time.Time](), reflect.TypeFor[json.RawMessage]()}
)

func shapeOf(t reflect.Type) *shape {
	b := shapeBuilder{shapes: make(map[reflect.Type]*shape)}
	root := b.buildShape(t)
	for changed := true; changed; { // a fixed point, since recursive types make cycles
		changed = false
		for _, s := range b.shapes {
			changed = s.learnFromBelow() || changed
		}
	}
	return root
}

type shapeBuilder struct{ shapes map[reflect.Type]*shape }

func (b *shapeBuilder) buildShape(t reflect.Type) *shape {
	if s := b.shapes[t]; s != nil {
		return s
	}
	s := &shape{typ: t}
	b.shapes[t] = s
	switch {
	case t.Kind() == reflect.Pointer:
		s.kind, s.elem = pointerKind, b.buildShape(t.Elem())
	case t.Kind() == reflect.Interface:
		s.kind, s.hasInterfaces = interfaceKind, true
		if t.NumMethod() == 0 {
			s.kind = anyKind
		}
	case hasMethodsOf(t, jsonMarshaler) || hasMethodsOf(t, jsonUnmarshaler) || hasMethodsOf(t, textMarshaler) || hasMethodsOf(t, textUnmarshaler):
		s.kind, s.hasCustomCode = selfWritingKind, !slices.Contains(faithfulTypes, t)
		s.lossy = t != reflect.TypeFor[json.RawMessage]()
	default:
		b.buildPlainShape(s)
	}
	return s
}

func (b *shapeBuilder) buildPlainShape(s *shape) {
	switch t := s.typ; t.Kind() {
	case reflect.Struct:
		s.kind, s.lossy = structKind, true
		s.fields = listFields(t)
		s.byName, s.byFoldedName = make(map[string]int), make(map[string]int)
		for i := range s.fields {
			f := &s.fields[i]
			f.shape = b.buildShape(f.typ)
			s.hasCustomCode = s.hasCustomCode || f.unreadable
			s.byName[f.name] = i
			if _, taken := s.byFoldedName[foldName(f.name)]; !taken {
				s.byFoldedName[foldName(f.name)] = i
			}
		}
	case reflect.Map:
		s.kind, s.hasMaps, s.elem = mapKind, true, b.buildShape(t.Elem())
		s.hasCustomCode = hasMethodsOf(t.Key(), textMarshaler) || hasMethodsOf(t.Key(), textUnmarshaler)
		s.lossy = s.hasCustomCode
	case reflect.Slice:
		if s.kind, s.elem = sliceKind, b.buildShape(t.Elem()); s.elem.kind == scalarKind && t.Elem().Kind() == reflect.Uint8 {
			s.kind, s.elem = scalarKind, nil
		}
	case reflect.Array:
		s.kind, s.lossy, s.elem = arrayKind, true, b.buildShape(t.Elem())
	case reflect.Float32, reflect.Float64:
		s.lossy = true // digits beyond the type's precision
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		s.kind = unsupportedKind
	}
}

func hasMethodsOf(t, iface reflect.Type) bool {
	return t.Implements(iface) || reflect.PointerTo(t).Implements(iface)
}

// learnFromBelow copies facts of the shapes directly below, and reports whether this shape changed.
func (s *shape) learnFromBelow() bool {
	was := [...]bool{s.hasMaps, s.hasInterfaces, s.hasCustomCode, s.lossy}
	from := func(below *shape) {
		s.hasMaps = s.hasMaps || below.hasMaps
		s.hasInterfaces = s.hasInterfaces || below.hasInterfaces
		s.hasCustomCode = s.hasCustomCode || below.hasCustomCode
		s.lossy = s.lossy || below.lossy
	}
	if s.elem != nil {
		from(s.elem)
	}
	for i := range s.fields {
		from(s.fields[i].shape)
	}
	return was != [...]bool{s.hasMaps, s.hasInterfaces, s.hasCustomCode, s.lossy}
}

// acceptsNull reports whether null is a value of the type. encoding/json ignores null for other types, so that it then
// counts as missing.
func (s *shape) acceptsNull() bool {
	return s.kind != structKind && s.kind != arrayKind && (s.kind != scalarKind || s.typ.Kind() == reflect.Slice)
}

// fieldIndex returns the field that a key of a document belongs to, -1 if this binary has no such field.
func (s *shape) fieldIndex(key string) int {
	if i, ok := s.byName[key]; ok {
		return i
	}
	if i, ok := s.byFoldedName[foldName(key)]; ok {
		return i
	}
	return -1
}

// foldName maps names that strings.EqualFold calls equal to the same string.
func foldName(name string) string { return strings.Map(foldRune, name) }
