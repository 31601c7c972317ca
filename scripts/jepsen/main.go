//go:build unix

// Command jepsen runs real profilenode nodes and game servers under faults, records every call, and checks the history against the
// guarantees in ARCHITECTURE.md.
//
//	go run ./scripts/jepsen play/cut-leader --time 45s
//
// README.md says what it claims, what each nemesis does, and which faults it has found.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/game"
)

// errFailed says that a run is not valid, which has been printed.
var errFailed = errors.New("not valid")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		if !errors.Is(err, errFailed) {
			fmt.Fprintf(os.Stderr, "jepsen: %v\n", err)
		}
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	var s settings
	root := &cobra.Command{
		Use:   "jepsen [WORKLOAD/NEMESIS[+NEMESIS...]]...",
		Short: "run nodes and game servers under faults, and check every answer",
		Long: `jepsen starts profilenode nodes and game servers as processes, injects faults from outside, records what every game server asks
and is answered, and checks the history against the guarantees in ARCHITECTURE.md.

A scenario is a workload and the nemeses that are injected meanwhile, one after the other by chance: "session/kill-leader",
"play/cut-leader+stop-follower". "mixed" as nemesis is all that this machine can do, a subset chosen by the seed; "none" is none.
--list names workloads and nemeses. As root each process gets a host of its own, joined by a switch in this program; without root
all of them are on loopback, and the faults that need more are named and counted as skipped.

Exit code 0: every run is valid. 1: one is not, is unknown, or did too little to count.`,
		Example: `  go run ./scripts/jepsen
  go run ./scripts/jepsen session/kill-leader message/cut-leader --time 1m --seed 7
  go run ./scripts/jepsen --list`,
		Args:          cobra.ArbitraryArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, arguments []string) error {
			return s.run(command.Context(), arguments, command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	s.addFlags(root.Flags())
	root.AddCommand(game.Command(), mutationsCommand())
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}
