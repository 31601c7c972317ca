package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/profilenode/profilenode/client"
)

// Ending is what a game server leaves behind.
type Ending struct {
	Total    Counts   `json:"total"`
	Took     float64  `json:"ending_s"`
	Longest  float64  `json:"longest_gap_s"`
	Unsaved  []string `json:"unsaved"` // profiles whose last changes are not stored
	Unknown  []string `json:"unknown"` // profiles whose last changes may be stored
	Fault    string   `json:"fault,omitempty"`
	Verified *Verdict `json:"verified,omitempty"`
}

// note takes what Close returned.
func (e *Ending) note(last Second, took time.Duration, err error) {
	e.Total, e.Longest, e.Took = last.Total, last.Longest, took.Seconds()
	var left *client.CloseError
	if errors.As(err, &left) {
		for _, ref := range left.Unsaved {
			e.Unsaved = append(e.Unsaved, ref.String())
		}
		for _, ref := range left.Unknown {
			e.Unknown = append(e.Unknown, ref.String())
		}
	} else if err != nil {
		e.Fault = err.Error()
	}
}

// good says that nothing that was played stayed unsaved, and that nothing that was saved is missing.
func (e *Ending) good() bool {
	return e.Total.Lost+len(e.Unsaved)+len(e.Unknown) == 0 && e.Fault == "" && (e.Verified == nil || e.Verified.Good())
}

func (e *Ending) print(out io.Writer, asJSON bool) {
	if asJSON {
		_ = json.NewEncoder(out).Encode(struct {
			Ending *Ending `json:"ending"`
		}{e})
		return
	}
	fmt.Fprintf(out, "\nAll sessions ended within %.1f s. %d saves acknowledged in %d sessions; the longest time without one was %.1f s.\n",
		e.Took, e.Total.Saves, e.Total.Sessions, e.Longest)
	for _, part := range []struct {
		what     string
		profiles []string
	}{{"not saved", e.Unsaved}, {"perhaps not saved", e.Unknown}} {
		if len(part.profiles) > 0 {
			fmt.Fprintf(out, "%d %s:\n", len(part.profiles), part.what)
			for _, profile := range part.profiles {
				fmt.Fprintln(out, " ", profile)
			}
		}
	}
	if e.Total.Lost > 0 {
		fmt.Fprintf(out, "%d sessions were over before the game ended them, with what they had not saved.\n", e.Total.Lost)
	}
	if e.Fault != "" {
		fmt.Fprintln(out, "the end went wrong:", e.Fault)
	}
	if e.Total.Lost+len(e.Unsaved)+len(e.Unknown) == 0 && e.Fault == "" {
		fmt.Fprintln(out, "Nothing stayed unsaved.")
	}
	if e.Verified != nil {
		fmt.Fprintln(out, e.Verified)
	}
}
