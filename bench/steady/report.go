package steady

import (
	"errors"
	"fmt"
	"io"

	"github.com/profilenode/profilenode/bench/testbed"
)

type report struct {
	Machine   string  `json:"machine"`
	Seconds   float64 `json:"seconds"`
	Loss      int     `json:"loss_percent"`
	CutGossip bool    `json:"cut_gossip"`
	Busy      bool    `json:"busy"`
	Sessions  int     `json:"sessions"` // that were opened

	testbed.SessionCounts
	Ended    int      `json:"incarnations_ended"`
	Expiries []string `json:"expiries"` // lines of the nodes' logs

	Accused int     `json:"accused"`        // times that a game server came to seem dead to the leader's gossip
	Dead    float64 `json:"dead_seconds"`   // for which they did, all of them together
	Silent  float64 `json:"silent_seconds"` // the longest that the leader did not hear one of them
	Unled   float64 `json:"unled_seconds"`  // without a leader that answers
	Leads   int     `json:"leads"`          // terms that were seen
	Packets uint64  `json:"packets_lost"`
}

// String is the report so far in one line.
func (r *report) String() string {
	return fmt.Sprintf("%d of %d sessions held, %d lost, %d doubts, %d expiries; accused %d times; silent for %.1f s at most",
		r.Held, r.Sessions, r.Lost, r.Doubts, len(r.Expiries), r.Accused, r.Silent)
}

// Print prints the report.
func (r *report) Print(out io.Writer) {
	fmt.Fprintf(out, "\n%.0f s, %d %% of UDP lost, gossip cut: %v, processors kept busy: %v\n%s\n", r.Seconds, r.Loss, r.CutGossip, r.Busy, r)
	fmt.Fprintf(out, "%d incarnations ended; gossip said dead of the living for %.1f s; %d leads, %.1f s without a leader; %d packets lost\n",
		r.Ended, r.Dead, r.Leads, r.Unled, r.Packets)
	for _, line := range r.Expiries {
		fmt.Fprintf(out, "  %s\n", line)
	}
}

// Faults are losses of living game servers, and a network that was not hurt as it should have been.
func (r *report) Faults() (faults []error) {
	if r.Lost+r.Ended+len(r.Expiries) > 0 || r.Held != r.Sessions {
		faults = append(faults, fmt.Errorf("living game servers lost %d sessions and %d incarnations, by %d expiries", r.Lost, r.Ended, len(r.Expiries)))
	}
	if (r.Loss > 0 || r.CutGossip) && r.Packets == 0 {
		faults = append(faults, errors.New("not one packet was lost: the fault hit nothing"))
	}
	if r.CutGossip && r.Accused < testbed.ServerCount {
		faults = append(faults, fmt.Errorf("gossip was cut, and came to say dead %d times only: the fault hit nothing", r.Accused))
	}
	return faults
}
