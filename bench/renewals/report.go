package renewals

import (
	"fmt"
	"io"

	"github.com/profilenode/profilenode/bench/measure"
)

type report struct {
	Machine  string  `json:"machine"`
	Servers  int     `json:"servers"`
	Sessions int     `json:"sessions_each"`
	Seconds  float64 `json:"seconds"`

	Nodes []nodeFigures `json:"nodes"`
	Cores float64       `json:"cores"`       // of all nodes
	Load  float64       `json:"cores_fleet"` // of the processes of game servers

	Answered  float64 `json:"answered_per_second"`
	Confirmed float64 `json:"confirmed_per_second"`
	Differed  uint64  `json:"differed"` // answers that named all grants
	Slowest   float64 `json:"slowest_ms"`
	Streams   uint64  `json:"streams_opened"` // while watched
	Doubted   uint64  `json:"in_doubt"`
	Ended     uint64  `json:"ended"`
	Terms     uint64  `json:"terms"` // that began while watched; one of them may have had no leader
	Leads     int     `json:"leads"` // that began while watched

	Storm float64 `json:"all_renew_again_ms,omitempty"` // from the kill of the leader
}

// nodeFigures is one node, while it was watched.
type nodeFigures struct {
	Leader         bool    `json:"leader"`
	Killed         bool    `json:"killed,omitempty"`
	Cores          float64 `json:"cores"`
	RSS            uint64  `json:"rss_bytes"`
	Goroutines     int     `json:"goroutines"`
	BytesEach      uint64  `json:"bytes_a_server"`
	GoroutinesEach float64 `json:"goroutines_a_server"`
}

// Print prints the report.
func (r *report) Print(out io.Writer) {
	fmt.Fprintf(out, "%d game servers, %d sessions each, watched for %.0f s\n\n", r.Servers, r.Sessions, r.Seconds)
	for i, n := range r.Nodes {
		role := "follower"
		switch {
		case n.Killed:
			role = "leader until it was killed"
		case n.Leader:
			role = "leader"
		}
		fmt.Fprintf(out, "node %d: %.2f cores, %s (%s a game server), %d goroutines (%.1f); %s\n", i+1, n.Cores,
			measure.FormatSize(n.RSS), measure.FormatSize(n.BytesEach), n.Goroutines, n.GoroutinesEach, role)
	}
	fmt.Fprintf(out, "all:    %.2f cores; the game servers themselves took %.2f\n\n", r.Cores, r.Load)
	fmt.Fprintf(out, "renewals: %.0f answered a second, %.0f confirmed; slowest answer %.0f ms; %d named all grants\n", r.Answered, r.Confirmed, r.Slowest, r.Differed)
	fmt.Fprintf(out, "streams opened: %d; in doubt: %d; ended: %d; terms begun: %d, leads: %d\n", r.Streams, r.Doubted, r.Ended, r.Terms, r.Leads)
	if r.Storm > 0 {
		fmt.Fprintf(out, "kill -9 of the leader until all had renewed again: %.0f ms\n", r.Storm)
	}
}

// Faults are game servers that were ended, or in doubt without a kill, and changes of the lead without one.
func (r *report) Faults() (faults []error) {
	leads := 0
	if r.Storm > 0 {
		leads = 1
	} else if r.Doubted > 0 {
		faults = append(faults, fmt.Errorf("%d game servers were in doubt", r.Doubted))
	}
	if r.Ended > 0 {
		faults = append(faults, fmt.Errorf("%d game servers that renewed were ended", r.Ended))
	}
	if r.Leads > leads {
		faults = append(faults, fmt.Errorf("the lead changed %d times, and %d times were called for", r.Leads, leads))
	}
	return faults
}
