package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/deploy/config"
)

const (
	configVariable = "PROFILENODE_CONFIG"

	// stopLimit bounds a graceful stop. The next start does the rest: the log has it.
	stopLimit = 10 * time.Second

	// hangReportedFor is how long a node that its hung disk has stopped answers probes with the reason before its process ends.
	hangReportedFor = 30 * time.Second
)

func serveCommand(p process) *cobra.Command {
	var path string
	var printSample, printInForce, withStdin bool
	command := &cobra.Command{
		Use:   "serve",
		Short: "run one node",
		Long: `serve runs one node until SIGTERM or SIGINT; a second signal ends it at once. SIGHUP reads the certificates again.

Every flag is also a variable (--bind-nodes: PROFILENODE_BIND_NODES) and a key of the file named by --config or
PROFILENODE_CONFIG. A flag wins over a variable, a variable over the file, the file over the default.

A line that begins with "ready" goes to stdout once the node is in a cluster that has a leader; logs go to stderr.
Exit codes: 0 stopped as asked, 1 failed, 2 wrong flags or configuration.`,
		Example: `  profilenode serve --data /var/lib/profilenode
  profilenode serve --print-sample > node.yaml
  profilenode serve --data n1 --log-level debug --print-config
  profilenode serve --data n1 --bind 10.0.0.1:7400 --bind-nodes 10.0.0.1:7401 --bind-gossip "" \
      --nodes 10.0.0.1:7401,10.0.0.2:7401,10.0.0.3:7401 --tls-cert n1.pem --tls-key n1.key --tls-ca ca.pem`,
		Args: cobra.NoArgs,
	}
	command.RunE = runAct(func(ctx context.Context, _ []string) error {
		// It stays until the process ends: SIGHUP never ends it, not even while it starts or stops.
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP)
		if printSample {
			_, err := io.WriteString(p.out, config.Sample)
			return err
		}
		if path == "" {
			path, _ = p.lookupVariable(configVariable)
		}
		c, warnings, err := loadConfig(path, command.Flags(), p)
		if err != nil {
			return &usageError{err}
		}
		log := newLogger(c, newLogWriter(p.err))
		if printInForce {
			logUnknownVariables(log, warnings)
			return printConfig(p.out, c)
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if withStdin {
			// It stays in Read until the process ends, or until stdin ends and ends the process.
			go func() {
				_, _ = io.Copy(io.Discard, p.in)
				cancel()
			}()
		}
		return runServe(ctx, c, warnings, p.out, log, hangups)
	})
	command.Flags().StringVar(&path, "config", "", "configuration `file`")
	command.Flags().BoolVar(&printSample, "print-sample", false, "print a configuration file with every setting at its default and its reason, and stop")
	command.Flags().BoolVar(&printInForce, "print-config", false, "print the settings in force, after flags, variables and file, keys hidden, and stop")
	addSettingFlags(command.Flags())
	command.Flags().BoolVar(&withStdin, "exit-with-stdin", false, "stop when stdin ends")
	if err := command.Flags().MarkHidden("exit-with-stdin"); err != nil {
		panic(err)
	}
	return command
}

// runServe runs a node until ctx ends, which is success, or until the node stops itself. Each of hangups has the
// certificates read again.
func runServe(ctx context.Context, c Config, unknownVariables []string, out io.Writer, log *slog.Logger, hangups <-chan os.Signal) error {
	r, err := startServing(ctx, c, log)
	if err != nil {
		logUnknownVariables(log, unknownVariables)
		return err
	}
	log = log.With("id", r.node.ID()) // logs of several nodes are read together
	logUnknownVariables(log, unknownVariables)
	watchCtx, endWatch := context.WithCancel(ctx)
	defer endWatch()
	go watchCertificates(watchCtx, r.certificates, hangups, log)
	manager := newServiceManager(log)
	go manager.tellStatus(watchCtx, r.node)
	ready := r.node.Ready()
	for {
		select {
		case <-ready:
			ready = nil
			fmt.Fprintf(out, "ready %s\n", r.listenAddresses())
			manager.notify(daemon.SdNotifyReady)
			continue
		case <-ctx.Done():
			log.Info("stopping")
			manager.notify(daemon.SdNotifyStopping)
		case <-r.node.Done():
			err = fmt.Errorf("the node stopped itself: %w", r.node.Err())
		case err = <-r.failed:
		}
		break
	}
	if errors.Is(err, cluster.ErrDiskHangs) {
		r.stopWithHungDisk(hangReportedFor)
		return err
	}
	limit, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	if stopErr := r.stopGracefully(limit); stopErr != nil && err == nil {
		err = fmt.Errorf("stop: %w", stopErr)
		if errors.Is(stopErr, context.DeadlineExceeded) {
			err = fmt.Errorf("not stopped in order within %v", stopLimit)
		}
	}
	if err == nil {
		log.Info("stopped")
	}
	return err
}

func logUnknownVariables(log *slog.Logger, names []string) {
	for _, name := range names {
		log.Warn("variable is no setting", "name", name)
	}
}

func newLogger(c Config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
