package client_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

func TestJSONKeepsEveryDigit(t *testing.T) {
	const data = `{"big":12345678901234567890,"exact":1.10,"html":"<&>"}`
	var value any
	if err := (client.JSON{}).Decode([]byte(data), &value); err != nil {
		t.Fatal(err)
	}
	got, err := client.JSON{}.Encode(&value)
	if err != nil || string(got) != data {
		t.Errorf("round trip: got %s, %v, want %s", got, err, data)
	}
	if err := (client.JSON{}).Decode([]byte(`{} {}`), &value); err == nil {
		t.Error("two values: got no error")
	}
}

type hero struct {
	Level int
	Stats struct{ Strength, Luck int }
	Bag   map[string]int
	Path  []step
	Pet   *step
	Extra any
}

type step struct{ X, Y int }

// A field that a newer game adds to its template is filled in; an item that a player lost does not come back.
func TestTemplateFillsIn(t *testing.T) {
	cluster := clienttest.Start(t)
	ctx := t.Context()
	c := cluster.Client(t, "a")
	old := clienttest.Store(t, c, "heroes", json.RawMessage(nil))
	for key, data := range map[string]string{
		"some": `{"Level":3,"Stats":{"Luck":9},"Bag":{"rope":1},"Path":[{"X":1}],"Extra":{"a":1}}`,
		"none": `{}`,
		"null": `{"Bag":null,"Pet":null}`,
	} {
		if _, err := old.Set(ctx, key, json.RawMessage(data), client.AtRevision(0)); err != nil {
			t.Fatal(err)
		}
	}
	template := hero{Level: 1, Bag: map[string]int{"sword": 1}, Path: []step{{5, 6}}, Pet: &step{7, 8}}
	template.Stats.Strength, template.Stats.Luck = 4, 2
	heroes := clienttest.Store(t, c, "heroes", template)

	some := hero{Level: 3, Bag: map[string]int{"rope": 1}, Path: []step{{1, 0}}, Pet: &step{7, 8}, Extra: map[string]any{"a": json.Number("1")}}
	some.Stats.Strength, some.Stats.Luck = 4, 9
	null := template
	null.Bag, null.Pet = map[string]int{}, nil // a map is never nil after a load
	for key, want := range map[string]hero{"some": some, "none": template, "null": null, "absent": template} {
		got, err := heroes.Get(ctx, key)
		if err != nil || !reflect.DeepEqual(got.Data, want) {
			t.Errorf("%s: got %+v, %v, want %+v", key, got.Data, err, want)
		}
	}
	// Filling in is no change: it is not worth a save.
	p, err := heroes.StartSession(ctx, "some")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Save(ctx); err != nil || p.Revision() != 1 {
		t.Errorf("save of data that was only filled in: got revision %d, %v, want 1", p.Revision(), err)
	}
	// No two profiles share the template's maps.
	p.Read(func(d *hero) { d.Pet.X = 99 })
	if got, err := heroes.Get(ctx, "none"); err != nil || got.Data.Pet.X != 7 {
		t.Errorf("the template after a change of a profile: got %+v, %v", got.Data.Pet, err)
	}
}

func TestTemplateOfKeys(t *testing.T) {
	cluster := clienttest.Start(t)
	ctx := t.Context()
	c := cluster.Client(t, "a")
	if _, err := clienttest.Store(t, c, "maps", json.RawMessage(nil)).Set(ctx, "k", json.RawMessage(`{"a":1,"in":{"x":1}}`), client.AtRevision(0)); err != nil {
		t.Fatal(err)
	}
	store := clienttest.Store(t, c, "maps", map[string]any{"a": 5, "b": 6, "in": map[string]any{"x": 7, "y": 8}})
	got, err := store.Get(ctx, "k")
	n := func(s string) json.Number { return json.Number(s) }
	want := map[string]any{"a": n("1"), "b": n("6"), "in": map[string]any{"x": n("1"), "y": n("8")}}
	if err != nil || !reflect.DeepEqual(got.Data, want) {
		t.Errorf("got %v, %v, want %v", got.Data, err, want)
	}
}

func TestOtherCodecIsRefused(t *testing.T) {
	cluster := clienttest.Start(t)
	ctx := t.Context()
	c := cluster.Client(t, "a")
	if _, err := clienttest.Store[[]byte](t, c, "s", nil).Set(ctx, "k", []byte{1, 2}, client.AtRevision(0)); err != nil {
		t.Fatal(err)
	}
	store := clienttest.Store(t, c, "s", player{})
	if _, err := store.StartSession(ctx, "k"); err == nil {
		t.Fatal("a session on data of another codec: got no error")
	}
	// The profile is free again.
	raw, err := clienttest.Store[[]byte](t, c, "s", nil).StartSession(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	raw.Read(func(d *[]byte) {
		if string(*d) != "\x01\x02" {
			t.Errorf("raw: got %v", *d)
		}
	})
}
