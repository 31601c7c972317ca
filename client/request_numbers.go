package client

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

// requestNumbers hands out the request numbers of one incarnation. Every number at or below the mark is settled: its answer
// is known here, or it was never sent.
type requestNumbers struct {
	mu   sync.Mutex
	last uint64              // highest handed out
	mark uint64              // settled up to here
	done map[uint64]struct{} // settled above the mark
	room chan struct{}       // closed when the mark rises
}

func newRequestNumbers() *requestNumbers {
	return &requestNumbers{done: make(map[uint64]struct{}), room: make(chan struct{})}
}

// takeNumber waits for room in the window, until ctx ends or overtaken is closed.
func (n *requestNumbers) takeNumber(ctx context.Context, overtaken <-chan struct{}) (uint64, error) {
	for {
		n.mu.Lock()
		if n.last-n.mark < window {
			n.last++
			number := n.last
			n.mu.Unlock()
			return number, nil
		}
		room := n.room
		n.mu.Unlock()
		select {
		case <-room:
		case <-overtaken:
			return 0, errOvertaken
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// settleNumber says that the fate of a number is known. No copy of it may be sent from here on.
func (n *requestNumbers) settleNumber(number uint64) {
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

// countUnsettled counts the numbers above the mark.
func (n *requestNumbers) countUnsettled() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last - n.mark
}

func (n *requestNumbers) settledMark() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mark
}

// hasRoom says whether take would not wait now.
func (n *requestNumbers) hasRoom() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last-n.mark < window
}

// hashRequest is the hash by which a node tells a retry from another request under the same number. It covers the kind of
// the request and all of its fields but the request header; it is never 0. An error means that no copy of it could ever be
// sent.
func hashRequest(request proto.Message) (uint64, error) {
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

// requestHeader names the asking incarnation and the request's number. It is the one place where a request is bound to its
// cluster and registration.
func (l *incarnation) requestHeader(number, hash uint64) *profilev1.Request {
	return &profilev1.Request{
		Incarnation: l.id, Number: number, Settled: l.numbers.settledMark(), Hash: hash,
		Binding: l.of.binding, Registration: l.registration,
	}
}

// bindRead writes into a read for which cluster it is meant.
func (c *Client) bindRead(read proto.Message) {
	m := read.ProtoReflect()
	m.Set(m.Descriptor().Fields().ByName("binding"), protoreflect.ValueOfUint64(c.cluster.Load().binding))
}

// setRequestHeader writes the header, with the incarnation and the number, into a request.
func setRequestHeader(request proto.Message, asks *profilev1.Request) {
	m := request.ProtoReflect()
	m.Set(requestField(m), protoreflect.ValueOfMessage(asks.ProtoReflect()))
}

func requestField(m protoreflect.Message) protoreflect.FieldDescriptor {
	return m.Descriptor().Fields().ByName("request")
}
