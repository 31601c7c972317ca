package client

import (
	"fmt"
	"strings"
	"testing"
)

// Every event in every state: the state that it leads to, or "-" where it has no effect.
func TestSessionTransitions(t *testing.T) {
	events := []sessionEvent{
		startGivenUp, grantTaken, profileLoaded, lastSaveEncoded, lastSaveRefused, sessionEnded, sessionUnsaved, gamePanicked, keptCopyDone,
	}
	names := map[string]sessionState{
		"starting": sessionStarting, "abandoned": sessionAbandoned, "granted": sessionGranted, "active": sessionActive, "ending": sessionEnding,
		"kept": sessionKept, "panicked": sessionPanicked, "failed": sessionFailed, "over": sessionOver,
	}
	const table = `
		state      givenUp    granted  loaded  encoded  refused  ended   unsaved  panicked  done
		starting   abandoned  granted  -       -        -        failed  -        -         -
		abandoned  -          -        -       -        -        failed  -        -         -
		granted    abandoned  -        active  -        -        failed  -        -         -
		active     -          -        -       ending   -        over    kept     panicked  -
		ending     -          -        -       -        active   over    kept     panicked  -
		kept       -          -        -       -        -        -       -        -         over
		panicked   -          -        -       -        -        -       -        -         -
		failed     -          -        -       -        -        -       -        -         -
		over       -          -        -       -        -        -       -        -         -`
	rows := strings.Split(strings.TrimSpace(table), "\n")[1:]
	if len(rows) != len(names) {
		t.Fatalf("the table has %d states, want %d", len(rows), len(names))
	}
	for _, row := range rows {
		cells := strings.Fields(row)
		from := names[cells[0]]
		for i, want := range cells[1:] {
			at := from
			allowed := at.apply(events[i])
			if want == "-" && (allowed || at != from) || want != "-" && (!allowed || at != names[want]) {
				t.Errorf("%s, event %d: got %v and state %d, want %s", cells[0], i, allowed, at, want)
			}
		}
	}
	facts := func(at sessionState) string { return fmt.Sprint(at.isHeld(), at.hasBegun(), at.isOver()) }
	for name, want := range map[string]string{
		"starting": "false false false", "abandoned": "false false false", "granted": "true false false", "active": "true true false",
		"ending": "false true false", "kept": "false true true", "panicked": "false true true", "failed": "false false true", "over": "false true true",
	} {
		if got := facts(names[name]); got != want {
			t.Errorf("%s is held, has begun, is over: got %s, want %s", name, got, want)
		}
	}
}
