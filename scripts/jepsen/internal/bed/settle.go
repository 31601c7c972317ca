package bed

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/bench/measure"
)

const lookPause = 50 * time.Millisecond

// FindLeader is the node that leads in the newest term, as far as the nodes say; nil: none does.
func (b *Bed) FindLeader(ctx context.Context) *Node {
	var leader *Node
	var term uint64
	for _, n := range b.Nodes {
		if !n.Up() {
			continue
		}
		if s, err := n.Status(ctx); err == nil && s.GetState() == "leader" && s.GetTerm() > term {
			leader, term = n, s.GetTerm()
		}
	}
	return leader
}

// WaitForLeader waits until a node leads.
func (b *Bed) WaitForLeader(ctx context.Context, limit time.Duration) (*Node, error) {
	for deadline := time.Now().Add(limit); ; measure.Sleep(ctx, lookPause) {
		if n := b.FindLeader(ctx); n != nil {
			return n, nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("no node leads within %v", limit), ctx.Err())
		}
	}
}

// CheckEnded returns an error if a node has ended by itself that no fault lets end.
func (b *Bed) CheckEnded() error {
	for _, n := range b.Nodes {
		if n.HasEnded() && !n.mayEndNow() {
			return fmt.Errorf("node %s ended by itself: %w\n%s", n.Name, n.ExitError(), n.LogEnd())
		}
	}
	return nil
}

// WaitUntilWell waits until every node is a member and has applied what the leader had at the time of the call.
func (b *Bed) WaitUntilWell(ctx context.Context, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	target, why := uint64(0), "no node leads"
	for ; time.Now().Before(deadline) && ctx.Err() == nil; measure.Sleep(ctx, lookPause) {
		if err := b.CheckEnded(); err != nil {
			return err
		}
		if target == 0 {
			if leader := b.FindLeader(ctx); leader != nil {
				if s, err := leader.Status(ctx); err == nil {
					target = s.GetApplied()
				}
			}
			continue
		}
		if why = b.describeLag(ctx, target); why == "" {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("the nodes are not well within %v: %s", limit, why), ctx.Err())
}

func (b *Bed) describeLag(ctx context.Context, target uint64) string {
	for _, n := range b.Nodes {
		s, err := n.Status(ctx)
		switch {
		case err != nil:
			return fmt.Sprintf("%s does not answer: %v", n.Name, err)
		case s.GetState() != "leader" && s.GetState() != "follower":
			return fmt.Sprintf("%s is a %s", n.Name, s.GetState())
		case s.GetApplied() < target:
			return fmt.Sprintf("%s has applied %d of %d", n.Name, s.GetApplied(), target)
		}
	}
	return ""
}

// CompareDigests compares the digests of all nodes, once they have applied the same. Nothing may be written meanwhile.
func (b *Bed) CompareDigests(ctx context.Context, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; measure.Sleep(ctx, lookPause) {
		var first *pb.StatusResponse
		why := ""
		for _, n := range b.Nodes {
			s, err := n.Status(ctx)
			switch {
			case err != nil:
				why = err.Error()
			case first == nil:
				first = s
			case s.GetApplied() != first.GetApplied():
				why = fmt.Sprintf("%s has applied %d, another %d", n.Name, s.GetApplied(), first.GetApplied())
			case s.GetDigest() != first.GetDigest():
				return fmt.Errorf("I12: digests differ at index %d: %s has %x, %s has %x", s.GetApplied(), b.Nodes[0].Name, first.GetDigest(), n.Name, s.GetDigest())
			}
		}
		if why == "" {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("digests could not be compared: %s", why)
		}
	}
}
