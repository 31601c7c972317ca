package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/profilenode/profilenode/internal/issuer"
)

const (
	certificateDays = 365
	authorityDays   = 3650
	aDay            = 24 * time.Hour
)

func certCommand(p process) *cobra.Command {
	command := &cobra.Command{
		Use:   "cert",
		Short: "make the certificates of a cluster, and look at them",
		Long: `cert makes a cluster's certificate authority and the certificates that it signs, as files in one folder: ca.crt and ca.key,
NAME.crt and NAME.key. Nothing is overwritten: what a renewal replaces stays beside it under a number.

A node needs ca.crt and its own two files, a game server or an operator likewise. ca.key signs: keep it from all of them.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(certAuthorityCommand(p), certNodeCommand(p), certClientCommand(p), certRenewCommand(p), certClusterCommand(p), certShowCommand(p))
	return command
}

// certFlags are common to the commands that make certificates.
type certFlags struct {
	folder string
	days   int
}

func (c *certFlags) add(flags *pflag.FlagSet, days int) {
	flags.SortFlags = false
	flags.StringVar(&c.folder, "dir", "certs", "`folder` of the authority and its certificates")
	flags.IntVar(&c.days, "days", days, "how long it is valid")
}

func (c *certFlags) open() (issuer.Folder, time.Duration, error) {
	if c.days < 1 || c.days > 100*365 {
		return issuer.Folder{}, 0, &usageError{fmt.Errorf("--days %d is not between 1 and 36500", c.days)}
	}
	if c.folder == "" {
		return issuer.Folder{}, 0, &usageError{fmt.Errorf("--dir is empty: name the folder of the certificates")}
	}
	return issuer.Folder{Path: c.folder}, time.Duration(c.days) * aDay, nil
}

func certAuthorityCommand(p process) *cobra.Command {
	var c certFlags
	var rotate, finish bool
	command := &cobra.Command{
		Use:   "ca",
		Short: "make the authority that signs a cluster's certificates",
		Long: `ca makes a certificate authority, ca.crt and ca.key.

To exchange it, --rotate makes its successor, and leaves both in ca.crt: copy that to every node and game server, and have them
read it. Then renew each certificate. Then --finish takes the former authority out of ca.crt: copy it once more.`,
		Example: `  profilenode cert ca
  profilenode cert ca --dir certs && profilenode cert ca --rotate && profilenode cert ca --finish`,
		Args: cobra.NoArgs,
	}
	c.add(command.Flags(), authorityDays)
	command.Flags().BoolVar(&rotate, "rotate", false, "make a new authority beside the one that is there")
	command.Flags().BoolVar(&finish, "finish", false, "leave only the newest authority in ca.crt")
	command.MarkFlagsMutuallyExclusive("rotate", "finish")
	command.RunE = runAct(func(context.Context, []string) error {
		folder, lasts, err := c.open()
		if err != nil {
			return err
		}
		switch {
		case rotate:
			made, err := folder.RotateAuthority(lasts)
			return printMade(p, made, err, "copy ca.crt, with both authorities, to every node and game server; then profilenode cert renew NAME for each certificate; then profilenode cert ca --finish")
		case finish:
			made, err := folder.DropFormerAuthorities()
			return printMade(p, made, err, "copy ca.crt to every node and game server: certificates of the former authority are refused from then on")
		}
		made, err := folder.MakeAuthority(lasts)
		return printMade(p, made, err, "profilenode cert node NAME --host HOST makes a node's certificate, profilenode cert client NAME a game server's; keep ca.key from both")
	})
	return command
}

func certNodeCommand(p process) *cobra.Command {
	var c certFlags
	var hosts []string
	command := &cobra.Command{
		Use:   "node NAME --host HOST...",
		Short: "make a node's certificate",
		Long: `node makes NAME.crt and NAME.key for a node. Each --host is a host name or an IP address by which other nodes or game servers dial
it, without a port: those of advertise and advertise-nodes. A node that advertises another host does not start with it.`,
		Example: `  profilenode cert ca && profilenode cert node node1 --host 10.0.0.1 --host node1.example.org`,
		Args:    requireArguments("NAME"),
	}
	c.add(command.Flags(), certificateDays)
	command.Flags().StringSliceVar(&hosts, "host", nil, "`hosts` by which the node is dialled; may be given more than once")
	command.RunE = runAct(func(_ context.Context, args []string) error {
		folder, lasts, err := c.open()
		if err != nil {
			return err
		}
		made, err := folder.Issue(issuer.Request{Name: args[0], Node: true, Hosts: hosts, Lasts: lasts})
		return printMade(p, made, err, fmt.Sprintf("profilenode serve --tls-cert %[1]s/%[2]s.crt --tls-key %[1]s/%[2]s.key --tls-ca %[1]s/ca.crt", c.folder, args[0]))
	})
	return command
}

func certClientCommand(p process) *cobra.Command {
	var c certFlags
	command := &cobra.Command{
		Use:     "client NAME",
		Short:   "make the certificate of a game server or an operator",
		Long:    `client makes NAME.crt and NAME.key for whoever connects to the nodes' port for clients. It opens no port of the nodes' own.`,
		Example: `  profilenode cert ca && profilenode cert client lobby && profilenode cert client operator`,
		Args:    requireArguments("NAME"),
	}
	c.add(command.Flags(), certificateDays)
	command.RunE = runAct(func(_ context.Context, args []string) error {
		folder, lasts, err := c.open()
		if err != nil {
			return err
		}
		made, err := folder.Issue(issuer.Request{Name: args[0], Lasts: lasts})
		return printMade(p, made, err, fmt.Sprintf("profilenode status --tls-cert %[1]s/%[2]s.crt --tls-key %[1]s/%[2]s.key --tls-ca %[1]s/ca.crt", c.folder, args[0]))
	})
	return command
}

func certRenewCommand(p process) *cobra.Command {
	var c certFlags
	var newKey bool
	command := &cobra.Command{
		Use:   "renew NAME...",
		Short: "replace certificates by new ones with the same names and roles",
		Long: `renew replaces NAME.crt by a new certificate for the same hosts and the same role, signed by the newest authority; the key stays unless
--new-key says otherwise. Nodes read their files again within a minute, or at once after SIGHUP, and none is restarted.`,
		Example: `  profilenode cert ca && profilenode cert client lobby && profilenode cert renew lobby --new-key`,
		Args:    cobra.MinimumNArgs(1),
	}
	c.add(command.Flags(), certificateDays)
	command.Flags().BoolVar(&newKey, "new-key", false, "make a new key too")
	command.RunE = runAct(func(_ context.Context, args []string) error {
		folder, lasts, err := c.open()
		if err != nil {
			return err
		}
		for _, name := range args {
			made, err := folder.Renew(name, newKey, lasts)
			if err := printMade(p, made, err, "copy it to where it is used; a node reads it within a minute, or at once after SIGHUP"); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	})
	return command
}

// printMade says what a command has made, or returns why it has not.
func printMade(p process, made issuer.Made, err error, next string) error {
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "made %s: %s, until %s\n", strings.Join(made.Files, " and "), describePurpose(made.Certificate), day(made.Certificate.NotAfter))
	if len(made.Kept) > 0 {
		fmt.Fprintf(p.out, "kept what was there as %s\n", strings.Join(made.Kept, " and "))
	}
	if next != "" {
		fmt.Fprintf(p.out, "next: %s\n", next)
	}
	return nil
}

// describePurpose says what a certificate is good for.
func describePurpose(certificate *x509.Certificate) string {
	server, client := hasUsage(certificate, x509.ExtKeyUsageServerAuth), hasUsage(certificate, x509.ExtKeyUsageClientAuth)
	switch {
	case certificate.IsCA:
		return "an authority, which signs others"
	case hasNodeRole(certificate) && server && client:
		return "a node at " + describeHosts(certificate)
	case hasNodeRole(certificate):
		return "nothing: a node's role without its uses"
	case client:
		return "a game server or an operator"
	case server:
		return "a server that is no node of this cluster, at " + describeHosts(certificate)
	}
	return "nothing here"
}

func hasUsage(certificate *x509.Certificate, usage x509.ExtKeyUsage) bool {
	for _, has := range certificate.ExtKeyUsage {
		if has == usage || has == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}
