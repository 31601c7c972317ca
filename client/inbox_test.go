package client

import (
	"slices"
	"testing"

	"github.com/profilenode/profilenode/api/profilev1"
)

// However often and in whatever pieces messages arrive, each is taken over once.
func TestInboxTakesEachMessageOnce(t *testing.T) {
	var b inbox
	for _, ids := range [][]uint64{{1, 2}, {1, 2, 3}, {3}, {}, {2, 4}} {
		var page []*profilev1.Message
		for _, id := range ids {
			page = append(page, &profilev1.Message{Id: id})
		}
		b.addLoaded(page)
	}
	var got []uint64
	for _, l := range b.waiting {
		got = append(got, l.ID)
	}
	if want := []uint64{1, 2, 3, 4}; !slices.Equal(got, want) {
		t.Errorf("waiting: got %v, want %v", got, want)
	}
}
