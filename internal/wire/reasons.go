package wire

import (
	"strings"

	"google.golang.org/grpc/status"

	"github.com/profilenode/profilenode/api/profilev1"
)

// Fate is the known outcome of a request.
type Fate uint8

const (
	// MayHaveHappened is the zero value, since it is true when nothing is known.
	MayHaveHappened Fate = iota
	// CopyRefused says that this copy of the request did not happen. An earlier one may have, and a later one still may.
	CopyRefused
	// Refused says that the rules refused the request: under this number it did not happen.
	Refused
)

// Retry is where a request may be sent again, under the same number.
type Retry uint8

const (
	// Elsewhere means another node, or the same one once the others have been asked.
	Elsewhere Retry = iota
	// Here means the same node, after a pause.
	Here
	// Never means that no node will answer this request in another way.
	Never
)

// Meaning is a reason's meaning for the request that it answers.
type Meaning struct {
	Fate  Fate
	Retry Retry
}

// MeaningOf is the table of reasons. It is total over the reasons of the wire, by a test. A reason that this build does not
// know comes from a newer node: nothing is known of the request, and it goes on.
func MeaningOf(reason profilev1.Reason) Meaning {
	switch reason {
	case profilev1.Reason_REASON_FENCED, profilev1.Reason_REASON_REVISION_DIFFERS, profilev1.Reason_REASON_OWNED,
		profilev1.Reason_REASON_SERVER_GONE, profilev1.Reason_REASON_CLONED, profilev1.Reason_REASON_NAME_HELD,
		profilev1.Reason_REASON_INVALID, profilev1.Reason_REASON_TOO_LARGE, profilev1.Reason_REASON_QUEUE_FULL,
		profilev1.Reason_REASON_INBOX_FULL, profilev1.Reason_REASON_NO_MESSAGE, profilev1.Reason_REASON_DATA_DAMAGED,
		profilev1.Reason_REASON_UNKNOWN_POLICY, profilev1.Reason_REASON_NO_PROFILE, profilev1.Reason_REASON_NOT_WAITING,
		profilev1.Reason_REASON_GIVEN_UP, profilev1.Reason_REASON_SUPERSEDED, profilev1.Reason_REASON_UNSUPPORTED,
		profilev1.Reason_REASON_NOT_OWNED, profilev1.Reason_REASON_UNKNOWN_CLASS,
		profilev1.Reason_REASON_MESSAGES_WAIT:
		return Meaning{Refused, Never}
	case profilev1.Reason_REASON_BUSY, profilev1.Reason_REASON_UNCONFIRMED, profilev1.Reason_REASON_NO_SPACE,
		profilev1.Reason_REASON_ACKNOWLEDGE_FIRST, profilev1.Reason_REASON_PARTS_MISSING,
		profilev1.Reason_REASON_REGISTRATION_LIMITED:
		return Meaning{CopyRefused, Here}
	case profilev1.Reason_REASON_NOT_LEADER, profilev1.Reason_REASON_OTHER_CLUSTER,
		profilev1.Reason_REASON_OTHER_REGISTRATION, profilev1.Reason_REASON_UNKNOWN_FIELDS:
		return Meaning{CopyRefused, Elsewhere}
	case profilev1.Reason_REASON_UNAUTHORIZED, profilev1.Reason_REASON_ROLLED_BACK:
		return Meaning{CopyRefused, Never}
	case profilev1.Reason_REASON_FORGOTTEN:
		return Meaning{MayHaveHappened, Never}
	case profilev1.Reason_REASON_UNKNOWN:
		return Meaning{MayHaveHappened, Here}
	case profilev1.Reason_REASON_FAILED, profilev1.Reason_REASON_UNSPECIFIED:
		return Meaning{MayHaveHappened, Elsewhere}
	}
	return Meaning{MayHaveHappened, Elsewhere}
}

// RefusalIn is the refusal that a node gave, nil if the error is not one.
func RefusalIn(err error) *profilev1.Refusal {
	for _, detail := range status.Convert(err).Details() {
		if r, ok := detail.(*profilev1.Refusal); ok {
			return r
		}
	}
	return nil
}

// Code is a reason as people and programs read it: "REVISION_DIFFERS".
func Code(reason profilev1.Reason) string { return strings.TrimPrefix(reason.String(), "REASON_") }

// Copies keeps the outcomes of the copies of one request, all under one number, so that a refusal is taken for no more than
// it says.
type Copies struct{ unanswered bool }

// Lose notes that a copy may have left this process and was not answered.
func (c *Copies) Lose() { c.unanswered = true }

// Fate is the known outcome of the request so far, when no copy was answered by the rules.
func (c *Copies) Fate() Fate {
	if c.unanswered {
		return MayHaveHappened
	}
	return CopyRefused
}

// Refuse notes the refusal of a copy and returns the request's fate. A refusal by the rules that comes out of the log
// speaks for every copy, since the table of answers is consulted there first; any other speaks for its own copy alone.
func (c *Copies) Refuse(r *profilev1.Refusal) Fate {
	switch fate := MeaningOf(r.GetReason()).Fate; {
	case fate == MayHaveHappened:
		c.unanswered = true
	case fate == Refused && (r.GetIndex() != 0 || !c.unanswered):
		return Refused
	}
	return c.Fate()
}
