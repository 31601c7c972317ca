package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/profilenode/profilenode/internal/issuer"
)

// certShow are the flags of cert show.
type certShow struct {
	p          process
	config     string
	ca, key    string
	hosts      []string
	node       Config // of config, if it is given
	faultCount int
}

func certShowCommand(p process) *cobra.Command {
	show := &certShow{p: p}
	command := &cobra.Command{
		Use:   "show [FILE...]",
		Short: "say what certificates are good for, until when, and what is wrong with them",
		Long: `show prints each certificate of each FILE: for whom it is, for what, who signed it, and until when. With --config it also says what is
wrong with a node's certificate for the node of that configuration, and without FILE it shows the files that the node uses.
Exit code 1 if anything is wrong.

ca.crt beside a FILE is taken as its authority, and the FILE that ends in .key as its key, unless --ca and --key name others.`,
		Example: `  profilenode cert ca && profilenode cert node n1 --host n1 && profilenode cert show certs/n1.crt certs/ca.crt --host n1`,
		Args:    cobra.ArbitraryArgs,
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&show.config, "config", "", "the configuration `file` of the node that uses them; also "+configVariable)
	flags.StringVar(&show.ca, "ca", "", "`file` of the authorities that others trust")
	flags.StringVar(&show.key, "key", "", "`file` of the key, where one FILE is given")
	flags.StringSliceVar(&show.hosts, "host", nil, "`hosts` by which others dial whoever shows it")
	command.RunE = runAct(func(_ context.Context, args []string) error { return show.run(args) })
	return command
}

func (s *certShow) run(files []string) error {
	if s.config == "" {
		s.config, _ = s.p.lookupVariable(configVariable)
	}
	if s.config != "" {
		c, _, err := loadConfig(s.config, pflag.NewFlagSet("", pflag.ContinueOnError), s.p)
		if err != nil {
			return &usageError{err}
		}
		s.node = c
		if len(files) == 0 {
			for _, file := range []string{c.TLSCert, c.TLSCA} {
				if file != "" {
					files = append(files, file)
				}
			}
			if len(files) == 0 {
				return fmt.Errorf("%s names no certificate: tls-cert, tls-key and tls-ca are empty", s.config)
			}
		}
	}
	if len(files) == 0 {
		return &usageError{errors.New("show takes the files to show, or --config")}
	}
	for _, file := range files {
		s.showFile(file)
	}
	if s.faultCount > 0 {
		return fmt.Errorf("%d wrong", s.faultCount)
	}
	return nil
}

func (s *certShow) print(name, format string, args ...any) {
	fmt.Fprintf(s.p.out, "  %-10s %s\n", name, escapeUnprintable(fmt.Sprintf(format, args...)))
}

func (s *certShow) fault(err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		s.faultCount++
		s.print("WRONG", "%s", line)
	}
}

func (s *certShow) showFile(path string) {
	fmt.Fprintln(s.p.out, path)
	data, err := os.ReadFile(path)
	if err != nil {
		s.fault(fmt.Errorf("%w%s", err, fileRemedy(err)))
		return
	}
	chain := issuer.Parse(data)
	if len(chain) == 0 {
		if strings.Contains(string(data), "PRIVATE KEY-----") {
			s.print("is", "a private key, no certificate")
			s.checkKeyMode(path)
			return
		}
		s.fault(errors.New("it holds no certificate in PEM form"))
		return
	}
	for _, certificate := range chain {
		s.print("subject", "%s", certificate.Subject)
		s.print("good for", "%s", describePurpose(certificate))
		s.print("signed by", "%s", certificate.Issuer)
		s.print("valid", "%s to %s (%s)", day(certificate.NotBefore), day(certificate.NotAfter), describeRest(certificate, time.Now()))
		if now := time.Now(); now.After(certificate.NotAfter) {
			s.fault(errors.New("it has expired: issue a new one"))
		} else if now.Before(certificate.NotBefore) {
			s.fault(errors.New("it is not valid yet: look at the clocks, or wait"))
		}
	}
	if !chain[0].IsCA {
		s.showUse(path, data, chain)
	}
}

// describeRest says how much is left of a certificate.
func describeRest(certificate *x509.Certificate, now time.Time) string {
	if left := certificate.NotAfter.Sub(now); left > 0 {
		return fmt.Sprintf("%d days left", int(left/aDay))
	}
	return "expired"
}

// showUse says whether a certificate, with its key and its authority, does what it is for.
func (s *certShow) showUse(path string, data []byte, chain []*x509.Certificate) {
	ofNode := s.node.TLSCert != "" && filepath.Clean(path) == filepath.Clean(s.node.TLSCert)
	key, ca := s.key, s.ca
	if ofNode {
		key, ca = s.node.TLSKey, s.node.TLSCA
	}
	if beside := strings.TrimSuffix(path, filepath.Ext(path)) + ".key"; key == "" && isFile(beside) {
		key = beside
	}
	if beside := filepath.Join(filepath.Dir(path), "ca.crt"); ca == "" && isFile(beside) {
		ca = beside
	}
	shown := &certificates{own: &tls.Certificate{Leaf: chain[0]}, chain: chain, authority: x509.NewCertPool()}
	if key == "" {
		s.print("key", "not looked at: name it by --key")
	} else {
		s.checkKey(key, data)
	}
	if ca == "" {
		s.print("authority", "not looked at: name it by --ca")
	} else if authorities, err := os.ReadFile(ca); err != nil {
		s.fault(fmt.Errorf("%w%s", err, fileRemedy(err)))
		ca = ""
	} else {
		for _, authority := range issuer.Parse(authorities) {
			shown.authority.AddCert(authority)
		}
		s.print("authority", "%s", ca)
	}

	var hosts []dialledHost
	for _, host := range s.hosts {
		hosts = append(hosts, dialledHost{host, "--host", "others reach"})
	}
	if ofNode {
		hosts = append(hosts, s.node.dialledHosts()...)
	}
	var outOfDate *outOfDateError
	var err error
	switch {
	case ca == "":
		err = shown.checkHosts(hosts)
	case ofNode || hasNodeRole(chain[0]) || len(hosts) > 0:
		err = shown.checkForNode(time.Now(), hosts)
	default:
		err = shown.checkUses(time.Now(), x509.ExtKeyUsageClientAuth)
	}
	if err != nil && !errors.As(err, &outOfDate) { // that was said with the dates
		s.fault(err)
	}
}

func (s *certShow) checkKey(key string, certificate []byte) {
	content, err := os.ReadFile(key)
	if err == nil {
		_, err = tls.X509KeyPair(certificate, content)
	}
	if err != nil {
		s.fault(fmt.Errorf("key %s: %w%s", key, err, fileRemedy(err)))
		return
	}
	s.print("key", "%s belongs to it", key)
	s.checkKeyMode(key)
}

// checkKeyMode complains of a key that others may read. On windows the mode of a file says nothing of that.
func (s *certShow) checkKeyMode(key string) {
	if info, err := os.Stat(key); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		s.fault(fmt.Errorf("key %s may be read by others than its owner (mode %04o): chmod 600", key, info.Mode().Perm()))
	}
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
