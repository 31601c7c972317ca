package client_test

import (
	"errors"
	"testing"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
)

func TestEveryReasonHasItsError(t *testing.T) {
	kinds := []error{
		client.ErrOwned, client.ErrSessionOver, client.ErrConflict, client.ErrInvalid, client.ErrUnavailable, client.ErrUnknown,
	}
	unclear := map[profilev1.Reason]bool{
		profilev1.Reason_REASON_UNSPECIFIED: true, profilev1.Reason_REASON_UNKNOWN: true, profilev1.Reason_REASON_FAILED: true,
	}
	for number, name := range profilev1.Reason_name {
		reason := profilev1.Reason(number)
		final, onlyThisCopy, kind := client.Mirror(reason)
		known := false
		for _, k := range kinds {
			known = known || kind == k
		}
		if !known {
			t.Errorf("%s: got error %v, which is none of this package's", name, kind)
		}
		if got := !final && !onlyThisCopy; got != unclear[reason] {
			t.Errorf("%s: taken for unclear: got %v, want %v", name, got, unclear[reason])
		}
		// A default arm would hide a reason that is added later: all of these say ErrUnknown and mean it.
		if meant := unclear[reason] || reason == profilev1.Reason_REASON_FORGOTTEN; errors.Is(kind, client.ErrUnknown) != meant {
			t.Errorf("%s: got ErrUnknown %v, want %v", name, !meant, meant)
		}
	}
}

func TestErrorIsItsKindAndItsCause(t *testing.T) {
	cause := errors.New("cause")
	err := error(&client.Error{Act: "save", Ref: client.Ref{Store: "s", Key: "k"}, Kind: client.ErrUnknown, Cause: cause})
	if !errors.Is(err, client.ErrUnknown) || !errors.Is(err, cause) || errors.Is(err, client.ErrInvalid) {
		t.Errorf("errors.Is does not find kind and cause in %v", err)
	}
	if got, want := err.Error(), "save s/k: it may or may not have happened: cause"; got != want {
		t.Errorf("text: got %q, want %q", got, want)
	}
}
