package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
	"google.golang.org/grpc"
)

// surveyed is one node of a cluster as found by asking all of them.
type surveyed struct {
	address string             // for clients
	member  *pb.Member         // as the cluster knows it; nil: it does not
	status  *pb.StatusResponse // nil: it did not answer
	err     error              // why not
}

// survey asks every node that can be found from the seeds for its own view, all at once. It needs no leader. Seeds that
// are not reached and belong to no known node come last. It fails only when nobody answers.
func (c *conn) survey(ctx context.Context) ([]*surveyed, error) {
	asked := make(map[string]*surveyed)
	for next := c.seeds; len(next) > 0; {
		for _, s := range c.statuses(ctx, next) {
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
	byID := make(map[string]*surveyed)
	var best *surveyed
	for _, s := range asked {
		if s.status == nil {
			continue
		}
		byID[s.status.GetId()] = s
		if best == nil || newer(s.status, best.status) {
			best = s
		}
	}
	if best == nil {
		return nil, c.gaveUp(asked[c.seeds[0]].err, wire.CopyRefused)
	}
	var found []*surveyed
	for _, member := range best.status.GetMembers() {
		s := byID[member.GetId()]
		if s == nil {
			if s = asked[member.GetClient()]; s == nil || s.status != nil {
				s = &surveyed{address: member.GetClient(), err: fmt.Errorf("its client address is not known")}
			}
		}
		s.member = member
		found = append(found, s)
	}
	var rest []*surveyed
	for _, s := range asked {
		known := slices.Contains(found, s)
		if s.status != nil {
			known = known || byID[s.status.GetId()] != s // the same node by another address
		}
		if !known {
			rest = append(rest, s)
		}
	}
	byAddress := func(a, b *surveyed) int { return strings.Compare(a.address, b.address) }
	slices.SortFunc(found, byAddress)
	slices.SortFunc(rest, byAddress)
	return append(found, rest...), nil
}

// newer says whose list of members to believe: the leader's of the latest term, else the furthest one's.
func newer(a, b *pb.StatusResponse) bool {
	if a.GetTerm() != b.GetTerm() {
		return a.GetTerm() > b.GetTerm()
	}
	if aLeads, bLeads := a.GetState() == "leader", b.GetState() == "leader"; aLeads != bLeads {
		return aLeads
	}
	return a.GetApplied() > b.GetApplied()
}

func (c *conn) statuses(ctx context.Context, addresses []string) []*surveyed {
	found := make([]*surveyed, len(addresses))
	c.each(ctx, addresses, func(ctx context.Context, i int, cc *grpc.ClientConn) (err error) {
		found[i] = &surveyed{address: addresses[i]}
		found[i].status, err = pb.NewClusterClient(cc).Status(ctx, &pb.StatusRequest{})
		return err
	}, func(i int, err error) {
		found[i] = &surveyed{address: addresses[i], err: err}
	})
	return found
}

// each asks several addresses at once, one try each, and waits for all.
func (c *conn) each(ctx context.Context, addresses []string, ask func(context.Context, int, *grpc.ClientConn) error, failed func(int, error)) {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	var all sync.WaitGroup
	defer all.Wait()
	for i, address := range addresses {
		connection, err := c.at(address)
		if err != nil {
			failed(i, err)
			continue
		}
		all.Go(func() {
			if err := ask(ctx, i, connection); err != nil {
				failed(i, err)
			}
		})
	}
}

// unreachable says why a node did not answer, in a word or two.
func unreachable(err error) string {
	switch judge(err) {
	case absent:
		return "unreachable"
	case again:
		return "no answer"
	}
	return "error"
}
