package lock_test

import (
	"math"
	"testing"

	"github.com/profilenode/profilenode/lock"
)

func TestPingFrame(t *testing.T) {
	for _, want := range []lock.Incarnation{0, 1, 7 << 16, math.MaxUint64} {
		frame := lock.PingFrame(want)
		if got, ok := lock.ReadPing(frame[:]); !ok || got != want {
			t.Errorf("incarnation %d is read back as %d, %v", want, got, ok)
		}
		for i := range len(frame) - 8 {
			other := frame
			other[i] ^= 1
			if got, ok := lock.ReadPing(other[:]); ok {
				t.Errorf("a frame with another byte %d is read as incarnation %d", i, got)
			}
		}
		for _, length := range []int{0, 8, len(frame) - 1} {
			if _, ok := lock.ReadPing(frame[:length]); ok {
				t.Errorf("the first %d bytes of a frame are read as one", length)
			}
		}
		if _, ok := lock.ReadPing(append(frame[:], 0)); ok {
			t.Error("a frame and a byte are read as a frame")
		}
	}
}
