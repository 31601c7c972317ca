package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// nodeStatus is one node of a cluster as found by asking all of them.
type nodeStatus struct {
	address string             // for clients
	member  *pb.Member         // as the cluster knows it; nil: it does not
	status  *pb.StatusResponse // nil: it did not answer
	err     error              // why not
}

// askStatusOfAll asks every node that can be found from the seeds for its own view, all at once. It needs no leader. Seeds
// that are not reached and belong to no known node come last. It fails only when no node answers.
func (c *clusterConn) askStatusOfAll(ctx context.Context) ([]*nodeStatus, error) {
	found, asked := c.findNodes(ctx)
	if found != nil {
		return found, nil
	}
	for address, s := range asked {
		c.said[address] = s.err
	}
	return nil, c.errorAfterGivingUp(ctx, wire.CopyRefused)
}

// findNodes is survey, with every address that was asked; it finds nothing when no node answers.
func (c *clusterConn) findNodes(ctx context.Context) (nodes []*nodeStatus, asked map[string]*nodeStatus) {
	asked = make(map[string]*nodeStatus)
	for next := c.seeds; len(next) > 0; {
		for _, s := range c.askStatuses(ctx, next) {
			asked[s.address] = s
		}
		next = nil
		for _, s := range asked {
			for _, member := range s.status.GetMembers() {
				address := member.GetClient()
				if address != "" && asked[address] == nil && !slices.Contains(next, address) {
					next = append(next, address)
				}
			}
		}
	}
	byID := make(map[string]*nodeStatus)
	var best *nodeStatus
	for _, s := range asked {
		if s.status == nil {
			continue
		}
		byID[s.status.GetId()] = s
		if best == nil || isNewerStatus(s.status, best.status) {
			best = s
		}
	}
	if best == nil {
		return nil, asked
	}
	var found []*nodeStatus
	for _, member := range best.status.GetMembers() {
		s := byID[member.GetId()]
		if s == nil {
			if s = asked[member.GetClient()]; s == nil || s.status != nil {
				s = &nodeStatus{address: member.GetClient(), err: fmt.Errorf("its client address is not known")}
			}
		}
		s.member = member
		found = append(found, s)
	}
	var rest []*nodeStatus
	for _, s := range asked {
		known := slices.Contains(found, s)
		if s.status != nil {
			known = known || byID[s.status.GetId()] != s // the same node by another address
		}
		if !known {
			rest = append(rest, s)
		}
	}
	byAddress := func(a, b *nodeStatus) int { return strings.Compare(a.address, b.address) }
	slices.SortFunc(found, byAddress)
	slices.SortFunc(rest, byAddress)
	return append(found, rest...), asked
}

// isNewerStatus chooses the list of members to believe: that of the leader of the latest term, else of the node with the
// highest index.
func isNewerStatus(a, b *pb.StatusResponse) bool {
	if a.GetTerm() != b.GetTerm() {
		return a.GetTerm() > b.GetTerm()
	}
	if aLeads, bLeads := a.GetState() == "leader", b.GetState() == "leader"; aLeads != bLeads {
		return aLeads
	}
	return a.GetApplied() > b.GetApplied()
}

func (c *clusterConn) askStatuses(ctx context.Context, addresses []string) []*nodeStatus {
	found := make([]*nodeStatus, len(addresses))
	c.askAllNodes(ctx, addresses, pb.Cluster_Status_FullMethodName, &pb.StatusRequest{}, func(i int) proto.Message {
		found[i] = &nodeStatus{address: addresses[i], status: &pb.StatusResponse{}}
		return found[i].status
	}, func(i int, err error) {
		found[i] = &nodeStatus{address: addresses[i], err: err}
	})
	return found
}

// askAllNodes asks several addresses at once, one copy each, and waits for all. reply is called before each copy leaves.
func (c *clusterConn) askAllNodes(ctx context.Context, addresses []string, method string, request proto.Message, reply func(int) proto.Message, failed func(int, error)) {
	var all sync.WaitGroup
	defer all.Wait()
	for i, address := range addresses {
		all.Go(func() {
			a := c.nodes.SendCopy(ctx, address, method, proto.Clone(request), reply(i))
			switch {
			case a.Err == nil:
			case a.Link == nil:
				failed(i, &unsentError{a.Err})
			default:
				failed(i, nodeAnswer(ctx, a))
			}
		})
	}
}

// describeUnreachable says in a word or two that a node did not answer; the error says more.
func describeUnreachable(err error) string {
	switch {
	case isUnsent(err):
		return "unreachable"
	case wire.RefusalIn(err) == nil:
		return "no answer"
	}
	return "error"
}
