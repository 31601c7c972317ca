package document

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

type stats struct{ Strength, Luck int }

type base struct {
	Coins int
	Gems  int `json:"gems"`
}

type Open struct{ Rank int }

// shouting reads and writes itself, as upper case.
type shouting struct{ text string }

func (s shouting) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"loud": s.text})
}

func (s *shouting) UnmarshalJSON(data []byte) error {
	var m map[string]string
	err := json.Unmarshal(data, &m)
	s.text = m["loud"]
	return err
}

// colour is text.
type colour uint8

func (c colour) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "#%02x", uint8(c)), nil }

func (c *colour) UnmarshalText(text []byte) error {
	_, err := fmt.Sscanf(string(text), "#%02x", (*uint8)(c))
	return err
}

type classes struct {
	base
	*Open
	Level    int
	Quoted   int64 `json:",string"`
	Hidden   int   `json:"-"`
	Stats    stats
	Pet      *stats
	Bag      map[string]int
	Heroes   map[string]stats
	Path     []stats
	Hotbar   [3]int
	Pair     [2]stats
	Blob     []byte
	Extra    any
	Raw      json.RawMessage
	Born     time.Time
	Voice    shouting
	Paint    colour
	Painted  map[colour]stats
	Score    float64
	Optional *int
	Omitted  map[string]int `json:",omitempty"`
}

func classesTemplate() classes {
	return classes{
		base: base{Coins: 100, Gems: 5}, Open: &Open{Rank: 9}, Level: 1, Quoted: 7, Stats: stats{4, 2}, Pet: &stats{7, 8},
		Bag: map[string]int{"sword": 1}, Heroes: map[string]stats{"a": {1, 1}}, Path: []stats{{5, 6}}, Hotbar: [3]int{1, 2, 3},
		Pair: [2]stats{{1, 2}, {3, 4}}, Blob: []byte{1}, Extra: map[string]any{"x": "y"}, Raw: json.RawMessage(`{"r":1}`),
		Born: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), Voice: shouting{"hi"}, Paint: 3,
		Painted: map[colour]stats{1: {1, 1}}, Score: 1.5, Optional: new(int),
	}
}

// Missing parts are filled in from the template, for every type; stored parts stay, also where they are Go's zero value.
func TestMissingIsJudgedOnTheStoredDocument(t *testing.T) {
	zero := func(change func(*classes)) func(*classes) { return change }
	for _, c := range []struct {
		name, stored string
		change       func(*classes) // of the template
	}{
		{"nothing", `{}`, zero(func(*classes) {})},
		{"null", `null`, zero(func(*classes) {})},
		{"embedded unexported struct", `{"Coins":0}`, func(c *classes) { c.Coins = 0 }},
		{"embedded pointer", `{"Rank":0}`, func(c *classes) { c.Rank = 0 }},
		{"tag", `{"gems":0}`, func(c *classes) { c.Gems = 0 }},
		{"other case", `{"GEMS":0,"lEVEL":0}`, func(c *classes) { c.Gems, c.Level = 0, 0 }},
		{"twice", `{"Stats":{"Luck":5},"Stats":{"Strength":6}}`, func(c *classes) { c.Stats = stats{6, 2} }},
		{"twice in other case", `{"Level":3,"level":0}`, func(c *classes) { c.Level = 0 }},
		{"as a string", `{"Quoted":"0"}`, func(c *classes) { c.Quoted = 0 }},
		{"a field that JSON leaves out", `{"Hidden":3}`, func(c *classes) {}},
		{"a field of a struct", `{"Stats":{"Luck":0}}`, func(c *classes) { c.Stats.Luck = 0 }},
		{"a field behind a pointer", `{"Pet":{"Luck":0}}`, func(c *classes) { c.Pet = &stats{7, 0} }},
		{"a pointer", `{"Pet":null,"Optional":null}`, func(c *classes) { c.Pet, c.Optional = nil, nil }},
		{"null where there is no null", `{"Level":null,"Stats":null,"Hotbar":null,"Quoted":null}`, func(c *classes) {}},
		{"null in a struct", `{"Stats":{"Luck":null}}`, func(c *classes) {}},
		{"a map", `{"Bag":{}}`, func(c *classes) { c.Bag = map[string]int{} }},
		{"a nil map", `{"Bag":null}`, func(c *classes) { c.Bag = map[string]int{} }},
		{"a map of structs", `{"Heroes":{"a":{"Luck":3}}}`, func(c *classes) { c.Heroes = map[string]stats{"a": {0, 3}} }},
		{"a map with keys of its own", `{"Painted":{"#02":{}}}`, func(c *classes) { c.Painted = map[colour]stats{2: {}} }},
		{"a slice", `{"Path":[{"Luck":1}]}`, func(c *classes) { c.Path = []stats{{0, 1}} }},
		{"an empty slice", `{"Path":[]}`, func(c *classes) { c.Path = []stats{} }},
		{"an array", `{"Hotbar":[0,5]}`, func(c *classes) { c.Hotbar = [3]int{0, 5, 3} }},
		{"an array of structs", `{"Pair":[{"Luck":0}]}`, func(c *classes) { c.Pair = [2]stats{{1, 0}, {3, 4}} }},
		{"a longer array", `{"Hotbar":[0,5,6,7]}`, func(c *classes) { c.Hotbar = [3]int{0, 5, 6} }},
		{"bytes", `{"Blob":""}`, func(c *classes) { c.Blob = []byte{} }},
		{"any", `{"Extra":{"a":1}}`, func(c *classes) { c.Extra = map[string]any{"a": json.Number("1")} }},
		{"any, null", `{"Extra":null}`, func(c *classes) { c.Extra = nil }},
		{"raw", `{"Raw":{}}`, func(c *classes) { c.Raw = json.RawMessage(`{}`) }},
		{"time", `{"Born":"0001-01-01T00:00:00Z"}`, func(c *classes) { c.Born = time.Time{} }},
		{"what reads itself", `{"Voice":{}}`, func(c *classes) { c.Voice = shouting{} }},
		{"text", `{"Paint":"#00"}`, func(c *classes) { c.Paint = 0 }},
		{"float", `{"Score":0}`, func(c *classes) { c.Score = 0 }},
		{"with space", " {\n\"Level\" : 0 ,\t\"Stats\" : { } } ", func(c *classes) { c.Level = 0 }},
	} {
		want := classesTemplate()
		form, err := New(&want)
		if err != nil {
			t.Fatal(err)
		}
		c.change(&want)
		want.Omitted = map[string]int{} // a map is never nil after a load
		want.Hidden = 0
		got, d, unchanged, err := form.Load([]byte(c.stored))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, want)
			continue
		}
		again, lost, err := d.Encode(&got)
		if err != nil || len(lost) > 0 || string(again) != string(unchanged) {
			t.Errorf("%s, unchanged: got %s, %v, %v, want %s", c.name, again, lost, err, unchanged)
		}
		if back, err := form.Read(unchanged); err != nil || !reflect.DeepEqual(back, want) {
			t.Errorf("%s, saved and loaded: got %+v, %v, want %+v", c.name, back, err, want)
		}
	}
}

// Of a map at the root the keys are filled in, and those of the maps in it, by any type.
func TestKeysOfARootMapAreFilledIn(t *testing.T) {
	type inner struct{ A, B int }
	check := func(name, got string, err error, want string) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", name, got, err, want)
		}
	}
	anys, err := New(&map[string]any{"a": 5, "in": map[string]any{"x": 7, "y": []any{1}}})
	if err != nil {
		t.Fatal(err)
	}
	for stored, want := range map[string]string{
		`{}`:                    `{"a":5,"in":{"x":7,"y":[1]}}`,
		`null`:                  `{"a":5,"in":{"x":7,"y":[1]}}`,
		`{"in":{"y":[]}}`:       `{"a":5,"in":{"x":7,"y":[]}}`,
		`{"in":null,"a":{}}`:    `{"a":{},"in":null}`,
		`{"in":{"A":1},"A":12}`: `{"A":12,"a":5,"in":{"A":1,"x":7,"y":[1]}}`,
	} {
		value, err := anys.Read([]byte(stored))
		got, _ := Marshal(&value)
		check(stored, string(got), err, want)
	}
	structs, err := New(&map[string]inner{"a": {1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	value, err := structs.Read([]byte(`{"a":{"B":0},"b":{"B":1}}`))
	got, _ := Marshal(&value)
	check("structs", string(got), err, `{"a":{"A":1,"B":0},"b":{"A":0,"B":1}}`)
}

func TestNilMapsAreEmptyAfterALoad(t *testing.T) {
	type deep struct {
		In   map[string]map[string]int
		List []map[string]int
		At   struct{ M map[int]bool }
		Ptr  *struct{ M map[string]int }
		By   map[string]struct{ M map[string]int }
		base
	}
	form, err := New(&deep{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := form.Read([]byte(`{"In":{"a":null},"List":[null],"Ptr":{},"By":{"k":{}}}`))
	if err != nil || got.In["a"] == nil || got.List[0] == nil || got.At.M == nil || got.Ptr.M == nil || got.By["k"].M == nil {
		t.Errorf("after a load: got %+v, %v", got, err)
	}
	if fresh, err := form.Fresh(); err != nil || fresh.In == nil || fresh.Ptr != nil {
		t.Errorf("a new profile: got %+v, %v", fresh, err)
	}
	// A value with nil maps can be stored: they come back empty.
	if _, _, err := form.Start().Encode(&deep{In: map[string]map[string]int{"a": nil}}); err != nil {
		t.Errorf("nil maps: %v", err)
	}
}

func TestTemplatesThatCannotWork(t *testing.T) {
	refused := func(name string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, want)
		}
	}
	_, err := New(new(map[string]int))
	refused("nil map", err, "nil map")
	type omits struct {
		A int            `json:"a,omitempty"`
		S stats          `json:",omitzero"`
		M map[string]int `json:"m,omitzero"`
		P *stats         `json:",omitempty"`
		L []struct {
			X int `json:",omitempty"`
		}
		In struct {
			T time.Time `json:"t,omitzero"`
		} `json:"in,omitempty"`
	}
	_, err = New(&omits{A: 1})
	refused("omitempty", err, "$.a")
	_, err = New(&omits{S: stats{Luck: 1}})
	refused("omitzero", err, "$.S")
	_, err = New(&omits{P: &stats{}})
	refused("pointer", err, "$.P")
	in := omits{}
	in.In.T = time.Unix(1, 0)
	_, err = New(&in)
	refused("nested", err, "$.in.t")
	_, err = New(&map[string]omits{"k": {A: 1}})
	refused("in a root map", err, "$.k.a")
	fine := omits{M: map[string]int{}}
	fine.L = append(fine.L, struct {
		X int `json:",omitempty"`
	}{1}) // a slice is taken whole
	if _, err = New(&fine); err != nil {
		t.Errorf("values that do not come back: got %v", err)
	}
	_, err = New(&struct{ W fmt.Stringer }{time.Second})
	refused("interface", err, "$.W")
	_, err = New(&struct{ F func() }{})
	refused("function", err, "$.F")
	_, err = New(&struct{ S string }{"\xff"})
	refused("not UTF-8", err, "$.S")
}
