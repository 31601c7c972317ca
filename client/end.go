package client

import (
	"errors"

	"github.com/profilenode/profilenode/api/profilev1"
)

// End says how a session ended.
type End struct {
	Ref    Ref
	Reason EndReason
	// By is by whom it ended, if that is known: after an operator's release, and after a forced Set or Remove, the tool or the
	// game server that did it; else the game server that has the profile now or is granted it next. It is nil if the game
	// ended the session and none waited.
	By *Owner
	// Unsaved: the last changes are not in the store, as far as this game server knows. A save that was under way may
	// still turn out to have stored them; OnAfterSave tells.
	Unsaved bool
	Err     error // as Profile.Err: nil if the session was ended with all data stored
}

// EndReason is why a session is over.
type EndReason uint8

const (
	EndUnknown      EndReason = iota // the cluster ended it, and did not say why
	EndEnded                         // the game ended it, by EndSession
	EndHandedOff                     // another game server waited for the profile, and has it now
	EndShutDown                      // the client was closed
	EndStolen                        // another game server took the profile by force
	EndOverwritten                   // the profile was overwritten by a forced Set, or by an operator
	EndRemoved                       // the profile was removed
	EndPutOnHold                     // the profile was put on hold
	EndReleased                      // an operator released the profile
	EndLate                          // another game server waited, and the last save was not made within the hand-off time
	EndExpired                       // the cluster took this game server for gone, and the profile has another owner or data since
	EndOutOfReach                    // the cluster was out of reach for longer than Config.DoubtLimit
	EndPanicked                      // the game's own code panicked while it had the data
	EndOtherCluster                  // the cluster is another one now, or was restored
	EndRolledBack                    // the cluster has lost data that it had acknowledged
)

var endTexts = [...]string{
	EndUnknown:      "the cluster ended it",
	EndEnded:        "ended by the game",
	EndHandedOff:    "handed off to another game server",
	EndShutDown:     "the client was closed",
	EndStolen:       "taken by force by another game server",
	EndOverwritten:  "the profile was overwritten by force",
	EndRemoved:      "the profile was removed",
	EndPutOnHold:    "the profile was put on hold",
	EndReleased:     "released by an operator",
	EndLate:         "asked to let go, and not saved in time",
	EndExpired:      "the cluster took this game server for gone",
	EndOutOfReach:   "the cluster was out of reach for longer than the limit for doubt",
	EndPanicked:     "the game's code panicked",
	EndOtherCluster: "the cluster is another one now",
	EndRolledBack:   "the cluster lost data that it had acknowledged",
}

func (r EndReason) String() string {
	if int(r) < len(endTexts) {
		return endTexts[r]
	}
	return endTexts[EndUnknown]
}

// endReasonOf returns the reason for a cause of the wire.
func endReasonOf(cause profilev1.Cause) EndReason {
	switch cause {
	case profilev1.Cause_CAUSE_ENDED:
		return EndEnded
	case profilev1.Cause_CAUSE_HANDED_OFF:
		return EndHandedOff
	case profilev1.Cause_CAUSE_SHUT_DOWN:
		return EndShutDown
	case profilev1.Cause_CAUSE_STOLEN:
		return EndStolen
	case profilev1.Cause_CAUSE_OVERWRITTEN:
		return EndOverwritten
	case profilev1.Cause_CAUSE_REMOVED:
		return EndRemoved
	case profilev1.Cause_CAUSE_PUT_ON_HOLD:
		return EndPutOnHold
	case profilev1.Cause_CAUSE_RELEASED_BY_OPERATOR:
		return EndReleased
	case profilev1.Cause_CAUSE_LATE:
		return EndLate
	case profilev1.Cause_CAUSE_EXPIRED:
		return EndExpired
	case profilev1.Cause_CAUSE_OUT_OF_REACH:
		return EndOutOfReach
	case profilev1.Cause_CAUSE_PANICKED:
		return EndPanicked
	case profilev1.Cause_CAUSE_OTHER_CLUSTER:
		return EndOtherCluster
	case profilev1.Cause_CAUSE_ROLLED_BACK:
		return EndRolledBack
	}
	return EndUnknown
}

// causeOf returns the cause that a release or a last save states for the end of a session. The cluster knows all others by itself, and
// takes none of them from an owner.
func causeOf(reason EndReason) profilev1.Cause {
	switch reason {
	case EndEnded:
		return profilev1.Cause_CAUSE_ENDED
	case EndHandedOff, EndLate: // also a session that ended without its last save has let go
		return profilev1.Cause_CAUSE_HANDED_OFF
	case EndShutDown:
		return profilev1.Cause_CAUSE_SHUT_DOWN
	case EndOutOfReach:
		return profilev1.Cause_CAUSE_OUT_OF_REACH
	case EndPanicked:
		return profilev1.Cause_CAUSE_PANICKED
	}
	return profilev1.Cause_CAUSE_UNSPECIFIED
}

// endError is why a session of a profile is over. cause may be nil.
func endError(ref Ref, reason EndReason, by *Owner, cause error) *Error {
	return &Error{Act: "keep", Ref: ref, Kind: ErrSessionOver, Sentence: reason.String(), Owner: by, Cause: cause, end: reason}
}

// endedBy reads back from an error why a session is over: the game server that has the profile now comes along where a
// node named it.
func endedBy(why error) (reason EndReason, by *Owner) {
	for e := (*Error)(nil); errors.As(why, &e); why = e.Cause {
		if reason == EndUnknown {
			reason = e.end
		}
		if by == nil {
			by = e.Owner
		}
		if e.Cause == nil {
			break
		}
	}
	return reason, by
}

// endOfLastSave returns the reason for the end of a session once its last save is stored.
func endOfLastSave(reason LastSaveReason) EndReason {
	switch reason {
	case LastSaveExternal:
		return EndHandedOff
	case LastSaveOperator:
		return EndReleased
	case LastSaveShutdown:
		return EndShutDown
	}
	return EndEnded
}
