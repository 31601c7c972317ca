package game

import (
	"context"
	"fmt"
	"strings"
)

// Workload is what the game servers of a run do.
type Workload struct {
	Name, Text string
	Workers    int // of each game server
	Keys       int // that they share

	step func(ctx context.Context, w *worker) // what a worker does again and again
}

// Workloads are all workloads.
func Workloads() []Workload {
	return []Workload{
		{"session", "start, save and end sessions of shared profiles; some are stolen", 6, 24, playSession},
		{"register", "get, set and save a few profiles, with and without a session", 6, 6, playRegister},
		{"append", "append to a list inside a profile, in sessions, and read it", 5, 4, playAppend},
		{"message", "send messages to profiles that others own, and apply them", 6, 8, playMessage},
		{"takeover", "hold many sessions for long, and take those over whose owners are gone", 10, 40, playTakeover},
		{"zombie", "lose sessions in five ways, and go on writing under their tokens", 4, 48, playZombie},
		{"nodes", "read at each node directly, linearizable and stale, while others save", 6, 6, playNodes},
		{"play", "all of these but takeover together", 10, 24, playAll},
	}
}

// FindWorkload finds a workload by its name.
func FindWorkload(name string) (Workload, error) {
	var names []string
	for _, w := range Workloads() {
		if w.Name == name {
			return w, nil
		}
		names = append(names, w.Name)
	}
	return Workload{}, fmt.Errorf("no workload is called %q: give one of %s", name, strings.Join(names, ", "))
}

// playAll does one of the others, by chance.
func playAll(ctx context.Context, w *worker) {
	steps := []func(context.Context, *worker){playSession, playSession, playRegister, playAppend, playMessage, playMessage, playNodes, playZombie}
	steps[w.random.IntN(len(steps))](ctx, w)
}
