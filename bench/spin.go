package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// spinCommand keeps one core busy until its stdin ends.
func spinCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "spin",
		Short:  "keep a core busy",
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

// keepBusy starts a process for each core, until stop.
func keepBusy() (stop func(), err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	var running []func()
	stop = func() {
		for _, end := range running {
			end()
		}
	}
	for range runtime.NumCPU() {
		p := exec.Command(program, "spin")
		nodeproc.UseOwnGroup(p)
		stdin, err := p.StdinPipe()
		if err == nil {
			err = p.Start()
		}
		if err != nil {
			stop()
			return nil, fmt.Errorf("keep a core busy: %w", err)
		}
		running = append(running, func() {
			_ = stdin.Close()
			_ = p.Process.Kill()
			_ = p.Wait() // killed
		})
	}
	return stop, nil
}
