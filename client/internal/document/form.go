// Package document turns a game's value into the JSON document that the store has, and back.
//
// A Form knows how a type stands in JSON, and what a new profile has; a Document is what the store has of one profile,
// beside the game's value of it. Three rules hold for every type:
//
// What is missing is judged on the stored document, never on what decoding it into a value leaves behind.
//
// What this binary does not know stays: a newer binary may have written it. A changed value is written into the document
// that it was loaded from; see merger.
//
// What is written can be read back, and is read back as the same: otherwise it is refused before it is stored, since the
// next load would fail, or give the game something else.
package document

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"reflect"
)

// Form is how values of T stand in a document. It is made once for a T, and may be used by many goroutines.
type Form[T any] struct {
	root     *shape
	template []byte
	seed     maphash.Seed
}

// New makes a form. The template is what a new profile has; it is not kept. What it may not be is an error: a nil map;
// what cannot be written or read back; and a value in a field that is left out of the document when it is empty, since
// such a field, once emptied, would have the template's value again after the next load.
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
	if err := f.root.comesBack(v, path{}, true); err != nil {
		return nil, err
	}
	f.template = data
	if err := f.readsBack(template, data, data); err != nil {
		return nil, fmt.Errorf("the template cannot be stored: %w", err)
	}
	return f, nil
}

// Fresh is a deep copy of the template, as it would be loaded.
func (f *Form[T]) Fresh() (T, error) { return f.decode(f.template) }

// Read is the value of a stored document, with what is missing from the template.
func (f *Form[T]) Read(stored []byte) (T, error) {
	value, _, err := f.read(stored)
	return value, err
}

// read returns also the document that the value was decoded from.
func (f *Form[T]) read(stored []byte) (value T, filled []byte, err error) {
	if !json.Valid(stored) {
		if err = Unmarshal(stored, &value); err == nil {
			err = errors.New("the data is not JSON")
		}
		return value, nil, err
	}
	filled = f.root.fill(stored, f.template)
	value, err = f.decode(filled)
	return value, filled, err
}

func (f *Form[T]) decode(data []byte) (T, error) {
	var value T
	if err := Unmarshal(data, &value); err != nil {
		return value, f.root.unreadable(data, path{}, err)
	}
	f.root.makeMaps(reflect.ValueOf(&value).Elem())
	return value, nil
}

// Write is the document of a value that has none yet.
func (f *Form[T]) Write(value *T) ([]byte, error) {
	data, err := Marshal(value)
	if err == nil {
		err = f.readsBack(value, data, data)
	}
	return data, err
}

// Copy is a deep copy of a value, made of its document. It fails where something would not come along.
func (f *Form[T]) Copy(value *T) (T, error) {
	var copied T
	if err := f.root.loses(path{}, make(map[*shape]bool)); err != nil {
		return copied, err
	}
	data, err := f.Write(value)
	if err == nil {
		err = Unmarshal(data, &copied)
	}
	return copied, err
}

// readsBack finds out whether a document that was written for a value would be loaded as that value.
func (f *Form[T]) readsBack(value *T, written, document []byte) error {
	if err := f.root.foreignIn(reflect.ValueOf(value).Elem(), path{}); err != nil {
		return err
	}
	back, err := f.Read(document)
	if err != nil {
		return fmt.Errorf("what is written could not be read back: %w", err)
	}
	again, err := Marshal(&back)
	if err != nil {
		return fmt.Errorf("what is read back could not be written again: %w", err)
	}
	return f.root.differ(path{}, written, again)
}

// Document is what the store has of one profile, beside the game's value. One goroutine uses it at a time.
type Document[T any] struct {
	form    *Form[T]
	checked bool   // a document of this session has been read back
	last    uint64 // hash of what the document has, where nothing more is kept

	// Kept where the document says more, or otherwise, than this binary writes:
	stored []byte // the document
	known  []byte // what this binary writes of the value that it stands for
}

// Start makes the document of a profile that has none yet.
func (f *Form[T]) Start() *Document[T] { return &Document[T]{form: f} }

// Load is the value of a stored document, and the document beside it. written is what Encode gives of the value as long as
// it is unchanged: the stored document, with what was missing.
func (f *Form[T]) Load(stored []byte) (value T, d *Document[T], written []byte, err error) {
	value, filled, err := f.read(stored)
	if err != nil {
		return value, nil, nil, err
	}
	known, err := Marshal(&value)
	if err != nil {
		return value, nil, nil, err
	}
	d = f.Start()
	return value, d, d.keep(filled, known), nil
}

// keep notes what the value stands for now, and returns the document.
func (d *Document[T]) keep(stored, known []byte) []byte {
	if !d.form.root.lossy || string(stored) == string(known) {
		d.last, d.stored, d.known = maphash.Bytes(d.form.seed, known), nil, nil
		return known
	}
	d.stored, d.known = stored, known
	return stored
}

// Encode is the document with the value as it is now. lost are the paths of what this binary does not know and could not
// keep, since it changed what that stood in. An error names the path of what cannot be stored.
func (d *Document[T]) Encode(value *T) (document []byte, lost []string, err error) {
	known, err := Marshal(value)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case d.known != nil && string(known) == string(d.known):
		return d.stored, nil, nil
	case d.known == nil && d.last == maphash.Bytes(d.form.seed, known):
		return known, nil, nil
	}
	document = known
	if d.known != nil {
		var m merger
		document, lost = m.merge(d.form.root, path{}, d.stored, d.known, known), m.lost
	}
	// Of most types every value can be read back if one could. Custom code may fail with each, and what is in an interface
	// changes its type without a change of T.
	if !d.checked || d.form.root.custom {
		err = d.form.readsBack(value, known, document)
	} else {
		err = d.form.root.foreignIn(reflect.ValueOf(value).Elem(), path{})
	}
	if err != nil {
		return nil, nil, err
	}
	d.checked = true
	return d.keep(document, known), lost, nil
}
