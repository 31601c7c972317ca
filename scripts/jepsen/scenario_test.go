//go:build unix

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/nemesis"
)

var everything = environment{can: nemesis.Needs{Hosts: true, Clocks: true, Disks: true, Groups: true}}

func TestScenarios(t *testing.T) {
	for _, test := range []struct {
		name            string
		in              environment
		nemeses, cannot int // found, and left out since the machine cannot do them
		fault           string
	}{
		{"session/none", everything, 0, 0, ""},
		{"play/cut-leader+kill-leader", everything, 2, 0, ""},
		{"play/cut-leader+kill-leader", environment{}, 1, 1, ""},
		{"play", everything, 0, 0, "give WORKLOAD/NEMESIS"},
		{"trade/none", everything, 0, 0, `no workload is called "trade"`},
		{"play/cut-cable", everything, 0, 0, `no nemesis is called "cut-cable": give one of kill-follower`},
	} {
		s, err := parseScenario(test.name, test.in, randomOf(1))
		if test.fault != "" {
			if err == nil || !strings.Contains(err.Error(), test.fault) {
				t.Errorf("%s: %v, want %q", test.name, err, test.fault)
			}
			continue
		}
		if err != nil || len(s.nemeses) != test.nemeses || len(s.skipped) != test.cannot {
			t.Errorf("%s: %d nemeses, %d skipped, %v", test.name, len(s.nemeses), len(s.skipped), err)
		}
	}
}

// Two seeds mix other nemeses, one seed the same; a machine that can do little mixes what it can.
func TestMixedRuns(t *testing.T) {
	names := func(in environment, seed uint64) (all string) {
		s, err := parseScenario("play/mixed", in, randomOf(seed))
		if err != nil || len(s.nemeses) < mixedLeast {
			t.Fatalf("%d nemeses: %v", len(s.nemeses), err)
		}
		for _, n := range s.nemeses {
			if !in.canDo(&n) {
				t.Errorf("%s is mixed in, which the machine cannot do", n.Name)
			}
			all += n.Name + " "
		}
		return all
	}
	for _, in := range []environment{everything, {}} {
		if one, again, other := names(in, 1), names(in, 1), names(in, 2); one != again || one == other {
			t.Errorf("seeds mix\n%s\n%s\n%s", one, again, other)
		}
	}
}

func TestQuickScenariosOfAYear(t *testing.T) {
	for day := range 366 {
		for _, name := range quickScenarios(time.Date(2027, 1, 1+day, 0, 0, 0, 0, time.UTC)) {
			if _, err := parseScenario(name, everything, randomOf(1)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What --list names is in the README.
func TestTheListIsInTheREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var list bytes.Buffer
	if err := (&settings{}).writeList(&list); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(list.String()) {
		if name, _, found := strings.Cut(strings.TrimPrefix(line, "  "), " "); found && strings.HasPrefix(line, "  ") && !bytes.Contains(text, []byte("`"+name+"`")) {
			t.Errorf("README.md does not say what %s does", name)
		}
	}
}
