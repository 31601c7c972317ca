package server

import (
	"context"
	"sync"

	"github.com/profilenode/profilenode/api/profilev1"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// gRPC takes whatever answers it is given, and keeps what their connection does not take off. So an answer's bytes count
// from before they are read until the connection has them or has ended, and one connection has no more than its share.

// room is what the answer to one call holds.
type room struct {
	total *budget
	conn  *witnessed // nil: it is not known, and has no share

	mu   sync.Mutex
	held []holding
}

type holding struct {
	of    *budget
	bytes int64
}

type roomKey struct{}

func (s *Server) withRoom(ctx context.Context) (context.Context, *room) {
	_, conn := cameFrom(ctx)
	r := &room{total: s.reads, conn: conn}
	return context.WithValue(ctx, roomKey{}, r), r
}

// readBytes makes room for reading so much for the answer to a call. On a gRPC server of somebody else's nothing counts.
func readBytes(ctx context.Context, n int) error {
	r, ok := ctx.Value(roomKey{}).(*room)
	if !ok {
		return nil
	}
	if r.conn != nil { // first: whoever waits for its own connection holds nothing of what is everybody's
		if err := r.hold(ctx, r.conn.share, int64(n)); err != nil {
			return err
		}
	}
	return r.hold(ctx, r.total, int64(n))
}

func (r *room) hold(ctx context.Context, of *budget, n int64) error {
	taken, err := of.take(ctx, n)
	if err != nil {
		return refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_BUSY}, "")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = append(r.held, holding{of, taken})
	return nil
}

// shrink gives back what was held above n bytes. With 0 it gives back everything.
func (r *room) shrink(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, h := range r.held {
		if h.bytes > n {
			h.of.give(h.bytes - n)
			r.held[i].bytes = n
		}
	}
}

func (r *room) leave() {
	r.shrink(0)
	if r.conn != nil {
		r.conn.forget(r)
	}
}

// carried is an answer on its way from the handler to gRPC's codec, which is all that gRPC tells of its way to the wire.
type carried struct {
	proto.Message
	room *room
}

// carry hands the room over to the answer, if it holds any and somebody is left to take it.
func (r *room) carry(answer any) any {
	message, ok := answer.(proto.Message)
	if !ok || r.empty() || r.conn != nil && !r.conn.keep(r) {
		r.leave()
		return answer
	}
	return carried{message, r}
}

func (r *room) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held) == 0
}

// codec is gRPC's own for protobuf, and knows carried answers.
type codec struct{ encoding.CodecV2 }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	answer, ok := v.(carried)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	size := proto.Size(answer.Message)
	if mem.IsBelowBufferPoolingThreshold(size) {
		answer.room.leave()
		return c.CodecV2.Marshal(answer.Message)
	}
	answer.room.shrink(int64(size))
	pool := onTheWire{mem.DefaultBufferPool(), answer.room}
	buffer := pool.Get(size)
	if _, err := (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend((*buffer)[:0], answer.Message); err != nil {
		pool.Put(buffer)
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(buffer, pool)}, nil
}

// onTheWire gets an answer's bytes back once they are written, or will not be.
type onTheWire struct {
	mem.BufferPool
	room *room
}

func (p onTheWire) Put(buffer *[]byte) {
	p.BufferPool.Put(buffer)
	p.room.leave()
}
