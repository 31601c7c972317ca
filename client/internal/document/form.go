// Package document converts a game's value to the JSON document that the store has, and back.
//
// A [Form] describes how a type is written as JSON, and holds the data of a new profile; a [Document] is the stored
// document of one profile, kept beside the game's value of it. Three rules hold for every type:
//
// A part is missing if the stored document does not have it. Go's zero value, which decoding leaves for both a missing
// part and a stored zero, is never asked.
//
// Fields that this binary does not know survive: a newer binary may have written them. A changed value is written into
// the document that it was loaded from; see merger.
//
// A document that would not be read back as the same value is refused before it is stored, since the next load would
// fail, or give the game other data.
//
// The files, from the bottom: scan.go cuts valid JSON into members and elements, fields.go and shape.go describe types,
// fill.go adds the template, merge.go keeps unknown fields, check.go and template.go refuse values that would be lost,
// walk.go finds the path for an error of encoding/json.
package document

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"reflect"
)

// Form describes how values of T are written as documents. It is made once for a T, and may be used by many goroutines.
type Form[T any] struct {
	root     *shape
	template []byte
	seed     maphash.Seed
}

// New makes a form. The template is the data of a new profile; only its document is kept. New refuses a nil map, a
// template that cannot be written or read back, and a template with a value in a field that is left out of the document
// when it is empty: such a field, once emptied, would have the template's value again after the next load.
func New[T any](template *T) (*Form[T], error) {
	f := &Form[T]{root: shapeOf(reflect.TypeFor[T]()), seed: maphash.MakeSeed()}
	v := reflect.ValueOf(template).Elem()
	if v.Kind() == reflect.Map && v.IsNil() {
		return nil, fmt.Errorf("the template is a nil map: give an empty one, %s{}", v.Type())
	}
	data, err := Marshal(template)
	if err != nil {
		return nil, fmt.Errorf("the template cannot be encoded: %w", err)
	}
	if err := f.root.checkTemplate(v, path{}, true); err != nil {
		return nil, err
	}
	f.template = data
	if err := f.checkReadBack(template, data, data); err != nil {
		return nil, fmt.Errorf("the template cannot be stored: %w", err)
	}
	return f, nil
}

// Fresh returns a deep copy of the template, as a load would give it.
func (f *Form[T]) Fresh() (T, error) { return f.decodeValue(f.template) }

// Read returns the value of a stored document, with its missing parts taken from the template.
func (f *Form[T]) Read(stored []byte) (T, error) {
	value, _, err := f.readFilled(stored)
	return value, err
}

// readFilled is Read, and also returns the filled document that the value was decoded from.
func (f *Form[T]) readFilled(stored []byte) (value T, filled []byte, err error) {
	if !json.Valid(stored) {
		if err = Unmarshal(stored, &value); err == nil {
			err = errors.New("the data is not JSON")
		}
		return value, nil, err
	}
	filled = f.root.fillFromTemplate(stored, f.template)
	value, err = f.decodeValue(filled)
	return value, filled, err
}

func (f *Form[T]) decodeValue(data []byte) (T, error) {
	var value T
	if err := Unmarshal(data, &value); err != nil {
		return value, f.root.locateDecodeError(data, path{}, err)
	}
	f.root.makeNilMaps(reflect.ValueOf(&value).Elem())
	return value, nil
}

// Write returns the document of a value that has none yet.
func (f *Form[T]) Write(value *T) ([]byte, error) {
	data, err := Marshal(value)
	if err == nil {
		err = f.checkReadBack(value, data, data)
	}
	return data, err
}

// Copy returns a deep copy of a value, made by way of its document. It fails if the copy would lack a part.
func (f *Form[T]) Copy(value *T) (T, error) {
	var copied T
	if err := f.root.checkCopyable(path{}, make(map[*shape]bool)); err != nil {
		return copied, err
	}
	data, err := f.Write(value)
	if err == nil {
		err = Unmarshal(data, &copied)
	}
	return copied, err
}

// checkReadBack returns an error if a document that was written for a value would not be loaded as that value. written is
// the value's own encoding; document may hold more, such as fields that this binary does not know.
func (f *Form[T]) checkReadBack(value *T, written, document []byte) error {
	if err := f.root.checkForeign(reflect.ValueOf(value).Elem(), path{}); err != nil {
		return err
	}
	back, err := f.Read(document)
	if err != nil {
		return fmt.Errorf("the written document could not be read back: %w", err)
	}
	again, err := Marshal(&back)
	if err != nil {
		return fmt.Errorf("the value that was read back could not be written again: %w", err)
	}
	return f.root.findDifference(path{}, written, again)
}

// Document is the stored document of one profile, kept beside the game's value. One goroutine uses it at a time.
type Document[T any] struct {
	form         *Form[T]
	readBackOnce bool   // a document of this session has been read back
	lastHash     uint64 // hash of the document, which is compared while stored is nil

	// The document differs from this binary's own encoding of the same value, by unknown fields, order or digits. Both are
	// nil if there is no difference.
	stored []byte // the document itself
	known  []byte // this binary's encoding of the value that stored was read as
}

// Start returns the Document of a profile that has no stored data yet.
func (f *Form[T]) Start() *Document[T] { return &Document[T]{form: f} }

// Load returns the value of a stored document, and the Document to keep beside it. written is the result that Encode gives
// while the value is unchanged: the stored document with its missing parts filled in.
func (f *Form[T]) Load(stored []byte) (value T, d *Document[T], written []byte, err error) {
	value, filled, err := f.readFilled(stored)
	if err != nil {
		return value, nil, nil, err
	}
	known, err := Marshal(&value)
	if err != nil {
		return value, nil, nil, err
	}
	d = f.Start()
	return value, d, d.keepStored(filled, known), nil
}

// keepStored remembers the document that the value was last stored as, or only its hash where that is enough, and returns it.
func (d *Document[T]) keepStored(stored, known []byte) []byte {
	if !d.form.root.lossy || string(stored) == string(known) {
		d.lastHash, d.stored, d.known = maphash.Bytes(d.form.seed, known), nil, nil
		return known
	}
	d.stored, d.known = stored, known
	return stored
}

// Encode writes the value as it is now into the document. lost are the paths of unknown fields that could not be kept,
// since the game changed the value around them. An error names the path of the value that cannot be stored.
func (d *Document[T]) Encode(value *T) (document []byte, lost []string, err error) {
	known, err := Marshal(value)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case d.known != nil && string(known) == string(d.known):
		return d.stored, nil, nil
	case d.known == nil && d.lastHash == maphash.Bytes(d.form.seed, known):
		return known, nil, nil
	}
	document = known
	if d.known != nil {
		var m merger
		document, lost = m.mergeValue(d.form.root, path{}, d.stored, d.known, known), m.lostPaths
	}
	// Reading back is expensive. For most types, if one value could be read back, all can. Types with marshalling code of
	// their own may fail at any value; the dynamic type in an interface can change at any time, and is always checked.
	if !d.readBackOnce || d.form.root.hasCustomCode {
		err = d.form.checkReadBack(value, known, document)
	} else {
		err = d.form.root.checkForeign(reflect.ValueOf(value).Elem(), path{})
	}
	if err != nil {
		return nil, nil, err
	}
	d.readBackOnce = true
	return d.keepStored(document, known), lost, nil
}
