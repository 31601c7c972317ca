package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

// timingNames are the five times of a class, as they are written and in the order in which they are shown.
var timingNames = []string{"renew", "doubt", "evidence", "lease", "hand-off"}

func timingCommand(p process) *cobra.Command {
	command := &cobra.Command{
		Use:   "timing",
		Short: "show or change the timing classes that game servers register with",
		Long: `timing shows the timing classes. A game server names one when it registers, or gets the one called default:

  renew     it renews this often
  doubt     it is in doubt this long after it sent the last renewal that was confirmed; at least 2 x renew
  evidence  after so much silence signs of its death count; above 1.2 x doubt + 500ms
  lease     after so much silence it counts as gone; above evidence
  hand-off  it may take so long to let go of a profile that somebody waits for; above doubt

Longer times are for game servers behind HTTP or slow links: they are in doubt later, and others wait longer for their
profiles when they are lost.`,
		Example: `  profilenode timing
  profilenode timing set http renew=5s doubt=20s evidence=25s lease=40s hand-off=40s`,
		Args: requireArguments(),
	}
	a := addClusterFlags(p, command)
	command.RunE = runAct(func(ctx context.Context, _ []string) error {
		return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error { return showTiming(ctx, a, c) })
	})
	command.AddCommand(timingSetCommand(p))
	return command
}

func timingSetCommand(p process) *cobra.Command {
	command := &cobra.Command{
		Use:   "set NAME renew=DURATION doubt=DURATION evidence=DURATION lease=DURATION hand-off=DURATION",
		Short: "make a timing class, or change it for later registrations",
		Long: `set makes a timing class, or changes one. All five times are given, since they must fit each other. Game servers that are
registered go on with the times that they were told; the change holds for those that register from then on.`,
		Example: `  profilenode timing set http renew=5s doubt=20s evidence=25s lease=40s hand-off=40s
  profilenode timing set default renew=1s doubt=3s evidence=4.5s lease=10s hand-off=10s`,
		Args: cobra.MinimumNArgs(1),
	}
	a := addClusterFlags(p, command)
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		timing, err := parseTiming(args[0], args[1:])
		if err != nil {
			return &usageError{err}
		}
		return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			if err := setTiming(ctx, c, timing); err != nil {
				return err
			}
			return showTiming(ctx, a, c)
		})
	})
	return command
}

// parseTiming reads a class. Whether its times fit each other is for the cluster to say.
func parseTiming(name string, args []string) (*pb.Timing, error) {
	timing := &pb.Timing{Name: name}
	fields := timingFields(timing)
	given := map[string]bool{}
	for _, arg := range args {
		field, text, ok := strings.Cut(arg, "=")
		to, known := fields[field]
		if !ok || !known {
			return nil, fmt.Errorf("%q is not of the form name=duration with one of %s", arg, strings.Join(timingNames, ", "))
		}
		if given[field] {
			return nil, fmt.Errorf("%s is given twice", field)
		}
		given[field] = true
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 || d%time.Millisecond != 0 {
			return nil, fmt.Errorf("%s %q is not a time in whole milliseconds: write a number with a unit, such as 300ms or 10s", field, text)
		}
		*to = d.Milliseconds()
	}
	for _, field := range timingNames {
		if !given[field] {
			return nil, fmt.Errorf("%s is missing: give all of %s, since they must fit each other", field, strings.Join(timingNames, ", "))
		}
	}
	return timing, nil
}

func timingFields(t *pb.Timing) map[string]*int64 {
	return map[string]*int64{
		"renew": &t.RenewMs, "doubt": &t.DoubtMs, "evidence": &t.EvidenceMs, "lease": &t.LeaseMs, "hand-off": &t.HandOffMs,
	}
}

func setTiming(ctx context.Context, c *clusterConn, timing *pb.Timing) error {
	request := &pb.SetTimingClassRequest{Timing: timing}
	return changeOnce(ctx, c, pb.Cluster_SetTimingClass_FullMethodName, request, &pb.SetTimingClassResponse{})
}

func showTiming(ctx context.Context, a *clusterFlags, c *clusterConn) error {
	reply := &pb.TimingClassesResponse{}
	if err := c.ask(ctx, pb.Cluster_TimingClasses_FullMethodName, &pb.TimingClassesRequest{}, reply); err != nil {
		return err
	}
	t := newTextTable(discardIf(a.json, a.p.out), "NAME", "RENEW", "DOUBT", "EVIDENCE", "LEASE", "HAND-OFF")
	for _, class := range reply.GetClasses() {
		if a.json {
			if err := printJSON(a.p.out, timingToJSON(class)); err != nil {
				return err
			}
			continue
		}
		row := []string{class.GetName()}
		fields := timingFields(class)
		for _, field := range timingNames {
			row = append(row, formatShortDuration(durationOfMS(*fields[field])))
		}
		t.addRow(row...)
	}
	return t.flush()
}

type timingJSON struct {
	Name       string `json:"name"`
	RenewMS    int64  `json:"renew_ms"`
	DoubtMS    int64  `json:"doubt_ms"`
	EvidenceMS int64  `json:"evidence_ms"`
	LeaseMS    int64  `json:"lease_ms"`
	HandOffMS  int64  `json:"hand_off_ms"`
}

func timingToJSON(t *pb.Timing) timingJSON {
	return timingJSON{t.GetName(), t.GetRenewMs(), t.GetDoubtMs(), t.GetEvidenceMs(), t.GetLeaseMs(), t.GetHandOffMs()}
}
