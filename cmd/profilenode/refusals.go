package main

import (
	"fmt"

	"google.golang.org/grpc/status"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// explainRefusal turns a node's refusal into its sentence, with a hint where there is one. It wraps the refusal.
func explainRefusal(err error) error {
	refusal := wire.RefusalIn(err)
	sentence := &explainedError{status.Convert(err).Message(), err}
	if refusal == nil {
		return sentence
	}
	var hint string
	switch refusal.GetReason() {
	case pb.Reason_REASON_OWNED:
		if owner := refusal.GetOwner(); owner != nil {
			hint = fmt.Sprintf("it belongs to %s; --force takes it away, and that game server loses its session", describeOwner(owner))
		}
	case pb.Reason_REASON_REVISION_DIFFERS:
		hint = fmt.Sprintf("it was saved by another meanwhile; it is at revision %d now: look at it, then try again with --revision %[1]d", refusal.GetRevision())
	case pb.Reason_REASON_NO_PROFILE:
		hint = "profilenode list STORE shows what there is"
	case pb.Reason_REASON_MESSAGES_WAIT:
		hint = fmt.Sprintf("%d wait: profilenode messages STORE KEY lists them; --drop-messages removes them with the profile", refusal.GetLimit())
	case pb.Reason_REASON_UNKNOWN_POLICY:
		hint = "profilenode policy shows every policy"
	case pb.Reason_REASON_UNKNOWN_CLASS:
		hint = "profilenode timing shows every class"
	case pb.Reason_REASON_SUPERSEDED:
		hint = "its session is another than a moment ago: profilenode sessions shows it"
	case pb.Reason_REASON_BUSY, pb.Reason_REASON_UNCONFIRMED:
		hint = "try again; profilenode status shows how the nodes are"
	case pb.Reason_REASON_FAILED:
		hint = "the log of that node says more"
	}
	if hint == "" {
		return sentence
	}
	return &hintedError{sentence, hint}
}

// explainedError is a node's error, shown as its sentence alone.
type explainedError struct {
	sentence string
	err      error
}

func (a *explainedError) Error() string { return a.sentence }
func (a *explainedError) Unwrap() error { return a.err }

// describeOwner is an owner as people tell them apart.
func describeOwner(owner *pb.Owner) string {
	switch {
	case owner == nil:
		return ""
	case owner.GetName() == "":
		return fmt.Sprintf("incarnation %d", owner.GetIncarnation())
	case owner.GetWhere() == "":
		return owner.GetName()
	}
	return owner.GetName() + " (" + owner.GetWhere() + ")"
}
