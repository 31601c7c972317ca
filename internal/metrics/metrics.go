// Package metrics shows a node's work and state, as Prometheus reads it.
//
// It promises that every metric is described in docs/metrics.md, and that no label takes a value that a caller chose. It
// decides nothing, and the node does not wait for it. Read this file first, then node.go for the values that are read at each scrape.
package metrics

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
	"github.com/profilenode/profilenode/lock"
)

const prefix = "profilenode_"

// Metrics are one node's. They exist before the node does: cluster.Config.Metrics is one.
type Metrics struct {
	registry *prometheus.Registry
	own      []prometheus.Collector

	commands, proposals, rounds, renewals          *prometheus.CounterVec
	expiries, refusedExpiries, grants, revocations *prometheus.CounterVec
	snapshots                                      *prometheus.CounterVec
	entries, entryBytes, savedBytes                prometheus.Counter
	proposalTook, roundTook, entryCommands         prometheus.Histogram
	takeoverSilent, takeoverServed, snapshotTook   prometheus.Histogram
}

var _ cluster.Metrics = (*Metrics)(nil)

// New makes the metrics of a node that is about to be opened.
func New() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.commands = m.newCounterVec("commands_total", "Commands by what was asked and what became of it, at the leader.", "act", "outcome")
	m.proposals = m.newCounterVec("proposals_total", "Commands that this node was asked to put into the log.", "outcome")
	m.proposalTook = m.newHistogram("proposal_seconds", "From a command's coming until it was applied here, refused or given up.", exponentialSeconds(1, 14))
	m.entries = m.newCounter("entries_total", "Entries proposed to the log.")
	m.entryCommands = m.newHistogram("entry_commands", "Commands in an entry.", prometheus.ExponentialBuckets(1, 2, 13))
	m.entryBytes = m.newCounter("entry_bytes_total", "Bytes of the entries proposed to the log.")
	m.savedBytes = m.newCounter("saved_bytes_total", "Bytes of data that saves and sets have stored.")
	m.rounds = m.newCounterVec("confirmation_rounds_total", "Rounds in which this leader asked the others whether it leads.", "outcome")
	m.roundTook = m.newHistogram("confirmation_round_seconds", "Time until a majority had answered, or did not.", exponentialSeconds(0.1, 14))
	m.renewals = m.newCounterVec("renewals_total", "Renewals that asked to be answered as confirmed.", "outcome")
	m.expiries = m.newCounterVec("expiries_total", "Game servers and tools that ended, by the ground.", "ground")
	m.refusedExpiries = m.newCounterVec("expiries_refused_total", "Expiries that were not applied, since what was judged had moved on.", "ground")
	m.takeoverSilent = m.newHistogram("takeover_silence_seconds", "From the last time that a game server was heard until its verdict was applied.", exponentialSeconds(50, 11))
	m.takeoverServed = m.newHistogram("takeover_served_seconds", "From an expiry's being applied until the last who waited for one of its profiles had it.", exponentialSeconds(1, 14))
	m.grants = m.newCounterVec("grants_total", "Sessions granted, by how the profile came to be free.", "way")
	m.revocations = m.newCounterVec("revocations_total", "Sessions that were taken from living owners.", "cause")
	m.snapshots = m.newCounterVec("snapshots_total", "Snapshots made here, or installed from another node.", "act", "outcome")
	m.snapshotTook = m.newHistogram("snapshot_seconds", "Time that making or installing a snapshot took.", exponentialSeconds(1, 16))
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler answers a scrape.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 4})
}

// exponentialSeconds are n buckets, each twice the one before.
func exponentialSeconds(leastMS float64, n int) []float64 {
	return prometheus.ExponentialBuckets(leastMS/1000, 2, n)
}

func (m *Metrics) newCounter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + name, Help: help})
	m.registerCollector(c)
	return c
}

func (m *Metrics) newCounterVec(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
	m.registerCollector(c)
	return c
}

func (m *Metrics) newHistogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: buckets})
	m.registerCollector(h)
	return h
}

func (m *Metrics) registerCollector(c prometheus.Collector) {
	m.registry.MustRegister(c)
	m.own = append(m.own, c)
}

// RecordProposal counts a command.
func (m *Metrics) RecordProposal(c *fsm.Command, result fsm.Result, took time.Duration, err error) {
	m.proposals.WithLabelValues(outcomeLabel(err)).Inc()
	m.proposalTook.Observe(took.Seconds())
	if err != nil {
		return
	}
	became := "ok"
	switch {
	case result.Repeated:
		became = "repeated"
	case result.Code == fsm.Queued:
		became = "queued"
	case result.Code != fsm.OK:
		became = strings.ToLower(strings.TrimPrefix(server.ReasonOf(result.Code).String(), "REASON_"))
	}
	m.commands.WithLabelValues(commandLabel(c), became).Inc()
	if became != "ok" {
		return
	}
	m.savedBytes.Add(float64(c.GetSave().GetData().GetSize() + c.GetSet().GetData().GetSize()))
	if c.GetEndServer() != nil {
		m.expiries.WithLabelValues(lock.Goodbye.String()).Inc()
	}
}

// commandLabel is a command's name, in the words of the log.
func commandLabel(c *fsm.Command) string {
	message := c.ProtoReflect()
	act := message.WhichOneof(message.Descriptor().Oneofs().ByName("act"))
	if act == nil {
		return "none"
	}
	return string(act.Name())
}

// outcomeLabel is an error of the cluster's as a label.
func outcomeLabel(err error) string {
	var notLeader *cluster.NotLeaderError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &notLeader):
		return "not_leader"
	case errors.Is(err, cluster.ErrBusy):
		return "busy"
	case errors.Is(err, cluster.ErrNoSpace):
		return "no_space"
	case errors.Is(err, cluster.ErrUnconfirmed):
		return "unconfirmed"
	case errors.Is(err, cluster.ErrClosed):
		return "closed"
	case errors.Is(err, cluster.ErrFailed):
		return "failed"
	}
	return "unknown"
}

// RecordEntry counts one.
func (m *Metrics) RecordEntry(commands, bytes int) {
	m.entries.Inc()
	m.entryCommands.Observe(float64(commands))
	m.entryBytes.Add(float64(bytes))
}

// RecordRound counts a round of proof.
func (m *Metrics) RecordRound(took time.Duration, err error) {
	m.rounds.WithLabelValues(outcomeLabel(err)).Inc()
	m.roundTook.Observe(took.Seconds())
}

// RecordRenewal counts a renewal.
func (m *Metrics) RecordRenewal(err error) { m.renewals.WithLabelValues(outcomeLabel(err)).Inc() }

// RecordEvents counts grants and revocations.
func (m *Metrics) RecordEvents(events []fsm.Event) {
	for _, e := range events {
		switch e.Kind {
		case fsm.Granted:
			m.grants.WithLabelValues(eventLabel(e)).Inc()
		case fsm.Lost:
			m.revocations.WithLabelValues(e.Cause.String()).Inc()
		}
	}
}

// eventLabel is how a profile came to its new owner.
func eventLabel(e fsm.Event) string {
	switch {
	case e.Token == e.Ticket:
		return "start"
	case e.Cause == lock.Expired:
		return "takeover"
	case e.Cause.OfOwner() && !e.Cause.GivesUp():
		return "hand_off"
	}
	return e.Cause.String()
}

// RecordExpiry counts an expiry.
func (m *Metrics) RecordExpiry(ground lock.Ground, refused bool, silent time.Duration) {
	if refused {
		m.refusedExpiries.WithLabelValues(ground.String()).Inc()
		return
	}
	m.expiries.WithLabelValues(ground.String()).Inc()
	m.takeoverSilent.Observe(silent.Seconds())
}

// RecordTakeover counts a takeover.
func (m *Metrics) RecordTakeover(took time.Duration) { m.takeoverServed.Observe(took.Seconds()) }

// RecordSnapshot counts one.
func (m *Metrics) RecordSnapshot(installed bool, took time.Duration, err error) {
	act := "made"
	if installed {
		act = "installed"
	}
	m.snapshots.WithLabelValues(act, outcomeLabel(err)).Inc()
	m.snapshotTook.Observe(took.Seconds())
}
