package client

import (
	"errors"
	"fmt"
	"strings"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// Every error of this package is one of these nine, found with errors.Is. Details, where there are any, are in an
// *Error, found with errors.As.
var (
	// ErrOwned: it did not happen, since another game server owns the profile, or since a living one has this name.
	// Error.Owner holds its name and Config.Where. Send the player there, or start the session with IfOwnedWait.
	ErrOwned = errors.New("owned by another game server")

	// ErrAlreadyOpen: it did not happen, since this client itself has a session of the profile, or is starting one. It
	// happens when a player joins twice, or rejoins before the end of the last session: use the existing session, or end it
	// first.
	ErrAlreadyOpen = errors.New("this game server already has a session of it")

	// ErrSessionOver: the session has ended, and nothing was changed. Stop playing on this profile; a new StartSession loads
	// the data that the store holds now. Profile.Err says why it ended.
	ErrSessionOver = errors.New("the session is over")

	// ErrConflict: it did not happen, since the profile is not in the state that the request expects: it has another
	// revision, or does not exist. Get it, decide again, and ask again.
	ErrConflict = errors.New("the profile is not as expected")

	// ErrInvalid: it did not happen and never will as it was asked: malformed, too large, or not allowed. It is a
	// mistake in the program or its configuration; the sentence says which.
	ErrInvalid = errors.New("not a valid request")

	// ErrUnavailable: it did not happen, since no node could do it in time. Try again later; if it lasts, page an operator.
	ErrUnavailable = errors.New("no node could do it in time")

	// ErrFull: it did not happen, since too many messages or game servers wait for the profile already. Error.Limit says
	// how many may. Try again once its owner has handled some.
	ErrFull = errors.New("too many wait already")

	// ErrUnknown: it may have happened, or may happen yet: do not tell the player either. A Get does not tell, since a copy
	// that is still on its way may land after it. Client.Outcome settles it and returns its fate. Doing it again without
	// asking is right only if twice is as good as once.
	ErrUnknown = errors.New("it may or may not have happened")

	// ErrClosed: it did not happen, since this client is closed.
	ErrClosed = errors.New("the client is closed")
)

// Ref names a profile.
type Ref struct{ Store, Key string }

func (r Ref) String() string {
	if r.Key == "" {
		return r.Store
	}
	return r.Store + "/" + r.Key
}

// Owner is a game server that owns a profile; in End.By also the tool of an operator, which owns none.
type Owner struct {
	Incarnation uint64
	Name        string // as it registered
	Where       string // free text of that game server, e.g. an address to send players to
	InForce     bool   // false: the owner is gone, and the next game server that asks gets the profile
}

func ownerOf(o *profilev1.Owner) *Owner {
	if o == nil || o.Incarnation == 0 {
		return nil
	}
	return &Owner{Incarnation: o.Incarnation, Name: o.Name, Where: o.Where, InForce: o.InForce}
}

// Error describes a request that did not happen, or may not have: its act, its profile, and the cause.
type Error struct {
	Act      string // the act that was tried: "save", "start session", ...
	Ref      Ref    // the profile; zero if it was not about one
	Kind     error  // one of this package's nine errors
	Code     Code   // the exact cause; empty if there is nothing to add
	Sentence string // for people
	Owner    *Owner // with ErrOwned, if known; with ErrSessionOver, as End.By
	Revision uint64 // with ErrConflict: the profile's current revision
	Limit    uint64 // with ErrFull, and with CodeTooLarge
	Cause    error  // e.g. the context's error; nil if there is none
	// Nodes holds, with ErrUnavailable and ErrUnknown, the last answer of each node that did not carry out the request.
	Nodes []NodeAnswer

	reason profilev1.Reason
	end    EndReason // with ErrSessionOver, if it is known
	// pending is the outcome that Client.Outcome waits for, with ErrUnknown.
	pending *pendingOutcome
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Act)
	if e.Ref != (Ref{}) {
		b.WriteString(" " + e.Ref.String())
	}
	b.WriteString(": " + e.Kind.Error())
	if e.Sentence != "" && e.Sentence != e.Kind.Error() {
		b.WriteString(": " + e.Sentence)
	}
	if len(e.Nodes) > 0 {
		b.WriteString(": " + listAnswers(e.Nodes))
	}
	if e.Cause != nil {
		b.WriteString(": " + e.Cause.Error())
	}
	return b.String()
}

// Unwrap gives errors.Is the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// requestFate is the fate of a request that was given up, once its number is settled.
type requestFate uint8

const (
	fateUnclear requestFate = iota // it will never be known
	refused                        // it did not happen and never will
	happened
)

// errorForReason returns a reason's error for the game. It is total over the reasons of the wire, by a test; package wire
// states whether a reason means that the request did not happen.
func errorForReason(reason profilev1.Reason) error {
	switch reason {
	case profilev1.Reason_REASON_OWNED, profilev1.Reason_REASON_NAME_HELD:
		return ErrOwned
	case profilev1.Reason_REASON_FENCED, profilev1.Reason_REASON_SERVER_GONE, profilev1.Reason_REASON_CLONED,
		profilev1.Reason_REASON_ROLLED_BACK:
		return ErrSessionOver
	case profilev1.Reason_REASON_REVISION_DIFFERS, profilev1.Reason_REASON_NO_MESSAGE, profilev1.Reason_REASON_NO_PROFILE,
		profilev1.Reason_REASON_NOT_WAITING, profilev1.Reason_REASON_SUPERSEDED, profilev1.Reason_REASON_NOT_OWNED,
		profilev1.Reason_REASON_MESSAGES_WAIT:
		return ErrConflict
	case profilev1.Reason_REASON_INVALID, profilev1.Reason_REASON_TOO_LARGE, profilev1.Reason_REASON_OTHER_CLUSTER,
		profilev1.Reason_REASON_UNKNOWN_POLICY, profilev1.Reason_REASON_UNKNOWN_CLASS, profilev1.Reason_REASON_UNAUTHORIZED:
		return ErrInvalid
	case profilev1.Reason_REASON_QUEUE_FULL, profilev1.Reason_REASON_INBOX_FULL:
		return ErrFull
	case profilev1.Reason_REASON_DATA_DAMAGED, profilev1.Reason_REASON_GIVEN_UP, profilev1.Reason_REASON_UNSUPPORTED, profilev1.Reason_REASON_NOT_LEADER,
		profilev1.Reason_REASON_BUSY, profilev1.Reason_REASON_UNCONFIRMED, profilev1.Reason_REASON_ACKNOWLEDGE_FIRST,
		profilev1.Reason_REASON_PARTS_MISSING, profilev1.Reason_REASON_NO_SPACE, profilev1.Reason_REASON_OTHER_REGISTRATION, profilev1.Reason_REASON_REGISTRATION_LIMITED,
		profilev1.Reason_REASON_UNKNOWN_FIELDS:
		return ErrUnavailable
	case profilev1.Reason_REASON_FORGOTTEN, profilev1.Reason_REASON_UNKNOWN, profilev1.Reason_REASON_FAILED,
		profilev1.Reason_REASON_UNSPECIFIED:
		return ErrUnknown
	}
	return ErrUnknown
}

// refusalError is a refusal as a game sees it.
func refusalError(act string, ref Ref, r *profilev1.Refusal, sentence string) *Error {
	kind := errorForReason(r.Reason)
	e := &Error{
		Act: act, Ref: ref, Kind: kind, reason: r.Reason,
		Code:     Code(wire.Code(r.Reason)),
		Sentence: sentence,
		Owner:    ownerOf(r.Owner),
		Revision: r.Revision,
		Limit:    r.Limit,
		end:      endReasonOf(r.Cause),
	}
	if e.Owner != nil && kind == ErrOwned {
		e.Sentence = "by " + e.Owner.Name
		if e.Owner.Where != "" {
			e.Sentence += " at " + e.Owner.Where
		}
		if r.Reason == profilev1.Reason_REASON_NAME_HELD {
			e.Sentence = fmt.Sprintf("the name %q is held by a game server that lives; names must be unique", e.Owner.Name)
		}
	}
	return e
}

// reasonOf is the reason of a refusal, or unspecified.
func reasonOf(err error) profilev1.Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.reason
	}
	return profilev1.Reason_REASON_UNSPECIFIED
}

func overError(act string, ref Ref, why error) error {
	e := &Error{Act: act, Ref: ref, Kind: ErrSessionOver}
	if why != nil && why != ErrSessionOver {
		e.Cause = why
	}
	return e
}
