// Command bench fills a store, and measures what a cluster costs: memory, disk, restart, snapshots, the time of a save.
//
// It speaks to nodes as a game server does, by package client; where it measures processes it starts them itself and
// reads /proc. Read capacity.go for what is measured and in which order, and docs/capacity.md for what came of it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:               "bench",
		Short:             "fill a store, and measure what a cluster costs",
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return checkSystem() },
	}
	root.AddCommand(fillCommand(), capacityCommand(), takeoverCommand(), renewalsCommand(), steadyCommand(), cutsCommand(), isolationCommand(), gameServerCommand(), fleetCommand(), spinCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}
