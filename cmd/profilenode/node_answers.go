package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// errorAfterGivingUp says why a request found no node that could answer it, with the answer of each node that was tried.
func (c *clusterConn) errorAfterGivingUp(ctx context.Context, fate wire.Fate) error {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return classifyByFate(fate, errors.New("interrupted"))
	}
	looking, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookLimit)
	defer cancel()
	return classifyByFate(fate, c.explainNoAnswer(looking))
}

func (c *clusterConn) explainNoAnswer(ctx context.Context) error {
	reached, leaderless := 0, false
	for _, err := range c.said {
		refusal := wire.RefusalIn(err)
		leaderless = leaderless || refusal.GetReason() == pb.Reason_REASON_NOT_LEADER
		if !isUnsent(err) {
			reached++
		}
	}
	switch {
	case reached == 0:
		return &hintedError{c.withNodeErrors("no node answers"), "start a cluster with profilenode dev, or name the nodes of another with --addr or " + addrVariable}
	case leaderless:
		if found, _ := c.findNodes(ctx); len(found) > 0 && latestLeader(found) == nil {
			return c.leaderlessError(found)
		}
		fallthrough
	default:
		return &hintedError{c.withNodeErrors("no node could answer in time"), "profilenode status shows every node" + c.staleHint()}
	}
}

// leaderlessError says why only stale reads work, from the answers of all nodes.
func (c *clusterConn) leaderlessError(found []*nodeStatus) error {
	says := describeLeaderless(found)
	for _, s := range found {
		says += "\n  " + s.address + ": "
		if s.status != nil {
			says += "it answers, as " + s.status.GetState()
		} else {
			says += s.err.Error()
		}
	}
	return &hintedError{errors.New(says), "a cluster needs more than half of its nodes: start those that are down" + c.staleHint()}
}

// describeLeaderless counts the nodes that vote: without more than half of them there is no leader.
func describeLeaderless(found []*nodeStatus) string {
	voters, down := 0, 0
	for _, s := range found {
		if s.member.GetVoter() {
			voters++
			if s.status == nil {
				down++
			}
		}
	}
	switch {
	case voters == 0:
		return "no leader: there is no cluster yet, or no node knows its members"
	case 2*down < voters:
		return fmt.Sprintf("no leader: %d of %d nodes answer, and none of them leads yet", voters-down, voters)
	}
	return fmt.Sprintf("no leader: %d of %d nodes are down", down, voters)
}

func (c *clusterConn) staleHint() string {
	if c.offersStale {
		return "; --stale reads from any node, which may lag behind"
	}
	return ""
}

// withNodeErrors adds the answer of each node that was tried to a sentence: in the same line if there is only one.
func (c *clusterConn) withNodeErrors(sentence string) error {
	addresses := slices.Sorted(maps.Keys(c.said))
	if len(addresses) == 1 {
		return fmt.Errorf("%s at %s: %w", sentence, addresses[0], c.said[addresses[0]])
	}
	var b strings.Builder
	b.WriteString(sentence)
	for _, address := range addresses {
		fmt.Fprintf(&b, "\n  %s: %v", address, c.said[address])
	}
	return errors.New(b.String())
}

// unsentError is the reason why no request could be sent to an address.
type unsentError struct{ error }

func (e *unsentError) Unwrap() error { return e.error }

func isUnsent(err error) bool {
	var unsent *unsentError
	return errors.As(err, &unsent)
}

// nodeAnswer turns the error of a copy of a request into a sentence about the node's answer. It wraps the refusal.
func nodeAnswer(ctx context.Context, a wire.Attempt) error {
	if a.Link == nil {
		return a.Err // this side may not connect there
	}
	failed := a.Link.Explain(context.WithoutCancel(ctx))
	switch code := status.Code(a.Err); {
	case !a.Sent && a.Refusal == nil && failed != nil:
		return &unsentError{failed}
	case !a.Sent && a.Refusal == nil:
		return &unsentError{a.Err}
	case a.Refusal != nil:
		return &explainedError{status.Convert(a.Err).Message(), a.Err}
	case code == codes.Unimplemented:
		return &explainedError{"it speaks gRPC, but does not know this request: it is no profilenode, or an older one", a.Err}
	case code == codes.DeadlineExceeded || code == codes.Canceled:
		return &explainedError{"it took the request and did not answer in time: it is stopped, stuck or cut off", a.Err}
	case code == codes.Unavailable && failed != nil:
		return &explainedError{"the connection was lost; then: " + failed.Error(), a.Err}
	}
	return &explainedError{status.Convert(a.Err).Message(), a.Err}
}

// classifyByFate keeps an error from saying more than is known of the request.
func classifyByFate(fate wire.Fate, err error) error {
	if fate == wire.MayHaveHappened {
		return &unknownOutcomeError{err}
	}
	return err
}

// unknownOutcomeError is the end of a request of which some copy went unanswered. For a change it means: it may have happened.
type unknownOutcomeError struct{ error }

func (e *unknownOutcomeError) Unwrap() error { return e.error }
