package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// probeLimit bounds a probe. It is above what a busy machine takes, and below what supervisors give.
const probeLimit = 4 * time.Second

func healthCommand(p process) *cobra.Command {
	var ready bool
	var address, path string
	command := &cobra.Command{
		Use:   "health",
		Short: "ask the node on this machine whether it is alive, or ready",
		Long: `health asks a node's HTTP port whether its process is of use (/livez), or with --ready whether it can be sent requests (/readyz). It prints
one line. Exit code 0 if so, 1 if not.

The address is that of --http, or else bind-http of the node's own configuration: PROFILENODE_BIND_HTTP, the file of --config or
PROFILENODE_CONFIG, or the default. In a container it therefore needs no flags.`,
		Example: `  profilenode health --ready || true
  profilenode health --http 127.0.0.1:7403 || true`,
		Args: cobra.NoArgs,
	}
	command.Flags().BoolVar(&ready, "ready", false, "ask whether the node can be sent requests")
	command.Flags().StringVar(&address, "http", "", "the node's HTTP `address`")
	command.Flags().StringVar(&path, "config", "", "the node's configuration `file`")
	command.RunE = runAct(func(ctx context.Context, _ []string) error {
		if address == "" {
			if path == "" {
				path, _ = p.lookupVariable(configVariable)
			}
			c, _, err := loadConfig(path, pflag.NewFlagSet("", pflag.ContinueOnError), p)
			if err != nil {
				return fmt.Errorf("the node's configuration: %s", firstLine(err.Error()))
			}
			if address = c.BindHTTP; address == "" {
				return errors.New("the node has no HTTP port: set bind-http")
			}
		}
		return askHealth(ctx, p, address, ready)
	})
	return command
}

// askHealth asks once.
func askHealth(ctx context.Context, p process, address string, ready bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return &usageError{fmt.Errorf("--http %q is not an address: write host:port, such as 127.0.0.1:7403", address)}
	}
	if isUnspecifiedHost(host) {
		host = "127.0.0.1"
	}
	path, well := "/livez", "alive"
	if ready {
		path, well = "/readyz", "ready"
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("not %s: no answer: %w", well, errors.Unwrap(err))
	}
	defer func() { _ = answer.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if err != nil {
		return fmt.Errorf("not %s: its answer was cut off: %w", well, err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("not %s: %s", well, firstLine(strings.TrimSpace(string(said))))
	}
	_, err = fmt.Fprintln(p.out, well)
	return err
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
