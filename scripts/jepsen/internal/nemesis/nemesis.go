// Package nemesis has the faults of a chaos run, those of one mechanism in one file. Each injects its fault, holds it, and heals it
// itself.
package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/bed"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// Nemesis is one kind of fault.
type Nemesis struct {
	Name string
	Text string // what it does
	// Effect is the counter of its effect: a run in which it was injected and the counter stayed 0 proves nothing.
	Effect string
	// Needs is what the bed must have.
	Needs Needs
	// Bound is how long after its end each game server may take for its next acknowledged save.
	Bound time.Duration

	inject func(ctx context.Context, b *bed.Bed, hold time.Duration) error
}

// Needs is what a fault takes.
type Needs struct {
	Hosts  bool // nodes and game servers on hosts of their own
	Clocks bool // clocks that can be changed from outside
	Disks  bool // a file system for each node
	Groups bool // control groups
}

// All are all nemeses.
func All() []Nemesis {
	return slices.Concat(kills(), stops(), partitions(), links(), clientCuts(), gameServerFaults(), memberFaults(), clockFaults(), diskFaults(), fileFaults(), groupFaults())
}

// Find finds nemeses by name.
func Find(names ...string) (found []Nemesis, err error) {
	all := All()
	for _, name := range names {
		i := slices.IndexFunc(all, func(n Nemesis) bool { return n.Name == name })
		if i < 0 {
			var known []string
			for _, n := range all {
				known = append(known, n.Name)
			}
			return nil, fmt.Errorf("no nemesis is called %q: give one of %s", name, strings.Join(known, ", "))
		}
		found = append(found, all[i])
	}
	return found, nil
}

// Inject injects the fault, holds it for about so long, and heals it. The history has both ends.
func (n *Nemesis) Inject(ctx context.Context, b *bed.Bed, hold time.Duration) error {
	if err := b.Note(history.Event{Action: history.Fault, Name: n.Name, Phase: history.Begin}); err != nil {
		return err
	}
	err := n.inject(ctx, b, hold)
	if err != nil {
		err = fmt.Errorf("nemesis %s: %w", n.Name, err)
	}
	return errors.Join(err, b.Note(history.Event{Action: history.Fault, Name: n.Name, Phase: history.Heal}))
}

// bounds on the time from the heal to the next acknowledged save: three times what was measured at most.
const (
	quickBound = 15 * time.Second // an election, at most
	restBound  = 30 * time.Second // a restart, or sessions that begin anew
	netBound   = 60 * time.Second // dropped packets: what was lost is sent again after ever longer pauses
)

// pickNode picks a node by chance.
func pickNode(b *bed.Bed) *bed.Node { return b.Nodes[b.Random.IntN(len(b.Nodes))] }

// pickLeader is the leader, or any node while none leads.
func pickLeader(ctx context.Context, b *bed.Bed) *bed.Node {
	if n := b.FindLeader(ctx); n != nil {
		return n
	}
	return pickNode(b)
}

// pickFollower is a node that does not lead, by chance.
func pickFollower(ctx context.Context, b *bed.Bed) *bed.Node {
	leader := pickLeader(ctx, b)
	for {
		if n := pickNode(b); n != leader || len(b.Nodes) == 1 {
			return n
		}
	}
}

// pickMajority is the smallest majority, by chance.
func pickMajority(b *bed.Bed) (picked []*bed.Node) {
	for _, i := range b.Random.Perm(len(b.Nodes))[:len(b.Nodes)/2+1] {
		picked = append(picked, b.Nodes[i])
	}
	return picked
}
