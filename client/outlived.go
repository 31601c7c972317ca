package client

import (
	"bytes"
	"slices"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
)

// outlivedLimit is at least how long ago an address may have answered as another cluster's: time enough to ask each of them.
const outlivedLimit = 10 * time.Second

// isOfAnotherCluster says whether a refusal came from a node of another cluster than this client's. A node that is in no
// cluster yet is of none.
func isOfAnotherCluster(refusal *profilev1.Refusal, cluster []byte) bool {
	return refusal.GetReason() == profilev1.Reason_REASON_OTHER_CLUSTER && len(cluster) > 0 && len(refusal.Cluster) > 0 &&
		!bytes.Equal(refusal.Cluster, cluster)
}

// endIfOutlived ends this client for good if its cluster is there no more: each address that it was last given as the
// cluster's has answered as another cluster's within the limit for doubt, and none of them otherwise since. One address
// that does not answer is enough to go on trying, and so is a wrong seed beside an outage: it was never given as the
// cluster's.
func (k *clusterLink) endIfOutlived() {
	c := k.c
	limit := max(c.config.DoubtLimit, outlivedLimit)
	now := time.Now()
	n := k.nodes
	given := n.GivenAddresses()
	n.mu.Lock()
	outlived := len(given) > 0 && !slices.ContainsFunc(given, func(addr string) bool {
		at := n.states[addr].ofAnother
		return at.IsZero() || now.Sub(at) > limit
	})
	n.mu.Unlock()
	if !outlived {
		return
	}
	c.endForGood(&Error{
		Act: "live", Kind: ErrSessionOver, Code: CodeOtherCluster, reason: profilev1.Reason_REASON_OTHER_CLUSTER, Nodes: n.recentFailures(),
		Sentence: "every address of its cluster answers as another cluster's: a new cluster was founded there, or the cluster was restored elsewhere",
	})
}

// allNodesRefuse says whether the last answer of each address was that this client is not allowed to make its request. One
// that does not answer, or answers otherwise, may be the one that would.
func (n *nodeSet) allNodesRefuse() bool {
	known := n.Addresses()
	n.mu.Lock()
	defer n.mu.Unlock()
	return !slices.ContainsFunc(known, func(addr string) bool { return !n.states[addr].notAllowed })
}
