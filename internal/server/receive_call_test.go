package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/server"
)

// raw connects a client that speaks HTTP/2 itself.
func (w *world) raw() *rawClient {
	w.t.Helper()
	conn, err := w.lis.DialContext(soon(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	return newRawClient(w.t.(*testing.T), conn)
}

// wantNothingHeld waits until calls hold no bytes.
func (w *world) wantNothingHeld() {
	w.t.Helper()
	for late := time.Now().Add(patience); w.server.ReceivedHeld() != 0; {
		if time.Now().After(late) {
			w.t.Fatalf("calls still hold %d bytes", w.server.ReceivedHeld())
		}
		w.get("anything")
	}
}

// Calls whose message never comes, in part or at all, are ended, and all that they held is given back. Others are served beside.
func TestCallsThatNeverFinishAreEnded(t *testing.T) {
	w, _ := fake(t, server.Limits{Receive: 300 * time.Millisecond})
	type call struct {
		of     *rawClient
		stream uint32
	}
	var calls []call
	for range 2 {
		c := w.raw()
		for i := range 64 {
			method := profilev1.Profiles_Send_FullMethodName
			if i%4 == 1 {
				method = profilev1.Profiles_Set_FullMethodName
			}
			stream := c.open(method)
			switch i % 4 {
			case 0:
				c.begin(stream, 200<<10, 20<<10, 0)
			case 1:
				c.begin(stream, 2<<20, 10<<10, 0)
			case 2:
				c.begin(stream, 0, 0, 0) // the message is here, and its end is not
			}
			calls = append(calls, call{c, stream})
		}
	}
	w.register("gs-1")
	for _, c := range calls {
		if said := c.of.awaitEnd(c.stream); !strings.HasPrefix(said, "4 ") { // DeadlineExceeded
			t.Errorf("a call that is too slow is told %q", said)
		}
	}
	w.wantNothingHeld()
}

// A method takes no message that it cannot need. The call is ended as soon as the size is known, before the message is here.
func TestMessagesAreLimitedByMethod(t *testing.T) {
	w, _ := fake(t, server.Limits{})
	c := w.raw()
	large := c.open(profilev1.Profiles_Send_FullMethodName)
	c.begin(large, 5<<20, 0, 0)
	if said := c.awaitEnd(large); !strings.Contains(said, "over its limit of 262144") {
		t.Errorf("a Send of 5 MiB is told %q", said)
	}
	padded := c.open(profilev1.Profiles_Send_FullMethodName)
	c.begin(padded, 5<<20, 100, 200)
	c.awaitEnd(padded)
	live := c.open(profilev1.Profiles_Live_FullMethodName)
	c.begin(live, 5<<20, 0, 0)
	c.awaitEnd(live)
	w.wantNothingHeld()
}

// Whoever announces nothing is counted all the same, by the size that the message states. All is given back with the connection.
func TestUnannouncedMessagesCount(t *testing.T) {
	w, _ := fake(t, server.Limits{Received: 5 << 20})
	c := w.raw()
	first := c.open(profilev1.Profiles_Set_FullMethodName)
	c.begin(first, 4<<20, 50<<10, 0)
	for late := time.Now().Add(patience); w.server.ReceivedHeld() < 4<<20; w.get("anything") {
		if time.Now().After(late) {
			t.Fatalf("%d bytes are counted for a message of 4 MiB", w.server.ReceivedHeld())
		}
	}
	second := c.open(profilev1.Profiles_Set_FullMethodName)
	c.begin(second, 4<<20, 50<<10, 0)
	if said := c.awaitEnd(second); !strings.Contains(said, "too many bytes") {
		t.Errorf("a Set that finds no room is told %q", said)
	}
	if _, ended, _ := c.hasEnded(first); ended {
		t.Error("the call that was counted has ended")
	}
	c.close()
	w.wantNothingHeld()
}

// A connection has at most 64 calls at once.
func TestAConnectionHasFewCalls(t *testing.T) {
	w, _ := fake(t, server.Limits{})
	c := w.raw()
	var last uint32
	for range 65 {
		last = c.open(profilev1.Profiles_Get_FullMethodName)
	}
	c.awaitEnd(last)
	if _, ended, _ := c.hasEnded(last - 2); ended {
		t.Error("the 64th call was refused too")
	}
}
