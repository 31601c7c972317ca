package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/profilenode/profilenode/internal/wire"
)

const (
	addrVariable    = "PROFILENODE_ADDR"
	timeoutVariable = "PROFILENODE_TIMEOUT"

	defaultAddr    = "127.0.0.1:7400,127.0.0.1:7410,127.0.0.1:7420" // the addresses of dev's nodes
	defaultTimeout = 10 * time.Second
)

// clusterFlags are the flags of every command that speaks to a cluster.
type clusterFlags struct {
	p       process
	flags   *pflag.FlagSet
	addr    string
	timeout time.Duration
	json    bool
	ca      string
	cert    string
	key     string
	plain   bool
}

// addClusterFlags declares the common flags.
func addClusterFlags(p process, command *cobra.Command) *clusterFlags {
	a := &clusterFlags{p: p, flags: command.Flags()}
	a.flags.SortFlags = false
	a.flags.BoolVar(&a.json, "json", false, "print JSON: one object, or one a line where there are many")
	a.flags.StringVar(&a.addr, "addr", defaultAddr, "client `addresses` of nodes, separated by commas; also "+addrVariable)
	a.flags.DurationVar(&a.timeout, "timeout", defaultTimeout, "give up after this long; large answers may take longer, at 128 KiB a second; also "+timeoutVariable)
	a.flags.StringVar(&a.ca, "tls-ca", "", "who signs the nodes' certificates, PEM `file`; also PROFILENODE_TLS_CA")
	a.flags.StringVar(&a.cert, "tls-cert", "", "own certificate, PEM `file`; also PROFILENODE_TLS_CERT")
	a.flags.StringVar(&a.key, "tls-key", "", "its key, PEM `file`; also PROFILENODE_TLS_KEY")
	a.flags.BoolVar(&a.plain, "insecure", false, "speak to other machines without TLS; also PROFILENODE_INSECURE")
	return a
}

// choosesNodes says whether the nodes to ask were chosen by a flag or variable.
func (a *clusterFlags) choosesNodes() bool {
	_, fromEnvironment := a.p.lookupVariable(addrVariable)
	return fromEnvironment || a.flags.Changed("addr")
}

// withCluster opens a conn, hands it to f, and bounds the whole.
func (a *clusterFlags) withCluster(ctx context.Context, f func(context.Context, *clusterConn) error) error {
	c, err := a.connect()
	if err != nil {
		return &usageError{err}
	}
	defer c.close()
	bounded, cancel := wire.WithTimeout(ctx, a.timeout)
	defer cancel()
	err = f(bounded, c)
	var unsure *unknownOutcomeError
	if ctx.Err() != nil && err != nil && !errors.As(err, &unsure) {
		return errors.New("interrupted")
	}
	return err
}

// connect reads the flags and variables, and reports every fault among them.
func (a *clusterFlags) connect() (*clusterConn, error) {
	var faults []error
	for _, v := range []struct {
		variable, flag string
		field          *string
	}{
		{addrVariable, "addr", &a.addr},
		{"PROFILENODE_TLS_CA", "tls-ca", &a.ca}, {"PROFILENODE_TLS_CERT", "tls-cert", &a.cert}, {"PROFILENODE_TLS_KEY", "tls-key", &a.key},
	} {
		if text, ok := a.p.lookupVariable(v.variable); ok && !a.flags.Changed(v.flag) {
			*v.field = text
		}
	}
	if text, ok := a.p.lookupVariable(timeoutVariable); ok && !a.flags.Changed("timeout") {
		d, err := time.ParseDuration(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s %q is not a duration: write a number with a unit, such as 10s", timeoutVariable, text))
		}
		a.timeout = d
	}
	if text, ok := a.p.lookupVariable("PROFILENODE_INSECURE"); ok && !a.flags.Changed("insecure") {
		a.plain = text == "true"
	}
	if a.timeout <= 0 && len(faults) == 0 {
		faults = append(faults, fmt.Errorf("timeout %v leaves no time: give one above zero", a.timeout))
	}
	seeds := splitCommaList(a.addr)
	if len(seeds) == 0 {
		faults = append(faults, errors.New("addr is empty: name at least one node, such as 127.0.0.1:7400"))
	}
	for _, seed := range seeds {
		if err := checkDialable("addr", seed); err != nil {
			faults = append(faults, err)
		} else if err := checkMayDial(seed, a.ca != "" || a.plain); err != nil {
			faults = append(faults, err)
		}
	}
	if (a.cert == "") != (a.key == "") || (a.cert != "" && a.ca == "") {
		faults = append(faults, errors.New("tls-cert and tls-key belong together, and with tls-ca: give what is missing"))
	} else {
		certificates, err := readCertificates(a.cert, a.key, a.ca)
		if err == nil && len(faults) == 0 {
			c := newClusterConn(seeds, certificates, a.plain)
			stale := a.flags.Lookup("stale")
			c.offersStale = stale != nil && !stale.Changed
			return c, nil
		}
		if err != nil {
			faults = append(faults, err)
		}
	}
	return nil, errors.Join(faults...)
}
