package takeover

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
)

func TestChosenPhases(t *testing.T) {
	for _, c := range []struct {
		o    options
		want []string
		err  string
	}{
		{o: options{}, want: []string{"message", "handoff", "steal", "failover", "crash", "stopped", "lost"}},
		{o: options{phases: []string{"lost", "crash"}}, want: []string{"crash", "lost"}},
		{o: options{phases: []string{"crash", "luck"}}, err: `"luck"`},
		{o: options{rounds: -1}, err: "at least one"},
	} {
		chosen, err := c.o.choosePhases()
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%+v: got %v, want an error with %s", c.o, err, c.err)
			}
			continue
		}
		var names []string
		for _, p := range chosen {
			names = append(names, p.name)
		}
		if err != nil || !slices.Equal(names, c.want) {
			t.Errorf("%+v: got %v, %v, want %v", c.o, names, err, c.want)
		}
	}
	if chosen, _ := (&options{rounds: 7}).choosePhases(); chosen[3].rounds != 7 {
		t.Errorf("7 rounds were asked for, got %d", chosen[3].rounds)
	}
}

func TestFaults(t *testing.T) {
	p := phase{name: "crash", goal: measure.Goal{P50: 10 * time.Millisecond}}
	fast, slow, none := measure.SamplesOf(time.Millisecond), measure.SamplesOf(time.Second), &measure.Samples{}
	for name, c := range map[string]struct {
		r      result
		strict bool
		fails  bool
	}{
		"fast":                   {r: result{samples: fast}},
		"fast, strict":           {r: result{samples: fast}, strict: true},
		"slow":                   {r: result{samples: slow}},
		"slow, strict":           {r: result{samples: slow}, strict: true, fails: true},
		"skipped":                {r: result{samples: none, skipped: "no root"}},
		"skipped, strict":        {r: result{samples: none, skipped: "no root"}, strict: true, fails: true},
		"broken off":             {r: result{samples: fast, fault: errors.New("x")}, fails: true},
		"a late save landed":     {r: result{samples: fast, late: testbed.LateSaves{Tried: 9, Landed: 1}}, fails: true},
		"a late save is visible": {r: result{samples: fast, visible: 1}, fails: true},
		"late saves, refused":    {r: result{samples: fast, late: testbed.LateSaves{Tried: 9, Refused: 9}}},
	} {
		c.r.phase = p
		if faults := (report{phases: []*result{&c.r}, strict: c.strict}).Faults(); (faults != nil) != c.fails {
			t.Errorf("%s: got %v, want an error: %v", name, faults, c.fails)
		}
	}
}

func TestJSON(t *testing.T) {
	phases := allPhases()
	text, err := json.Marshal(report{phases: []*result{
		{phase: phases[0], samples: measure.SamplesOf(time.Millisecond)},
		{phase: phases[1], samples: &measure.Samples{}, late: testbed.LateSaves{Tried: 5, Refused: 4, Landed: 1}, visible: 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	want := []string{"crash", "failover", "handoff", "lost", "message", "steal", "stopped", "zombie_writes_landed", "zombie_writes_tried"}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("keys are %v, want %v", names, want)
	}
	for name, want := range map[string]string{
		"message": `{"p50":1,"p99":1,"p999":1,"max":1,"mean":1,"n":1}`, "lost": `{"p50":0,"p99":0,"p999":0,"max":0,"mean":0,"n":0}`,
		"zombie_writes_tried": "5", "zombie_writes_landed": "2",
	} {
		if string(got[name]) != want {
			t.Errorf("%s: got %s, want %s", name, got[name], want)
		}
	}
}

// Each profile of a victim has one other game server that takes it over.
func TestProfilesAreDividedAmongTheOthers(t *testing.T) {
	b := &trial{Bed: &testbed.Bed{Layout: testbed.Layout{Sessions: sessionCount}}}
	shares := b.divideProfiles(2)
	var keys []string
	for i, share := range shares {
		if i == 2 {
			t.Error("the victim takes over its own")
		}
		if len(share) < sessionCount/(testbed.ServerCount-1) {
			t.Errorf("game server %d takes %d of %d", i, len(share), sessionCount)
		}
		keys = append(keys, share...)
	}
	slices.Sort(keys)
	if !slices.Equal(keys, b.KeysOf(2)) {
		t.Errorf("taken over are %v, want %v", keys, b.KeysOf(2))
	}
}
