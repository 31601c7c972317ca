package quorum

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

// roundsUntilCopied is for how many rounds in a row two processes must answer with one id before that is an alarm: a node that
// restarts may answer twice in one round.
const roundsUntilCopied = 2

// MoveWatch finds, round after round, the voters that answer elsewhere than at their configured addresses. If all nodes come
// back at new addresses, no leader can write those down, and none can be elected with the old ones.
//
// A voter is reached where it answers only from when no leader is known and its configured address has not answered for
// unreachableAfter. It must be one process: two that answer with one id, of which one runs on a copy of the other's data folder,
// would give two votes in one term. It is used until the configuration says where it is, or another process answers with its id.
type MoveWatch struct {
	silence  SilenceWatch // of the voters at their configured addresses
	answered map[string]contactAt
	copied   map[string]int // rounds in a row, by id
	moved    map[string]peerwire.Place
}

// contactAt is when a node last answered at its configured address.
type contactAt struct {
	at      time.Time
	address raft.ServerAddress
}

// Moves is what a round shows.
type Moves struct {
	Moved  map[string]peerwire.Place // by id, where voters are reached
	Copied string                    // an alarm about data folders that were copied; "": none
}

// CompareRound returns the voters that have moved. leaderKnown says whether this node knows a leader. askAgain asks on a new
// connection who answers at an address: a name may stand for several hosts.
func (w *MoveWatch) CompareRound(round *peerwire.HelloRound, leaderKnown bool, askAgain func(address string) (peerwire.Hello, error)) Moves {
	now, self := time.Now(), round.Own.ID
	w.noteAnswers(now, round)
	silence := w.silence.Look(now, self, round.Servers, func(id string) time.Time { return w.answered[id].at })
	processes := findProcesses(round)
	moved := map[string]peerwire.Place{}
	copied := map[string]int{}
	for id, places := range processes {
		if len(places) > 1 {
			copied[id] = w.copied[id] + 1
		}
	}
	for _, s := range round.Servers {
		id, configured := string(s.ID), peerwire.HostPort(s.Address)
		before, used := w.moved[id]
		_, inPlace := round.Members[id]
		if s.Suffrage != raft.Voter || id == self || inPlace || len(processes[self]) > 1 || len(processes[id]) > 1 || before.Address == configured {
			continue
		}
		if len(processes[id]) == 0 {
			if used {
				moved[id] = before
			}
			continue
		}
		place := processes[id][0]
		used = used && place.Address == before.Address
		if !used && (leaderKnown || silence[id] <= unreachableAfter) {
			continue
		}
		switch h, err := askAgain(place.Address); {
		case err != nil || h.ID != id:
		case h.ProcessID == place.ProcessID:
			moved[id] = place
		default:
			copied[id] = w.copied[id] + 1
			processes[id] = append(processes[id], peerwire.Place{Address: place.Address, ProcessID: h.ProcessID})
		}
	}
	w.moved, w.copied = moved, copied
	return Moves{Moved: moved, Copied: w.describeCopies(processes)}
}

// noteAnswers records who answered at its configured address. A node whose configured address is new has its time anew.
func (w *MoveWatch) noteAnswers(now time.Time, round *peerwire.HelloRound) {
	answered := map[string]contactAt{}
	for _, s := range round.Servers {
		id := string(s.ID)
		contact, known := w.answered[id]
		if _, ok := round.Members[id]; ok || !known || contact.address != s.Address {
			contact = contactAt{now, s.Address}
		}
		answered[id] = contact
	}
	w.answered = answered
}

// findProcesses returns, by id, the processes that answered as a member of this cluster, each at one of its addresses.
func findProcesses(round *peerwire.HelloRound) map[string][]peerwire.Place {
	found := map[string][]peerwire.Place{round.Own.ID: {{Address: round.Own.Address, ProcessID: round.Own.ProcessID}}}
	for _, address := range slices.Sorted(maps.Keys(round.Answers)) {
		h := round.Answers[address]
		same := func(p peerwire.Place) bool { return p.ProcessID == h.ProcessID }
		if h.Member && h.Cluster == round.Own.Cluster && h.ProcessID != "" && !slices.ContainsFunc(found[h.ID], same) {
			found[h.ID] = append(found[h.ID], peerwire.Place{Address: address, ProcessID: h.ProcessID})
		}
	}
	return found
}

func (w *MoveWatch) describeCopies(processes map[string][]peerwire.Place) string {
	for _, id := range slices.Sorted(maps.Keys(w.copied)) {
		if at := processes[id]; w.copied[id] >= roundsUntilCopied {
			return fmt.Sprintf("two processes answer as node %s, at %s and at %s: one runs on a copy of the other's data folder; "+
				"stop the copy and remove its folder; until then the node is not looked for elsewhere than at its configured address",
				id, at[0].Address, at[1].Address)
		}
	}
	return ""
}
