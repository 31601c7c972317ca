package client

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// knownCluster is the cluster that this client belongs to, in one of its epochs.
type knownCluster struct {
	id      []byte // empty before the first registration
	epoch   uint64
	binding uint64 // hash of both, carried by every request
}

// isBindingRefusal says that a node refused a copy because it was meant for another cluster, epoch or registration than the
// node's. It says nothing of any other copy, and another node may well carry the request out.
func isBindingRefusal(refusal *profilev1.Refusal) bool {
	return refusal.GetReason() == profilev1.Reason_REASON_OTHER_CLUSTER || refusal.GetReason() == profilev1.Reason_REASON_OTHER_REGISTRATION
}

// isGreaterEpoch says that a refusal came from a later epoch of a cluster: that one was restored from a backup, and nothing
// of the epoch before goes on. A node in a smaller epoch lags, and one of another cluster is only a wrong address.
func isGreaterEpoch(refusal *profilev1.Refusal, of knownCluster) bool {
	return isBindingRefusal(refusal) && len(of.id) > 0 && bytes.Equal(refusal.Cluster, of.id) && refusal.Epoch > of.epoch
}

const restoredSince = "the cluster was restored from a backup since, which ended every game server's sessions"

// checkFeatures says which part of a request the cluster cannot carry out, as far as it has announced; nil: it can do all of
// it. Such a request is never sent.
func (k *clusterLink) checkFeatures(act string, ref Ref, request proto.Message) error {
	c := k.c
	fields := profilev1.Fields
	if replaced := c.config.hooks.Fields; replaced != nil {
		fields = replaced
	}
	var announced []string
	if features := k.features.Load(); features != nil {
		announced = *features
	}
	field, feature := fields.Missing(request, announced)
	if field == "" {
		return nil
	}
	return &Error{
		Act: act, Ref: ref, Kind: ErrUnavailable, Code: "UNSUPPORTED", reason: profilev1.Reason_REASON_UNSUPPORTED,
		Sentence: fmt.Sprintf("%s needs the feature %q, which the cluster does not have yet: bring every node to the newest build", field, feature),
	}
}

// requestHeader names the asking incarnation and the request's number. It is the one place where a request is bound to its
// cluster and registration.
func (l *incarnation) requestHeader(number, hash uint64) *profilev1.Request {
	return wire.Identity{Incarnation: l.id, Binding: l.of.binding, Registration: l.registration}.RequestHeader(l.numbers, number, hash)
}

// bindRead writes into a read for which cluster it is meant.
func (k *clusterLink) bindRead(read proto.Message) {
	m := read.ProtoReflect()
	m.Set(m.Descriptor().Fields().ByName("binding"), protoreflect.ValueOfUint64(k.cluster.Load().binding))
}
