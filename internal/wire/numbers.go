package wire

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/profilenode/profilenode/api/profilev1"
)

// window is how many numbers may be ahead of the settled mark. The log keeps room for 1,024 and refuses beyond; the
// rest of that room is for copies that are still on their way.
const window = 768

// Numbers hands out the request numbers of one incarnation. Every number at or below the mark is settled: its answer
// is known here, or it was never sent.
type Numbers struct {
	mu   sync.Mutex
	last uint64              // highest handed out
	mark uint64              // settled up to here
	done map[uint64]struct{} // settled above the mark
	room chan struct{}       // closed when the mark rises
}

// NewNumbers begins at 1.
func NewNumbers() *Numbers {
	return &Numbers{done: make(map[uint64]struct{}), room: make(chan struct{})}
}

// TakeNumber waits for room in the window. It returns false if ctx ends or overtaken is closed first.
func (n *Numbers) TakeNumber(ctx context.Context, overtaken <-chan struct{}) (uint64, bool) {
	for {
		n.mu.Lock()
		if n.last-n.mark < window {
			n.last++
			number := n.last
			n.mu.Unlock()
			return number, true
		}
		room := n.room
		n.mu.Unlock()
		select {
		case <-room:
		case <-overtaken:
			return 0, false
		case <-ctx.Done():
			return 0, false
		}
	}
}

// SettleNumber says that the fate of a number is known. No copy of it may be sent from here on.
func (n *Numbers) SettleNumber(number uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if number <= n.mark {
		return
	}
	n.done[number] = struct{}{}
	risen := false
	for {
		if _, ok := n.done[n.mark+1]; !ok {
			break
		}
		n.mark++
		delete(n.done, n.mark)
		risen = true
	}
	if risen {
		close(n.room)
		n.room = make(chan struct{})
	}
}

// CountUnsettled counts the numbers above the mark.
func (n *Numbers) CountUnsettled() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last - n.mark
}

// SettledMark is the number up to which all are settled.
func (n *Numbers) SettledMark() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mark
}

// HasRoom says whether TakeNumber would not wait now.
func (n *Numbers) HasRoom() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last-n.mark < window
}

// HashRequest is the hash by which a node tells a retry from another request under the same number. It covers the kind of
// the request and all of its fields but the request header; it is never 0. An error means that no copy of it could ever be
// sent.
func HashRequest(request proto.Message) (uint64, error) {
	h := sha256.New()
	h.Write([]byte(request.ProtoReflect().Descriptor().FullName()))
	h.Write([]byte{0})
	asks := request.ProtoReflect()
	if field := requestField(asks); asks.Has(field) {
		asks.Clear(field)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return 0, err
	}
	h.Write(data)
	if sum := binary.BigEndian.Uint64(h.Sum(nil)); sum != 0 {
		return sum, nil
	}
	return 1, nil
}

// SetRequestHeader writes the header, with the incarnation and the number, into a request.
func SetRequestHeader(request proto.Message, header *profilev1.Request) {
	m := request.ProtoReflect()
	m.Set(requestField(m), protoreflect.ValueOfMessage(header.ProtoReflect()))
}

func requestField(m protoreflect.Message) protoreflect.FieldDescriptor {
	return m.Descriptor().Fields().ByName("request")
}
