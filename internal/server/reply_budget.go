package server

import (
	"context"
	"runtime"
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
)

// gRPC takes whatever answers it is given, and keeps all that their connection has not taken yet. So an answer's bytes count
// from before they are read until the connection has them or has ended, and one connection has no more than its share.

// replyBudget is the bytes that the answer to one call holds.
type replyBudget struct {
	total *byteBudget
	conn  *peerConn // nil: it is not known, and has no share

	mu   sync.Mutex
	held []heldBytes
}

type heldBytes struct {
	of    *byteBudget
	bytes int64
}

type replyBudgetKey struct{}

func (s *Server) withReplyBudget(ctx context.Context) (context.Context, *replyBudget) {
	_, conn := peerOf(ctx)
	r := &replyBudget{total: s.reads, conn: conn}
	return context.WithValue(ctx, replyBudgetKey{}, r), r
}

// readBytes makes room for reading so much for the answer to a call. On another gRPC server nothing is counted.
func readBytes(ctx context.Context, n int) error {
	r, ok := ctx.Value(replyBudgetKey{}).(*replyBudget)
	if !ok {
		return nil
	}
	if r.conn != nil { // first: a call that waits for its own connection holds nothing of the shared budget
		if err := r.holdBytes(ctx, r.conn.share, int64(n)); err != nil {
			return err
		}
	}
	return r.holdBytes(ctx, r.total, int64(n))
}

func (r *replyBudget) holdBytes(ctx context.Context, of *byteBudget, n int64) error {
	taken, err := of.takeBytes(ctx, n)
	if err != nil {
		return refusalError(&profilev1.Refusal{Reason: profilev1.Reason_REASON_BUSY}, "")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = append(r.held, heldBytes{of, taken})
	return nil
}

// shrinkTo gives back the held bytes above n. With 0 it gives back everything.
func (r *replyBudget) shrinkTo(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, h := range r.held {
		if h.bytes > n {
			h.of.giveBack(h.bytes - n)
			r.held[i].bytes = n
		}
	}
}

func (r *replyBudget) releaseAll() {
	r.shrinkTo(0)
	if r.conn != nil {
		r.conn.forgetBudget(r)
	}
}

// budgetedReply is an answer on its way from the handler to gRPC's codec, which is all that gRPC tells of its way to the wire.
type budgetedReply struct {
	proto.Message
	room *replyBudget
}

// attachTo hands the room over to the answer, if it holds any and the connection can take it.
func (r *replyBudget) attachTo(answer any) any {
	message, ok := answer.(proto.Message)
	if !ok || r.isEmpty() || r.conn != nil && !r.conn.keepBudget(r) {
		r.releaseAll()
		return answer
	}
	return budgetedReply{message, r}
}

func (r *replyBudget) isEmpty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held) == 0
}

// budgetCodec is gRPC's own for protobuf, and knows carried answers.
type budgetCodec struct{ encoding.CodecV2 }

func (c budgetCodec) Marshal(v any) (mem.BufferSlice, error) {
	answer, ok := v.(budgetedReply)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	size := proto.Size(answer.Message)
	if mem.IsBelowBufferPoolingThreshold(size) {
		answer.room.releaseAll()
		return c.CodecV2.Marshal(answer.Message)
	}
	answer.room.shrinkTo(int64(size))
	pool := &budgetedBuffer{BufferPool: mem.DefaultBufferPool(), room: answer.room}
	buffer := pool.Get(size)
	// An answer that reaches gRPC's writer after its call was cancelled is dropped there without a Put. Its bytes are held until
	// the garbage collector finds the buffer.
	pool.dropped = runtime.AddCleanup(buffer, (*replyBudget).releaseAll, answer.room)
	if _, err := (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend((*buffer)[:0], answer.Message); err != nil {
		pool.Put(buffer)
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(buffer, pool)}, nil
}

// budgetedBuffer gets an answer's bytes back once they are written, or will not be.
type budgetedBuffer struct {
	mem.BufferPool
	room    *replyBudget
	dropped runtime.Cleanup // runs if Put is never called
}

func (p *budgetedBuffer) Put(buffer *[]byte) {
	p.dropped.Stop() // the buffer goes back to the pool, and its next answer is none of this budget's
	p.BufferPool.Put(buffer)
	p.room.releaseAll()
}
