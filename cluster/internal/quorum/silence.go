// Package quorum judges which voters can be reached. For one leadership: for how long each has not answered raft, what the cluster
// can therefore still bear (silence.go), and which one a learner that has caught up replaces (replace.go). For any node: which
// voters answer elsewhere than at their configured addresses (moved.go).
package quorum

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

const (
	unreachableAfter = 10 * time.Second // a voter that has been silent for longer does not count as one that answers
	replacedAfter    = 5 * time.Minute  // a voter that has been silent for longer may be replaced by a learner
	longestStep      = 3 * time.Second  // the most that one look adds to a silence
)

// Silence is, by id, for how long the other voters have not answered this leader's raft, as far as this leader itself has seen:
// a new leader counts from its own beginning.
type Silence map[string]time.Duration

// SilenceWatch counts the silences of one leadership. It looks about every second.
type SilenceWatch struct {
	lookedAt time.Time
	silent   Silence
}

// Look returns the silences up to now. lastContact returns when a node last answered raft, the zero time if it never did. A
// look adds at most longestStep: if this process was stopped, answers may have arrived that it has not read yet, and the
// other nodes may have been stopped too.
func (w *SilenceWatch) Look(now time.Time, self string, servers []raft.Server, lastContact func(id string) time.Time) Silence {
	silent := Silence{}
	for _, s := range servers {
		id := string(s.ID)
		if s.Suffrage != raft.Voter || id == self {
			continue
		}
		before, known := w.silent[id]
		since := w.lookedAt
		if contact := lastContact(id); contact.After(since) {
			before, since = 0, contact
		}
		silent[id] = 0
		if known {
			silent[id] = before + max(0, min(now.Sub(since), longestStep))
		}
	}
	w.lookedAt, w.silent = now, silent
	return silent
}

// UnreachableVoter is a voter that has not answered for long.
type UnreachableVoter struct {
	ID, Text string // the text says what the cluster can still bear, and the remedy
}

// FindUnreachable returns the voters among servers that have not answered for long, in the order of servers.
func (s Silence) FindUnreachable(servers []raft.Server) (unreachable []UnreachableVoter) {
	voters, answering := 0, 0
	for _, server := range servers {
		if server.Suffrage != raft.Voter {
			continue
		}
		voters++
		if s[string(server.ID)] <= unreachableAfter {
			answering++
		}
	}
	for _, server := range servers {
		id := string(server.ID)
		if server.Suffrage != raft.Voter || s[id] <= unreachableAfter {
			continue
		}
		unreachable = append(unreachable, UnreachableVoter{id, fmt.Sprintf(
			"%d of %d voters answer: the cluster bears %s; bring node %s at %s back, or remove it with profilenode members remove %s",
			answering, voters, describeFailures(answering-majorityOf(voters)), id, peerwire.HostPort(server.Address), id)})
	}
	return unreachable
}

func describeFailures(borne int) string {
	switch {
	case borne <= 0:
		return "no further failure"
	case borne == 1:
		return "one further failure"
	}
	return fmt.Sprintf("%d further failures", borne)
}

func majorityOf(voters int) int { return voters/2 + 1 }
