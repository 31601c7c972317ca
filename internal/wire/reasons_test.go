package wire_test

import (
	"testing"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// refusesOneCopy are the reasons by which a node refuses a copy without a word on the request.
var refusesOneCopy = map[profilev1.Reason]bool{
	profilev1.Reason_REASON_NOT_LEADER: true, profilev1.Reason_REASON_BUSY: true, profilev1.Reason_REASON_UNCONFIRMED: true,
	profilev1.Reason_REASON_NO_SPACE: true, profilev1.Reason_REASON_ACKNOWLEDGE_FIRST: true, profilev1.Reason_REASON_PARTS_MISSING: true,
	profilev1.Reason_REASON_OTHER_CLUSTER: true, profilev1.Reason_REASON_OTHER_REGISTRATION: true,
	profilev1.Reason_REASON_UNKNOWN_FIELDS: true, profilev1.Reason_REASON_ROLLED_BACK: true, profilev1.Reason_REASON_UNAUTHORIZED: true,
	profilev1.Reason_REASON_REGISTRATION_LIMITED: true,
}

var saysNothing = map[profilev1.Reason]bool{
	profilev1.Reason_REASON_UNSPECIFIED: true, profilev1.Reason_REASON_UNKNOWN: true, profilev1.Reason_REASON_FAILED: true,
	profilev1.Reason_REASON_FORGOTTEN: true,
}

// A reason that is added to the wire and not to the table would fall to the answer for unknown numbers, and be missed here.
func TestTheTableOfReasonsIsTotal(t *testing.T) {
	for number, name := range profilev1.Reason_name {
		reason := profilev1.Reason(number)
		want := wire.Refused
		switch {
		case refusesOneCopy[reason]:
			want = wire.CopyRefused
		case saysNothing[reason]:
			want = wire.MayHaveHappened
		}
		if got := wire.MeaningOf(reason); got.Fate != want {
			t.Errorf("%s: got fate %v, want %v", name, got.Fate, want)
		} else if got.Fate == wire.Refused && got.Retry != wire.Never {
			t.Errorf("%s: refused by the rules, and yet it is to be sent again", name)
		}
	}
}

// A newer node may have reasons that this build does not know.
func TestAnUnknownReasonMayHaveHappened(t *testing.T) {
	if got, want := wire.MeaningOf(9999), (wire.Meaning{Fate: wire.MayHaveHappened, Retry: wire.Elsewhere}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestARefusalSpeaksForNoMoreThanItSays(t *testing.T) {
	fenced := &profilev1.Refusal{Reason: profilev1.Reason_REASON_FENCED}
	fencedInLog := &profilev1.Refusal{Reason: profilev1.Reason_REASON_FENCED, Index: 7}
	full := &profilev1.Refusal{Reason: profilev1.Reason_REASON_NO_SPACE}
	otherInLog := &profilev1.Refusal{Reason: profilev1.Reason_REASON_OTHER_REGISTRATION, Index: 7}
	unknown := &profilev1.Refusal{Reason: profilev1.Reason_REASON_UNKNOWN}
	newer := &profilev1.Refusal{Reason: 9999, Index: 7}
	for _, test := range []struct {
		name     string
		lost     bool
		refusals []*profilev1.Refusal
		want     wire.Fate
	}{
		{"nothing was sent", false, nil, wire.CopyRefused},
		{"a copy is unanswered", true, nil, wire.MayHaveHappened},
		{"refused by the rules", false, []*profilev1.Refusal{fenced}, wire.Refused},
		{"refused beside the log after a lost copy", true, []*profilev1.Refusal{fenced}, wire.MayHaveHappened},
		{"refused out of the log after a lost copy", true, []*profilev1.Refusal{fencedInLog}, wire.Refused},
		{"one copy refused", false, []*profilev1.Refusal{full}, wire.CopyRefused},
		{"one copy refused after a lost one", true, []*profilev1.Refusal{full}, wire.MayHaveHappened},
		{"one copy refused out of the log after a lost one", true, []*profilev1.Refusal{otherInLog}, wire.MayHaveHappened},
		{"unknown, then one copy refused", false, []*profilev1.Refusal{unknown, full}, wire.MayHaveHappened},
		{"a reason of a newer node, then one copy refused", false, []*profilev1.Refusal{newer, full}, wire.MayHaveHappened},
		{"unknown, then refused out of the log", false, []*profilev1.Refusal{unknown, fencedInLog}, wire.Refused},
	} {
		var copies wire.Copies
		if test.lost {
			copies.Lose()
		}
		got := copies.Fate()
		for _, refusal := range test.refusals {
			got = copies.Refuse(refusal)
		}
		if got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}
