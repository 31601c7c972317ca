package client_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/internal/wire"
)

func TestEveryReasonHasItsError(t *testing.T) {
	kinds := []error{
		client.ErrOwned, client.ErrSessionOver, client.ErrConflict, client.ErrInvalid, client.ErrUnavailable, client.ErrUnknown,
		client.ErrFull,
	}
	for number, name := range profilev1.Reason_name {
		reason := profilev1.Reason(number)
		kind := client.KindOf(reason)
		if !slices.Contains(kinds, kind) {
			t.Errorf("%s: got error %v, which is none of this package's", name, kind)
		}
		// A default arm would hide a reason that is added later: all of those that say ErrUnknown mean it.
		meant := wire.MeaningOf(reason).Fate == wire.MayHaveHappened
		if errors.Is(kind, client.ErrUnknown) != meant {
			t.Errorf("%s: got ErrUnknown %v, want %v", name, !meant, meant)
		}
	}
	if kind := client.KindOf(9999); !errors.Is(kind, client.ErrUnknown) {
		t.Errorf("a reason of a newer node: got %v, want ErrUnknown", kind)
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
