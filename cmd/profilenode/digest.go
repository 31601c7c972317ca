package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

// digestRounds is how often the nodes are asked again while they answer at different indexes, which they do under load.
const digestRounds = 50

func digestCommand(p process) *cobra.Command {
	command := &cobra.Command{
		Use:   "digest",
		Short: "check that every node holds the same",
		Long: `digest asks every node for the digest of its tables at one index, and says whether they agree.
Exit code 0 only when every node of the cluster answered, and all with the same digest.`,
		Args: cobra.NoArgs,
	}
	a := addClusterFlags(p, command)
	command.RunE = runAct(func(ctx context.Context, _ []string) error {
		return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			found, err := c.askStatusOfAll(ctx)
			if err != nil {
				return err
			}
			digests := c.digestsAtCommonIndex(ctx, relevantNodes(found, a.choosesNodes()))
			outcome := compareDigests(digests)
			if err := printDigests(a, digests, outcome); err != nil {
				return err
			}
			return outcome
		})
	})
	return command
}

// nodeDigest is one node's digest.
type nodeDigest struct {
	node  *nodeStatus
	reply *pb.DigestResponse // nil: it did not answer
	err   error
}

// digestsAtCommonIndex asks until all answers are of the same index: a node may have gone on past the one asked for.
func (c *clusterConn) digestsAtCommonIndex(ctx context.Context, found []*nodeStatus) []*nodeDigest {
	var index uint64
	for _, s := range found {
		index = max(index, s.status.GetApplied())
	}
	var answers []*nodeDigest
	for range digestRounds {
		answers = c.digestsAt(ctx, found, index)
		highest, same := uint64(0), true
		for _, d := range answers {
			if d.reply == nil {
				continue
			}
			same = same && (highest == 0 || highest == d.reply.GetIndex())
			highest = max(highest, d.reply.GetIndex())
		}
		if same || ctx.Err() != nil {
			break
		}
		index = highest
	}
	return answers
}

func (c *clusterConn) digestsAt(ctx context.Context, found []*nodeStatus, index uint64) []*nodeDigest {
	answers := make([]*nodeDigest, len(found))
	var addresses []string
	var places []int // of addresses in found
	for i, s := range found {
		answers[i] = &nodeDigest{node: s, err: s.err}
		if s.status != nil {
			addresses, places = append(addresses, s.address), append(places, i)
		}
	}
	c.askAllNodes(ctx, addresses, pb.Cluster_Digest_FullMethodName, &pb.DigestRequest{Index: index}, func(i int) proto.Message {
		answers[places[i]].reply = &pb.DigestResponse{}
		return answers[places[i]].reply
	}, func(i int, err error) {
		answers[places[i]].reply, answers[places[i]].err = nil, err
	})
	return answers
}

// compareDigests is nil only when all answered, at one index, with one digest.
func compareDigests(digests []*nodeDigest) error {
	var first *pb.DigestResponse
	missing, apart, differ := 0, false, false
	for _, d := range digests {
		switch {
		case d.reply == nil:
			missing++
		case first == nil:
			first = d.reply
		case d.reply.GetIndex() != first.GetIndex():
			apart = true
		case d.reply.GetDigest() != first.GetDigest():
			differ = true
		}
	}
	switch {
	case differ:
		return &hintedError{errors.New("the nodes do not agree"), "keep the data folders and logs of all nodes; the one that differs from the rest must be replaced"}
	case apart:
		return &hintedError{errors.New("the nodes could not be compared: they answered at different indexes"), "try again when there is less load"}
	case first == nil:
		return errors.New("no node answered")
	case missing > 0:
		return fmt.Errorf("%d of %d nodes agree; the rest did not answer", len(digests)-missing, len(digests))
	}
	return nil
}

func printDigests(a *clusterFlags, digests []*nodeDigest, outcome error) error {
	if a.json {
		shape := digestsJSON{Agree: outcome == nil}
		if outcome != nil {
			shape.Why = outcome.Error()
		}
		for _, d := range digests {
			node := digestJSON{ID: d.node.nodeID(), Clients: d.node.address}
			if d.reply != nil {
				node.Reachable, node.Index, node.Digest = true, d.reply.GetIndex(), formatDigest(d.reply.GetDigest())
			}
			shape.Nodes = append(shape.Nodes, node)
		}
		return printObject(a.p.out, shape)
	}
	t := newTextTable(a.p.out, "NODE", "CLIENTS", "INDEX", "DIGEST")
	for _, d := range digests {
		index, digest := "", describeUnreachable(d.err)
		if d.reply != nil {
			index, digest = strconv.FormatUint(d.reply.GetIndex(), 10), formatDigest(d.reply.GetDigest())
		}
		t.addRow(abbreviateID(d.node.nodeID()), d.node.address, index, digest)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if outcome == nil {
		fmt.Fprintln(a.p.out, "\nall agree")
	}
	return nil
}

type digestsJSON struct {
	Agree bool         `json:"agree"`
	Why   string       `json:"why,omitempty"`
	Nodes []digestJSON `json:"nodes"`
}

type digestJSON struct {
	ID        string `json:"id"`
	Clients   string `json:"clients"`
	Reachable bool   `json:"reachable"`
	Index     uint64 `json:"index,omitempty"`
	Digest    string `json:"digest,omitempty"`
}
