package wire

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
)

// Attempt is one copy of a request for one node, and its result.
type Attempt struct {
	Address string
	Link    *Link              // nil: this side may not connect there
	Sent    bool               // false: no copy has left this process
	Refusal *profilev1.Refusal // nil: the node refused nothing
	Err     error              // nil: the node carried the request out
	Unsent  int                // of a Call: copies in a row, up to this one, of which none could be sent
}

// IsFinal says whether the copy was refused in a way that asking again would not change.
func (a Attempt) IsFinal() bool {
	return a.Refusal != nil && MeaningOf(a.Refusal.Reason).Retry == Never
}

// SendCopy sends one copy of a request to one node, waits for its answer, and learns from it which node leads. An error that
// gRPC makes on this side is taken for the refusal INVALID.
func (n *Nodes) SendCopy(ctx context.Context, address, method string, request, answer proto.Message) Attempt {
	link, err := n.ReadyLink(ctx, address)
	if err != nil {
		n.NotePassed(address)
		return Attempt{Address: address, Link: link, Err: err}
	}
	proto.Reset(answer)
	silent, err := link.Invoke(ctx, method, request, answer)
	a := Attempt{Address: address, Link: link, Sent: true, Refusal: RefusalIn(err), Err: err}
	if err == nil {
		return a
	}
	if silent {
		n.replaceLink(address, link)
	}
	switch {
	case a.Refusal == nil && isLocalError(err):
		a.Sent, a.Refusal = false, &profilev1.Refusal{Reason: profilev1.Reason_REASON_INVALID}
	case a.Refusal == nil:
		n.NotePassed(address)
	case MeaningOf(a.Refusal.Reason).Retry == Elsewhere:
		n.NotePassed(address)
		n.NoteLeader(a.Refusal.Leader)
	}
	return a
}

// isLocalError says that gRPC made an error on this side before anything was sent. Such errors are no
// outcomes to be settled, since no node knows of the request.
func isLocalError(err error) bool {
	s := status.Convert(err)
	switch s.Code() {
	case codes.ResourceExhausted:
		return strings.Contains(s.Message(), "trying to send message larger than max")
	case codes.Internal:
		return strings.HasPrefix(s.Message(), "grpc: error while marshaling")
	}
	return false
}
