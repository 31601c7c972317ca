package client

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// NodeAnswer is the last answer of a node that did not carry out a request, or the reason why it could not be asked.
type NodeAnswer struct {
	Address string
	Err     error
}

// nodeState is how the last request to a node went.
type nodeState struct {
	failed      error // nil: it carried out the request
	unreachable bool  // and no request could be sent, or nothing was answered
	explained   bool
	ofAnother   time.Time // when it last answered as another cluster's, and not as this one's since; zero: it did not
	notAllowed  bool      // it said that this client is not allowed to make this request
}

// noteAnswer takes down how a request to a node went, and logs the first failure to reach it and the end of that.
func (k *clusterLink) noteAnswer(addr string, link *wire.Link, refusal *profilev1.Refusal, err error) {
	c := k.c
	n := k.nodes
	next := nodeState{
		failed: nodeAnswerError(refusal, err), unreachable: err != nil && refusal == nil,
		notAllowed: refusal.GetReason() == profilev1.Reason_REASON_UNAUTHORIZED,
	}
	var cluster []byte
	if of := k.cluster.Load(); of != nil {
		cluster = of.id
	}
	n.mu.Lock()
	was, known := n.states[addr]
	switch {
	case isOfAnotherCluster(refusal, cluster):
		next.ofAnother = time.Now()
	case next.unreachable:
		next.ofAnother = was.ofAnother
	}
	if next.unreachable && was.unreachable && was.explained && errors.As(err, new(*wire.ConnectError)) {
		next.failed, next.explained = was.failed, true
	}
	n.states[addr] = next
	n.mu.Unlock()
	if !next.ofAnother.IsZero() {
		k.endIfOutlived()
	}
	switch {
	case c.life.ctx.Err() != nil:
	case next.unreachable && !was.unreachable:
		c.life.startGoroutine(func() { k.explainFailure(addr, link, next.failed) })
	case known && was.unreachable && !next.unreachable:
		c.config.Log.Info("a node is reached again", "node", addr)
	}
}

// nodeAnswerError is an answer in a few words. The words that gRPC puts around them are left out.
func nodeAnswerError(refusal *profilev1.Refusal, err error) error {
	var connect *wire.ConnectError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &connect):
		return connect
	case refusal != nil || status.Convert(err).Message() != "":
		return errors.New(status.Convert(err).Message())
	}
	return err
}

// explainFailure logs why a node cannot be reached. A second look at its port may tell more than the first attempt did.
func (k *clusterLink) explainFailure(addr string, link *wire.Link, failed error) {
	c := k.c
	if link != nil {
		ctx, cancel := context.WithTimeout(c.life.ctx, 2*time.Second)
		defer cancel()
		if why := link.Explain(ctx); why != nil {
			failed = why
			k.nodes.mu.Lock()
			if state := k.nodes.states[addr]; state.unreachable {
				state.failed, state.explained = why, true
				k.nodes.states[addr] = state
			}
			k.nodes.mu.Unlock()
		}
	}
	if c.life.ctx.Err() == nil && !isClosed(c.life.open.Done()) {
		c.config.Log.Warn("a node cannot be reached", "node", addr, "error", failed)
	}
}

// recentFailures returns the last answers that were no success, in the order in which the nodes are asked.
func (n *nodeSet) recentFailures() (failures []NodeAnswer) {
	known := n.Addresses()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, addr := range known {
		if state := n.states[addr]; state.failed != nil {
			failures = append(failures, NodeAnswer{addr, state.failed})
		}
	}
	return failures
}

// listAnswers writes answers in one line.
func listAnswers(answers []NodeAnswer) string {
	parts := make([]string, len(answers))
	for i, a := range answers {
		parts[i] = a.Address + ": " + a.Err.Error()
	}
	return strings.Join(parts, "; ")
}

const (
	registerLogAfter = time.Second // that a registration takes longer than this is logged
	registerLogEvery = 10 * time.Second
)

// waitingLog logs from time to time that a registration does not come about, since a caller may wait for it without end.
type waitingLog struct{ next time.Time }

func (r *waitingLog) logIfDue(c *Client, now time.Time) {
	if r.next.IsZero() {
		r.next = now.Add(registerLogAfter)
	}
	if now.Before(r.next) {
		return
	}
	r.next = now.Add(registerLogEvery)
	answers := listAnswers(c.link.nodes.recentFailures())
	if answers == "" {
		answers = "none yet"
	}
	c.config.Log.Warn("this game server is not registered yet: no node could do it so far", "name", c.config.Name, "answers", answers)
}
