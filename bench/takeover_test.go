package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/client"
)

func TestChosen(t *testing.T) {
	for _, c := range []struct {
		c    takeoverOptions
		want []string
		err  string
	}{
		{c: takeoverOptions{}, want: []string{"message", "handoff", "steal", "failover", "crash", "stopped", "lost"}},
		{c: takeoverOptions{phases: []string{"lost", "crash"}}, want: []string{"crash", "lost"}},
		{c: takeoverOptions{phases: []string{"crash", "luck"}}, err: `"luck"`},
		{c: takeoverOptions{rounds: -1}, err: "at least one"},
	} {
		chosen, err := c.c.chosenPhases()
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%+v: got %v, want an error with %s", c.c, err, c.err)
			}
			continue
		}
		var names []string
		for _, p := range chosen {
			names = append(names, p.name)
		}
		if err != nil || !slices.Equal(names, c.want) {
			t.Errorf("%+v: got %v, %v, want %v", c.c, names, err, c.want)
		}
	}
	if chosen, _ := (takeoverOptions{rounds: 7}).chosenPhases(); chosen[3].rounds != 7 {
		t.Errorf("7 rounds were asked for, got %d", chosen[3].rounds)
	}
}

func TestVerdict(t *testing.T) {
	p := takeoverPhase{name: "crash", goal: latencyGoal{p50: 10 * time.Millisecond}}
	for name, c := range map[string]struct {
		o      phaseResult
		strict bool
		fails  bool
	}{
		"all is well":                   {o: phaseResult{phase: p, got: upTo(3)}},
		"all is well, strictly":         {o: phaseResult{phase: p, got: upTo(3)}, strict: true},
		"slow":                          {o: phaseResult{phase: p, got: upTo(100)}},
		"slow, strictly":                {o: phaseResult{phase: p, got: upTo(100)}, strict: true, fails: true},
		"skipped":                       {o: phaseResult{phase: p, skipped: "no root"}},
		"skipped, strictly":             {o: phaseResult{phase: p, skipped: "no root"}, strict: true, fails: true},
		"broken off":                    {o: phaseResult{phase: p, got: upTo(3), fault: errors.New("x")}, fails: true},
		"a write landed":                {o: phaseResult{phase: p, got: upTo(3), tries: staleWrites{Tried: 9, Landed: 1}}, fails: true},
		"a write is seen":               {o: phaseResult{phase: p, got: upTo(3), visible: 1}, fails: true},
		"writes were tried and refused": {o: phaseResult{phase: p, got: upTo(3), tries: staleWrites{Tried: 9, Refused: 9}}},
	} {
		if err := (takeoverOptions{strict: c.strict}).checkGoals([]phaseResult{c.o}); (err != nil) != c.fails {
			t.Errorf("%s: got %v, want an error: %v", name, err, c.fails)
		}
	}
}

func TestTriesSince(t *testing.T) {
	over := fmt.Errorf("x: %w", client.ErrSessionOver)
	all := []staleWrite{
		{began: 1, ended: 2},                                // before
		{began: 3, ended: 30},                               // landed before, read after
		{began: 4, ended: 40, fault: over, refused: true},   // on its way when it was robbed
		{began: 11, ended: 41, fault: over, refused: false}, // not even sent
		{began: 12, ended: 42},                              // landed
	}
	if got, want := countSince(10, all), (staleWrites{Tried: 3, Refused: 1, Landed: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := countSince(100, all); got != (staleWrites{}) {
		t.Errorf("after everything: got %+v", got)
	}
	sum := staleWrites{1, 2, 3}
	if sum.addCounts(staleWrites{10, 20, 30}); sum != (staleWrites{11, 22, 33}) {
		t.Errorf("the sum is %+v", sum)
	}
}

// Each profile of a victim has one other game server that takes it over.
func TestShares(t *testing.T) {
	b := &takeoverTrial{bed: &testBed{servers: make([]*gameServer, bedServers)}}
	shares := b.divideProfiles(2)
	var keys []string
	for i, share := range shares {
		if i == 2 {
			t.Error("the victim takes over its own")
		}
		if len(share) < bedSessions/(bedServers-1) {
			t.Errorf("game server %d takes %d of %d", i, len(share), bedSessions)
		}
		keys = append(keys, share...)
	}
	slices.Sort(keys)
	if !slices.Equal(keys, profilesOf(2)) {
		t.Errorf("taken over are %v, want %v", keys, profilesOf(2))
	}
}

func TestSweep(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	mine := filepath.Join(os.TempDir(), fmt.Sprintf("%s%d-1", folderMark, os.Getpid()))
	// No process has a number above the kernel's limit of 2^22.
	left := filepath.Join(os.TempDir(), folderMark+"4194399-1")
	other := filepath.Join(os.TempDir(), folderMark+"notes")
	for _, dir := range []string{mine, left, other} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	removeOldFolders()
	for dir, want := range map[string]bool{mine: true, left: false, other: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", filepath.Base(dir), err == nil, want)
		}
	}
}

// Most phases have no link: then all game servers live beside the nodes, however many would be behind one.
func TestPlaceWithoutALink(t *testing.T) {
	b := &testBed{host: loopback, within: 1}
	if within, rumours := b.placeOf(0); within != nil || rumours != joinHostPort(loopback, ":0") {
		t.Errorf("the first game server lives in %v and gossips at %s", within, rumours)
	}
}
