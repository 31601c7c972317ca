package document

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

type item struct {
	ID    int
	Count int `json:",omitempty"`
}

type inventory struct {
	base
	Level int
	Bag   []item
	By    map[string]item
	Ints  map[int]item
	Slots [2]item
	Pet   *item
	Score float64
	Voice shouting
	Any   any
	When  time.Time
}

// Fields that this binary does not know stay where they are.
func TestUnknownFieldsSurviveASave(t *testing.T) {
	for _, c := range []struct {
		name, stored string
		change       func(*inventory)
		want         string // in the order of the stored document, then the fields that this binary adds
		lost         string
	}{
		{"at the top", `{"new":{"a":[1]},"Level":1}`, func(v *inventory) { v.Level = 2 }, `{"new":{"a":[1]},"Level":2}`, ""},
		{"beside an embedded field", `{"new":1,"Coins":1}`, func(v *inventory) { v.Coins = 2 }, `{"new":1,"Coins":2}`, ""},
		{"in another case", `{"new":1,"level":1}`, func(v *inventory) { v.Level = 2 }, `{"new":1,"level":2}`, ""},
		{"known twice", `{"Level":3,"new":1,"level":1}`, func(v *inventory) { v.Level = 2 }, `{"new":1,"level":2}`, ""},
		{"behind a pointer", `{"Pet":{"ID":1,"mood":"calm"}}`, func(v *inventory) { v.Pet.ID = 2 }, `{"Pet":{"ID":2,"mood":"calm"}}`, ""},
		{"behind a pointer that is cleared", `{"Pet":{"ID":1,"mood":"calm"}}`, func(v *inventory) { v.Pet = nil }, `{"Pet":null}`, ""},
		{"in a map", `{"By":{"a":{"ID":1,"x":1},"b":{"ID":2,"x":2}}}`, func(v *inventory) { v.By["a"] = item{ID: 3} },
			`{"By":{"a":{"ID":3,"x":1},"b":{"ID":2,"x":2}}}`, ""},
		{"of a key that was dropped", `{"By":{"a":{"ID":1,"x":1},"b":{"ID":2,"x":2}}}`,
			func(v *inventory) { delete(v.By, "a"); v.By["c"] = item{ID: 4} }, `{"By":{"b":{"ID":2,"x":2},"c":{"ID":4}}}`, ""},
		{"of a key written otherwise", `{"Ints":{"01":{"ID":1,"x":1},"1":{"ID":2}}}`, func(v *inventory) { v.Ints[2] = item{ID: 5} },
			`{"Ints":{"1":{"ID":2},"2":{"ID":5}}}`, "$.Ints.01.x"},
		{"in an array", `{"Slots":[{"ID":1,"x":1},{"ID":2,"x":2},{"ID":3}]}`, func(v *inventory) { v.Slots[0].ID = 9 },
			`{"Slots":[{"ID":9,"x":1},{"ID":2,"x":2},{"ID":3}]}`, ""},
		{"emptied and left out", `{"Pet":{"ID":1,"Count":2,"x":1}}`, func(v *inventory) { v.Pet.Count = 0 }, `{"Pet":{"ID":1,"x":1}}`, ""},
		{"empty and there", `{"Pet":{"Count":0,"ID":1,"x":1}}`, func(v *inventory) { v.Pet.ID = 2 }, `{"Pet":{"Count":0,"ID":2,"x":1}}`, ""},

		{"of unchanged elements", `{"Bag":[{"ID":1,"x":1},{"ID":2,"x":2}]}`, func(v *inventory) { v.Bag = append(v.Bag, item{ID: 3}) },
			`{"Bag":[{"ID":1,"x":1},{"ID":2,"x":2},{"ID":3}]}`, ""},
		{"of a changed element", `{"Bag":[{"ID":1,"x":1},{"ID":2,"x":2}]}`, func(v *inventory) { v.Bag[0].Count = 3 },
			`{"Bag":[{"ID":1,"Count":3},{"ID":2,"x":2}]}`, "$.Bag[*].x"},
		{"of elements that moved", `{"Bag":[{"ID":1,"x":1},{"ID":2,"x":2},{"ID":3,"x":3}]}`,
			func(v *inventory) { v.Bag = []item{v.Bag[2], v.Bag[0]} }, `{"Bag":[{"ID":3,"x":3},{"ID":1,"x":1}]}`, ""},
		{"of an element that is there twice now", `{"Bag":[{"ID":1,"serial":77}]}`,
			func(v *inventory) { v.Bag = append(v.Bag, v.Bag[0]) }, `{"Bag":[{"ID":1,"serial":77},{"ID":1}]}`, ""},
		{"of one of two that look the same", `{"Bag":[{"ID":1,"x":1},{"ID":1,"x":2}]}`,
			func(v *inventory) { v.Bag = v.Bag[1:] }, `{"Bag":[{"ID":1,"x":1}]}`, ""},

		{"digits", `{"Score":9007199254740993,"Level":1}`, func(v *inventory) { v.Level = 2 }, `{"Score":9007199254740993,"Level":2}`, ""},
		{"what reads itself", `{"Voice":{"loud":"a","x":"1"},"Level":1}`, func(v *inventory) { v.Level = 2 },
			`{"Voice":{"loud":"a","x":"1"},"Level":2}`, ""},
		{"what reads itself, changed", `{"Voice":{"loud":"a","x":"1"}}`, func(v *inventory) { v.Voice.text = "b" },
			`{"Voice":{"loud":"b"}}`, "$.Voice.x"},
		{"any", `{"Any":{"b":1,"a":2.50}}`, func(v *inventory) { v.Any.(map[string]any)["b"] = 3 }, `{"Any":{"a":2.50,"b":3}}`, ""},
		{"time", `{"When":"2020-01-01T00:00:00.000Z","Level":1}`, func(v *inventory) { v.Level = 2 },
			`{"When":"2020-01-01T00:00:00.000Z","Level":2}`, ""},
	} {
		form, err := New(&inventory{})
		if err != nil {
			t.Fatal(err)
		}
		value, d, _, err := form.Load([]byte(c.stored))
		if err != nil {
			t.Fatal(c.name, err)
		}
		c.change(&value)
		got, lost, err := d.Encode(&value)
		// Further fields of the template are ignored here.
		if want := strings.TrimSuffix(c.want, "}"); err != nil || !strings.HasPrefix(string(got), want) || strings.Join(lost, " ") != c.lost {
			t.Errorf("%s: got %s, lost %v, %v, want %s, lost %s", c.name, got, lost, err, c.want, c.lost)
		}
		if again, lost, err := d.Encode(&value); string(again) != string(got) || lost != nil || err != nil {
			t.Errorf("%s, once more: got %s, %v, %v, want %s", c.name, again, lost, err, got)
		}
	}
}

type oneWay struct{ N int }

func (o oneWay) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, `"number %d"`, o.N), nil }

// rounded writes another value than it has.
type rounded float64

func (r rounded) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%d", int(r)+1), nil }

type keyOneWay int

func (k keyOneWay) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "k%d", int(k)), nil }

type sealed struct{ Inner int }

type broken struct{ err string }

func (b broken) MarshalJSON() ([]byte, error) {
	if b.err != "" {
		return nil, fmt.Errorf("%s", b.err)
	}
	return []byte("0"), nil
}

func (*broken) UnmarshalJSON([]byte) error { return nil }

type fragile struct {
	Weapon  fmt.Stringer
	Any     any
	Anys    []map[string]any
	One     *oneWay
	Rounded *rounded
	Keys    map[keyOneWay]int
	*sealed
	Text   []string
	Names  map[string]colour
	Float  map[string]float64
	Number json.Number
	Raw    json.RawMessage
	Broken *broken
	Self   *fragile
	When   time.Time
}

// A value that cannot be read back as the same would be lost, or lock the player out: the first save refuses it,
// and names its path.
func TestWhatCannotBeReadBackIsRefused(t *testing.T) {
	inf := math.Inf(1)
	loop := &fragile{}
	loop.Self = loop
	for _, c := range []struct {
		name, want string
		change     func(*fragile)
	}{
		{"a struct in an interface", "$.Weapon: a time.Duration", func(f *fragile) { f.Weapon = time.Second }},
		{"a struct in any", "$.Any: a document.item", func(f *fragile) { f.Any = item{} }},
		{"a pointer in any", "$.Any: a *document.item", func(f *fragile) { f.Any = &item{} }},
		{"a struct deep in any", `$.Any.a[1]["b c"]: a []string`, func(f *fragile) {
			f.Any = map[string]any{"a": []any{1, map[string]any{"b c": []string{}}}}
		}},
		{"in maps of any", "$.Anys[1].x: a document.colour", func(f *fragile) { f.Anys = []map[string]any{nil, {"x": colour(1)}} }},
		{"MarshalJSON alone", "$.One: json: cannot unmarshal", func(f *fragile) { f.One = &oneWay{3} }},
		{"a type that changes what it writes", "$.Rounded", func(f *fragile) { f.Rounded = new(rounded) }},
		{"keys that cannot be read", "$.Keys", func(f *fragile) { f.Keys = map[keyOneWay]int{1: 1} }},
		{"an embedded pointer to an unexported struct", "unexported struct", func(f *fragile) { f.sealed = &sealed{1} }},
		{"not UTF-8", `$.Text[1]: the string "Jos\xe9"`, func(f *fragile) { f.Text = []string{"\uFFFD", "Jos\xe9"} }},
		{"a key that is not UTF-8", `$.Names["\xff"]: the string`, func(f *fragile) { f.Names = map[string]colour{"\xff": 1} }},
		{"any that is not UTF-8", `$.Any.a`, func(f *fragile) { f.Any = map[string]any{"a": "\xff"} }},
		{"raw that is not UTF-8", `not UTF-8`, func(f *fragile) { f.Raw = json.RawMessage("\"\xff\"") }},
		{"NaN", "$.Float.speed: json: unsupported value: NaN", func(f *fragile) { f.Float = map[string]float64{"a": 1, "speed": math.NaN()} }},
		{"Inf in any", "$.Any[0]: json: unsupported value: +Inf", func(f *fragile) { f.Any = []any{inf} }},
		{"a channel in any", "$.Any.c: json: unsupported type", func(f *fragile) { f.Any = map[string]any{"c": make(chan int)} }},
		{"a function in any", "$.Any: json: unsupported type", func(f *fragile) { f.Any = func() {} }},
		{"keys that JSON does not have", "$.Any: json: unsupported type: map[bool]int", func(f *fragile) { f.Any = map[bool]int{true: 1} }},
		{"no number", "$.Number: json: invalid number", func(f *fragile) { f.Number = "1,5" }},
		{"broken raw", "$.Raw: json: error calling MarshalJSON", func(f *fragile) { f.Raw = json.RawMessage("{") }},
		{"an error of MarshalJSON", "$.Self.Broken: json: error calling MarshalJSON for type *document.broken: no mood", func(f *fragile) {
			f.Self = &fragile{Broken: &broken{"no mood"}}
		}},
		{"a year beyond RFC 3339", "$.When", func(f *fragile) { f.When = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"a value in itself", "$: json: unsupported value: encountered a cycle", func(f *fragile) { f.Self = loop }},
	} {
		form, err := New(&fragile{})
		if err != nil {
			t.Fatal(err)
		}
		value, d, _, err := form.Load([]byte(`{"new":1}`))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // it is not refused once only
			value = fragile{}
			c.change(&value)
			if got, _, err := d.Encode(&value); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %s, %v, want an error with %q", c.name, got, err, c.want)
			}
		}
		if got, _, err := d.Encode(&fragile{Text: []string{`\ufffd`, "\uFFFD", "\x00"}}); err != nil {
			t.Errorf("%s, taken back: got %s, %v", c.name, got, err)
			continue
		}
		// Nor does an earlier save of the session let it through.
		if got, _, err := d.Encode(&value); err == nil {
			t.Errorf("%s, later: got %s", c.name, got)
		}
	}
}

func TestAnyHoldsWhatJSONGivesBack(t *testing.T) {
	form, err := New(&fragile{})
	if err != nil {
		t.Fatal(err)
	}
	value := fragile{Any: map[string]any{
		"a": nil, "b": true, "c": "s", "d": json.Number("1.50"), "e": 1, "f": uint8(2), "g": 1e30, "h": []any{float32(0.1), map[string]any{}},
	}}
	if got, _, err := form.Start().Encode(&value); err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestACopyHasAllOrIsRefused(t *testing.T) {
	type hidden struct {
		A     int
		cache map[string]int
	}
	type skipped struct {
		In []struct {
			B int `json:"-"`
		}
	}
	refused := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	h, err := New(&hidden{cache: nil})
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Copy(&hidden{})
	refused(err, "$: cache is not")
	s, err := New(&skipped{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Copy(&skipped{})
	refused(err, "$.In[*]: B is not")
	f, err := New(&inventory{})
	if err != nil {
		t.Fatal(err)
	}
	value := inventory{Bag: []item{{ID: 1}}, Pet: &item{ID: 2}}
	copied, err := f.Copy(&value)
	if err != nil || !slices.Equal(copied.Bag, value.Bag) || copied.Pet == value.Pet || *copied.Pet != *value.Pet || copied.By != nil {
		t.Errorf("got %+v, %v, want a deep copy of %+v", copied, err, value)
	}
	value.Any = item{}
	_, err = f.Copy(&value)
	refused(err, "$.Any")
}
