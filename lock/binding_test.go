package lock_test

import (
	"bytes"
	"testing"

	"github.com/profilenode/profilenode/lock"
)

// A client in another language computes these by itself, or compares what it was given: the numbers are part of the wire.
func TestBindingStandsForClusterAndEpoch(t *testing.T) {
	cluster := bytes.Repeat([]byte{7}, 16)
	// printf '\7%.0s' {1..16} and eight bytes of the epoch, through sha256sum.
	if got, want := lock.Binding(cluster, 1), uint64(0x6b7ee88756f2bada); got != want {
		t.Errorf("the binding is %#x, want %#x", got, want)
	}
	seen := map[uint64]string{}
	for _, of := range []struct {
		what    string
		cluster []byte
		epoch   uint64
	}{
		{"a cluster", cluster, 1}, {"its next epoch", cluster, 2}, {"another cluster", bytes.Repeat([]byte{8}, 16), 1}, {"no cluster", nil, 0},
	} {
		binding := lock.Binding(of.cluster, of.epoch)
		if other, ok := seen[binding]; ok || binding == 0 {
			t.Errorf("%s has the binding %#x, as has %q", of.what, binding, other)
		}
		seen[binding] = of.what
	}
}

func TestRegistrationIsTheHeadOfTheNonce(t *testing.T) {
	nonce := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	if got := lock.Registration(nonce); got != 0x0102030405060708 {
		t.Errorf("the registration is %#x", got)
	}
	if got := lock.Registration(nonce[:7]); got != 0 {
		t.Errorf("a nonce of seven bytes has the registration %#x", got)
	}
}
