package server

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// errFull refuses at once: too many bytes wait already.
var errFull = errors.New("too many bytes are in flight")

// byteBudget bounds the bytes that are worked on at once. Whoever finds it used up waits in line; once as many bytes wait
// as may, newcomers are refused, so that memory is bounded too.
type byteBudget struct {
	mu      sync.Mutex
	total   int64
	free    int64
	waiting int64
	most    int64 // that may wait
	line    []*budgetPlace
}

type budgetPlace struct {
	need  int64
	ready chan struct{} // closed once the bytes are taken
}

// newByteBudget lets as many bytes wait as may be worked on.
func newByteBudget(total int64) *byteBudget {
	return &byteBudget{total: total, free: total, most: total}
}

// newSharedBudget lets any number wait: waiting calls hold nothing, and are bounded otherwise.
func newSharedBudget(total int64) *byteBudget {
	return &byteBudget{total: total, free: total, most: math.MaxInt64}
}

// takeBytes takes n bytes, or all there are if that is less, and says how many: to be given back.
func (b *byteBudget) takeBytes(ctx context.Context, n int64) (taken int64, err error) {
	need := min(n, b.total)
	p, err := b.joinQueue(need)
	if err != nil {
		return 0, err
	}
	unreleased := time.NewTimer(collectAfter)
	defer unreleased.Stop()
	for {
		select {
		case <-p.ready:
			return need, nil
		case <-unreleased.C:
			collectDroppedAnswers()
		case <-ctx.Done():
			if b.leaveQueue(p) {
				return 0, errFull
			}
			return need, nil
		}
	}
}

const (
	collectAfter  = time.Second      // how long a call waits for bytes before memory is collected for it
	collectPeriod = 10 * time.Second // between two such collections
)

var lastCollected atomic.Int64 // Unix nanoseconds

// collectDroppedAnswers runs the garbage collector: bytes of answers that gRPC dropped are given back with their memory, and an
// idle process collects only every two minutes.
func collectDroppedAnswers() {
	now := time.Now().UnixNano()
	if last := lastCollected.Load(); now-last >= int64(collectPeriod) && lastCollected.CompareAndSwap(last, now) {
		go runtime.GC()
	}
}

// takeIfFree takes n bytes if they are free, and no call waits for them.
func (b *byteBudget) takeIfFree(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.line) > 0 || n > b.free {
		return false
	}
	b.free -= n
	return true
}

func (b *byteBudget) joinQueue(need int64) (*budgetPlace, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &budgetPlace{need: need, ready: make(chan struct{})}
	if len(b.line) == 0 && need <= b.free {
		b.free -= need
		close(p.ready)
		return p, nil
	}
	if need > b.most-b.waiting {
		return nil, errFull
	}
	b.waiting += need
	b.line = append(b.line, p)
	return p, nil
}

// leaveQueue leaves the line; false: the bytes were given in the meantime.
func (b *byteBudget) leaveQueue(p *budgetPlace) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, q := range b.line {
		if q == p {
			b.line = append(b.line[:i], b.line[i+1:]...)
			b.waiting -= p.need
			b.grantWaiting() // a call behind it may fit
			return true
		}
	}
	return false
}

func (b *byteBudget) giveBack(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	b.grantWaiting()
}

// grantWaiting gives to the line in order, as far as there is.
func (b *byteBudget) grantWaiting() {
	for len(b.line) > 0 && b.line[0].need <= b.free {
		p := b.line[0]
		b.line = b.line[1:]
		b.free -= p.need
		b.waiting -= p.need
		close(p.ready)
	}
}
