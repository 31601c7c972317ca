// Command bench fills a store, and measures what clusters cost and how soon they recover. It refuses to run where it cannot
// measure.
//
// Each benchmark is a package of its own. All start nodes and game servers as processes (bench/testbed), some on hosts of
// their own (internal/network), and report durations, processor time, memory and disk (bench/measure).
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/bench/capacity"
	"github.com/profilenode/profilenode/bench/cuts"
	"github.com/profilenode/profilenode/bench/ended"
	"github.com/profilenode/profilenode/bench/fill"
	"github.com/profilenode/profilenode/bench/greed"
	"github.com/profilenode/profilenode/bench/isolation"
	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/renewals"
	"github.com/profilenode/profilenode/bench/steady"
	"github.com/profilenode/profilenode/bench/takeover"
	"github.com/profilenode/profilenode/bench/testbed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:               "bench",
		Short:             "fill a store, and measure clusters and game servers",
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return measure.CheckSystem() },
	}
	root.AddCommand(fill.Command(), capacity.Command(), takeover.Command(), renewals.Command(), steady.Command(), cuts.Command(), isolation.Command(), greed.Command(), ended.Command(),
		testbed.GameServerCommand(), testbed.BusyCommand(), renewals.FleetCommand(), greed.GreedyCommand()) // the last four are processes of the others
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}
