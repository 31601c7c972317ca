package testbed

import (
	"io"
	"os"
	"runtime"
	"sync/atomic"

	"github.com/spf13/cobra"
)

// BusyCommand is a process that keeps one processor busy until its stdin ends.
func BusyCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "busy",
		Short:  "keep a processor busy",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			var over atomic.Bool
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin)
				over.Store(true)
			}()
			for !over.Load() {
			}
			return nil
		},
	}
}

// KeepBusy starts such a process for each processor, until stop.
func KeepBusy(folder string) (stop func(), err error) {
	var running []*Process
	stop = func() {
		for _, p := range running {
			p.Kill()
		}
	}
	for range runtime.NumCPU() {
		p, err := StartProcess(folder, "busy", nil, func(stdout io.Reader) { _, _ = io.Copy(io.Discard, stdout) }, "busy")
		if err != nil {
			stop()
			return nil, err
		}
		running = append(running, p)
	}
	return stop, nil
}
