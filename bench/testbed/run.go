package testbed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/internal/nodeproc"
)

// Run is one run of a benchmark.
type Run struct {
	Program string // profilenode
	Folder  string // of this run
	Keep    bool   // leave data and logs
	Machine string // its description, for the report
	Notes   io.Writer
}

// Command completes the command of a benchmark: it adds the flags that all have in common, and runs the benchmark with a
// folder and a program, and writes the report that it returns, if any, whether or not it ended with an error.
func Command(command *cobra.Command, run func(ctx context.Context, r *Run) (measure.Report, error)) *cobra.Command {
	r := &Run{Notes: os.Stderr}
	asJSON := false
	command.Flags().StringVar(&r.Program, "program", "", "profilenode `file` to run (default: built from source)")
	command.Flags().BoolVar(&asJSON, "json", false, "print one JSON object and nothing else")
	command.Flags().BoolVar(&r.Keep, "keep", false, "leave data and logs, and say where")
	command.Args = cobra.NoArgs
	command.RunE = func(command *cobra.Command, _ []string) (err error) {
		ctx := command.Context()
		if err := r.makeFolder(ctx); err != nil {
			return err
		}
		if r.Keep {
			fmt.Fprintf(r.Notes, "data and logs stay in %s\n", r.Folder)
		} else {
			defer func() { err = errors.Join(err, os.RemoveAll(r.Folder)) }()
		}
		if r.Machine, err = measure.MeasureMachine(r.Folder); err != nil {
			return err
		}
		fmt.Fprintln(r.Notes, r.Machine)
		report, err := run(ctx, r)
		if report == nil {
			return err
		}
		return cmp.Or(err, measure.WriteReport(os.Stdout, asJSON, report)) // a run that was not finished has figures, and no faults
	}
	return command
}

const folderMark = "profilenode-bench-"

// makeFolder makes the folder of a run, and builds profilenode there unless a program is given.
func (r *Run) makeFolder(ctx context.Context) (err error) {
	removeOldFolders()
	if r.Folder, err = os.MkdirTemp("", folderMark+strconv.Itoa(os.Getpid())+"-"); err != nil || r.Program != "" {
		return err
	}
	fmt.Fprintln(r.Notes, "build profilenode")
	if r.Program, err = nodeproc.Build(ctx, r.Folder); err != nil {
		return errors.Join(err, os.RemoveAll(r.Folder))
	}
	return nil
}

// removeOldFolders removes the folders of runs that were killed.
func removeOldFolders() {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), folderMark+"*"))
	if err != nil {
		return
	}
	for _, folder := range left {
		number, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(folder), folderMark), "-")
		pid, err := strconv.Atoi(number)
		if err == nil && measure.IsGone(pid) {
			_ = os.RemoveAll(folder) // the next run tries again
		}
	}
}
