// Command profilenode runs a node, runs a whole cluster on one machine for trying things out, and asks a running
// cluster about itself.
//
// Nothing here decides anything about profiles: it reads flags and files, wires the parts together and prints answers.
// The answer of a command goes to stdout, everything else to stderr. Read serve.go first, it is the wiring diagram.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/cluster"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitFull   = 3 // serve: the disk is full, or less is free than the hard reserve
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(exitFailed)
	}()
	os.Exit(runCommandLine(ctx, os.Args[1:], process{os.Stdin, os.Stdout, os.Stderr, os.Environ()}))
}

// process is the streams and the environment of the process that a command runs in.
type process struct {
	in      io.Reader
	out     io.Writer
	err     io.Writer
	environ []string
}

// lookupVariable reads a variable of the environment.
func (p process) lookupVariable(name string) (string, bool) {
	for _, line := range p.environ {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// runCommandLine carries out one command line and returns the exit code.
func runCommandLine(ctx context.Context, args []string, p process) int {
	root := rootCommand(p)
	root.SetArgs(args)
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	var began *actError
	usage := !errors.As(err, &began)
	if began != nil {
		err = began.error
	}
	var wrong *usageError
	usage = usage || errors.As(err, &wrong)
	said := newLogWriter(p.err) // serve may end because of a disk on which stderr is
	printError(said, err)
	if usage {
		fmt.Fprintf(said, "see: %s --help\n", command.CommandPath())
		return exitUsage
	}
	if errors.Is(err, cluster.ErrDiskFull) {
		return exitFull
	}
	return exitFailed
}

func rootCommand(p process) *cobra.Command {
	root := &cobra.Command{
		Use:   "profilenode",
		Short: "a cluster that keeps player profiles, each owned by one game server at a time",
		Long: `profilenode keeps player profiles. Each belongs to one game server at a time.

Try it:           profilenode dev
Run a node:       profilenode serve --help
Ask a cluster:    profilenode status`,
		Version:       versionLine(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(flagError)
	root.PersistentPreRun = func(command *cobra.Command, _ []string) {
		if command.Name() != "serve" { // it says so in its log
			warnUnknownVariables(p)
		}
	}
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run:"},
		&cobra.Group{ID: "prepare", Title: "Prepare a cluster:"},
		&cobra.Group{ID: "ask", Title: "Ask a running cluster:"},
		&cobra.Group{ID: "change", Title: "Change a running cluster:"},
	)
	for group, commands := range map[string][]*cobra.Command{
		"run":     {serveCommand(p), devCommand(p), healthCommand(p)},
		"prepare": {certCommand(p)},
		"ask": {
			statusCommand(p), getCommand(p), listCommand(p), messagesCommand(p), sessionsCommand(p), serversCommand(p), auditCommand(p), digestCommand(p), membersCommand(p),
		},
		"change": {setCommand(p), editCommand(p), removeCommand(p), sendCommand(p), releaseCommand(p), policyCommand(p), timingCommand(p), alarmsCommand(p)},
	} {
		for _, command := range commands {
			command.GroupID = group
			root.AddCommand(command)
		}
	}
	root.AddCommand(versionCommand(p))
	return root
}

// warnUnknownVariables names variables that look like ours and are not: a misspelt one would else do nothing, silently.
func warnUnknownVariables(p process) {
	for _, name := range unknownVariables(p.environ) {
		fmt.Fprintf(p.err, "profilenode: warning: variable %s is no setting\n", name)
	}
}

// flagError adds a hint for keys that begin with -, in commands that take a key.
func flagError(command *cobra.Command, err error) error {
	if strings.HasPrefix(err.Error(), "unknown ") && strings.Contains(command.Use, "STORE") {
		return &hintedError{err, "a key or store that begins with - comes behind --, after every flag: " + command.CommandPath() + " ... -- STORE -KEY"}
	}
	return err
}

// actError is a failure after the command line had been understood; every earlier one is a usage error.
type actError struct{ error }

func (e *actError) Unwrap() error { return e.error }

// usageError is a wrong use of the command that was found while it was running.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// runAct marks the errors of a command that has begun.
func runAct(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, args []string) error {
		for _, arg := range args {
			if !utf8.ValidString(arg) {
				return fmt.Errorf("%q is not UTF-8: names and keys are", arg)
			}
		}
		if err := f(command.Context(), args); err != nil {
			return &actError{err}
		}
		return nil
	}
}

// hintedError is an error with a hint on how to go on.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

// printError writes one line for each fault, and one for the hint where there is one.
func printError(w io.Writer, err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(w, "profilenode: %s\n", line)
	}
	var h *hintedError
	if errors.As(err, &h) && h.hint != "" {
		fmt.Fprintf(w, "hint: %s\n", h.hint)
	}
}

// requireArguments is for commands that take these arguments and no others.
func requireArguments(names ...string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return fmt.Errorf("%s takes %s, not %d arguments", command.Name(), strings.Join(names, " "), len(args))
		}
		return nil
	}
}
