//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/game"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/nemesis"
)

// scenario is a workload and the nemeses that are injected meanwhile.
type scenario struct {
	name     string
	workload game.Workload
	nemeses  []nemesis.Nemesis
	weights  []int
	skipped  []string // nemeses that this machine cannot do
}

// environment is what this machine can do.
type environment struct {
	name    string
	can     nemesis.Needs
	skipped map[string]string // what it cannot do, and why
}

// chooseEnvironment finds out what this machine can do.
func (s *settings) chooseEnvironment(notes io.Writer) (e environment, err error) {
	e.skipped = map[string]string{}
	switch s.environment {
	case "loopback":
		e.name = "loopback"
		for _, what := range []string{"hosts", "clocks", "disks", "groups"} {
			e.skipped[what] = "not asked for"
		}
		return e, nil
	case "hosts", "auto":
	default:
		return e, fmt.Errorf("no environment is called %q: give hosts, loopback or auto", s.environment)
	}
	if e.can, e.skipped = nemesis.Probe(); e.can.Hosts {
		e.name = "hosts"
	} else if e.name = "loopback"; s.environment == "hosts" {
		return e, errors.New("no hosts can be made here: " + e.skipped["hosts"])
	}
	for what, why := range e.skipped {
		fmt.Fprintf(notes, "SKIPPED: %s: %s\n", what, why)
	}
	return e, nil
}

func (e *environment) canDo(n *nemesis.Nemesis) bool {
	return (e.can.Hosts || !n.Needs.Hosts) && (e.can.Clocks || !n.Needs.Clocks) && (e.can.Disks || !n.Needs.Disks) && (e.can.Groups || !n.Needs.Groups)
}

// mixedLeast is how many nemeses a mixed run has at least, so that faults of different kinds meet.
const mixedLeast = 4

// parseScenario reads WORKLOAD/NEMESIS[+NEMESIS...].
func parseScenario(name string, e environment, random *rand.Rand) (scenario, error) {
	s := scenario{name: name}
	workload, faults, found := strings.Cut(name, "/")
	if !found {
		return s, fmt.Errorf("%q is no scenario: give WORKLOAD/NEMESIS, such as %s", name, defaultScenario)
	}
	var err error
	if s.workload, err = game.FindWorkload(workload); err != nil {
		return s, err
	}
	switch faults {
	case "none":
		return s, nil
	case "mixed":
		all := slices.DeleteFunc(nemesis.All(), func(n nemesis.Nemesis) bool { return !e.canDo(&n) })
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		s.nemeses = all[:min(len(all), mixedLeast+random.IntN(len(all)))]
		for range s.nemeses {
			s.weights = append(s.weights, 1+random.IntN(4))
		}
		return s, nil
	}
	given, err := nemesis.Find(strings.Split(faults, "+")...)
	if err != nil {
		return s, err
	}
	for _, n := range given {
		if !e.canDo(&n) {
			s.skipped = append(s.skipped, n.Name)
			continue
		}
		s.nemeses, s.weights = append(s.nemeses, n), append(s.weights, 1)
	}
	return s, nil
}

// pick picks a nemesis by its weight.
func (s *scenario) pick(random *rand.Rand) *nemesis.Nemesis {
	sum := 0
	for _, weight := range s.weights {
		sum += weight
	}
	n := random.IntN(sum)
	for i, weight := range s.weights {
		if n -= weight; n < 0 {
			return &s.nemeses[i]
		}
	}
	panic("weights do not add up")
}

func (s *settings) writeList(out io.Writer) error {
	type entry struct {
		Name   string `json:"name"`
		Text   string `json:"text"`
		Effect string `json:"effect,omitempty"`
	}
	var list struct {
		Workloads []entry `json:"workloads"`
		Nemeses   []entry `json:"nemeses"`
	}
	for _, w := range game.Workloads() {
		list.Workloads = append(list.Workloads, entry{w.Name, w.Text, ""})
	}
	for _, n := range nemesis.All() {
		list.Nemeses = append(list.Nemeses, entry{n.Name, n.Text, n.Effect})
	}
	if s.json {
		return writeJSON(out, list)
	}
	fmt.Fprintf(out, "%d workloads\n", len(list.Workloads))
	for _, w := range list.Workloads {
		fmt.Fprintf(out, "  %-28s %s\n", w.Name, w.Text)
	}
	fmt.Fprintf(out, "%d nemeses, each with the counter of its effect\n", len(list.Nemeses))
	for _, n := range list.Nemeses {
		fmt.Fprintf(out, "  %-28s %s [%s]\n", n.Name, n.Text, n.Effect)
	}
	return nil
}

// quickScenarios are those of the quick run: the ones that have found faults, and a sample that changes with the date.
func quickScenarios(day time.Time) []string {
	random := rand.New(rand.NewPCG(uint64(day.Year()), uint64(day.YearDay())))
	workloads, all := game.Workloads(), nemesis.All()
	names := []string{"play/cut-leader+kill-leader", "zombie/stop-leader"}
	for range 3 {
		names = append(names, workloads[random.IntN(len(workloads))].Name+"/"+all[random.IntN(len(all))].Name)
	}
	return names
}
