package nemesis

import (
	"context"
	"time"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/bed"
)

func memberFaults() []Nemesis {
	return []Nemesis{
		{"transfer-lead", "let one node after the other hand over the lead", "leads handed over", Needs{}, quickBound, transferLead},
	}
}

func transferLead(ctx context.Context, b *bed.Bed, length time.Duration) error {
	for until := time.Now().Add(length); time.Now().Before(until) && ctx.Err() == nil; measure.Sleep(ctx, length/4) {
		leader, err := b.WaitForLeader(ctx, restBound)
		if err != nil {
			return err
		}
		try, cancel := context.WithTimeout(ctx, quickBound)
		_, err = leader.Cluster().TransferLeadership(try, &pb.TransferLeadershipRequest{})
		cancel()
		if err == nil { // refused while another node is behind: it is tried again
			b.CountEffect("leads handed over", 1)
		}
	}
	return nil
}
