package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/cluster"
)

// lookEvery is between two looks at the certificate files. Looking costs three small reads, and unlike a watch for changes
// of the folder it also works where the files are links that are exchanged as a whole, or lie on a network file system.
const lookEvery = time.Minute

// certificateHolder holds the certificates that both ports use, and replaces them when their files change. Connections
// that stand keep those with which they began.
type certificateHolder struct {
	certFile, keyFile, caFile string
	hosts                     []dialledHost
	warning                   time.Duration // before a certificate expires
	log                       *slog.Logger

	inForce atomic.Pointer[certificates] // with which a handshake is made that begins now
	refused atomic.Pointer[string]       // why the files could not be used when they were last read; nil: they are in force
}

// openCertificates reads a node's certificates for the first time; nil: it has none. One that has expired, or is not valid
// yet, does not keep a node from starting: its successor is taken without a restart, and a wrong clock corrects itself.
func openCertificates(c Config, log *slog.Logger) (*certificateHolder, error) {
	read, err := readCertificates(c.TLSCert, c.TLSKey, c.TLSCA)
	if read == nil || err != nil {
		return nil, err
	}
	h := &certificateHolder{
		certFile: c.TLSCert, keyFile: c.TLSKey, caFile: c.TLSCA, warning: c.TLSExpiryWarning, log: log, hosts: c.dialledHosts(),
	}
	var outOfDate *outOfDateError
	if err := read.checkForNode(time.Now(), h.hosts); errors.As(err, &outOfDate) {
		log.Warn("other nodes and game servers refuse this node's certificate until it is replaced", "cause", err)
	} else if err != nil {
		return nil, err
	}
	h.inForce.Store(read)
	return h, nil
}

// forClients is for the clients port. Each handshake is made with the certificates in force.
func (h *certificateHolder) forClients() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return h.inForce.Load().forClients(), nil },
	}
}

// forNodes is for the next connection on the nodes port, from either end.
func (h *certificateHolder) forNodes() *tls.Config { return h.inForce.Load().forNodes() }

// watchCertificates reads the certificates again at each hang-up signal, and as often as lookEvery says. h may be nil.
func watchCertificates(ctx context.Context, h *certificateHolder, hangups <-chan os.Signal, log *slog.Logger) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			if h == nil {
				log.Info("SIGHUP reads certificates again, and this node has none: it goes on as it is")
				continue
			}
			h.reload(true)
		case <-look.C:
			if h != nil {
				h.reload(false)
			}
		}
	}
}

// reload reads the files again, and puts them into force if they are as good as those that are. asked: an operator waits for
// the answer in the log; else only a change is logged. Only watchCertificates calls it, one call at a time.
func (h *certificateHolder) reload(asked bool) {
	was := h.inForce.Load()
	read, err := readCertificates(h.certFile, h.keyFile, h.caFile)
	if err == nil && read.sum == was.sum {
		if h.refused.Swap(nil) != nil || asked {
			h.log.Info("certificates read again, the files hold those that are in force", "expires", day(was.own.Leaf.NotAfter))
		}
		return
	}
	if err == nil {
		err = read.checkForNode(time.Now(), h.hosts)
	}
	if err != nil {
		why := strings.ReplaceAll(err.Error(), "\n", "; ")
		before := h.refused.Swap(&why)
		if asked || before == nil || *before != why {
			h.log.Warn("the certificate files cannot be used, this node keeps the certificates that it has: correct the files, then send SIGHUP or wait a minute",
				"cause", why, "expires", day(was.own.Leaf.NotAfter))
		}
		return
	}
	h.inForce.Store(read)
	h.refused.Store(nil)
	h.log.Info("certificates read again, new connections use the new ones", "subject", read.own.Leaf.Subject.String(), "expires", day(read.own.Leaf.NotAfter))
}

// alarms is the alarm about certificates that expire, while there is one.
func (h *certificateHolder) alarms() []cluster.Alarm {
	now, c := time.Now(), h.inForce.Load()
	var texts []string
	expiry := func(certificate *x509.Certificate, setting, file, remedy string) {
		if certificate.NotAfter.Sub(now) > h.warning {
			return
		}
		verb := "expires"
		if now.After(certificate.NotAfter) {
			verb = "has expired, and connections that need it are refused: it expired"
		}
		texts = append(texts, fmt.Sprintf("the certificate of %s in %s %s %s on %s: %s",
			certificate.Subject, setting, file, verb, day(certificate.NotAfter), remedy))
	}
	for _, certificate := range c.chain {
		expiry(certificate, "tls-cert", h.certFile, "put a new one and its key in place; it is in force within a minute, or at once after SIGHUP")
	}
	for _, certificate := range c.authorities {
		expiry(certificate, "tls-ca", h.caFile, "add its successor to the file on every node and game server, replace the certificates that it signed, then take it out")
	}
	if len(texts) == 0 {
		return nil
	}
	if why := h.refused.Load(); why != nil {
		texts = append(texts, "the files cannot be used: "+*why)
	}
	return []cluster.Alarm{{Code: cluster.AlarmCertificateExpires, Text: strings.Join(texts, "; ")}}
}
