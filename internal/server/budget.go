package server

import (
	"context"
	"errors"
	"math"
	"sync"
)

// errFull refuses at once: too many bytes wait already.
var errFull = errors.New("too many bytes are in flight")

// budget bounds the bytes that are worked on at once. Whoever finds it used up waits in line; once as many bytes wait
// as may, newcomers are refused, so that memory is bounded too.
type budget struct {
	mu      sync.Mutex
	total   int64
	free    int64
	waiting int64
	most    int64 // that may wait
	line    []*place
}

type place struct {
	need  int64
	ready chan struct{} // closed once the bytes are taken
}

// newBudget lets as many bytes wait as may be worked on.
func newBudget(total int64) *budget { return &budget{total: total, free: total, most: total} }

// newShare lets any number wait: those who do hold nothing, and are bounded otherwise.
func newShare(total int64) *budget { return &budget{total: total, free: total, most: math.MaxInt64} }

// take takes n bytes, or all there are if that is less, and says how many: to be given back.
func (b *budget) take(ctx context.Context, n int64) (taken int64, err error) {
	need := min(n, b.total)
	p, err := b.enter(need)
	if err != nil {
		return 0, err
	}
	select {
	case <-p.ready:
	case <-ctx.Done():
		if b.abandon(p) {
			return 0, errFull
		}
	}
	return need, nil
}

// try takes n bytes if they are there, and nobody waits for them.
func (b *budget) try(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.line) > 0 || n > b.free {
		return false
	}
	b.free -= n
	return true
}

func (b *budget) enter(need int64) (*place, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &place{need: need, ready: make(chan struct{})}
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

// abandon leaves the line; false: the bytes were given in the meantime.
func (b *budget) abandon(p *place) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, q := range b.line {
		if q == p {
			b.line = append(b.line[:i], b.line[i+1:]...)
			b.waiting -= p.need
			b.serve() // whoever was behind may fit
			return true
		}
	}
	return false
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	b.serve()
}

// serve gives to the line in order, as far as there is.
func (b *budget) serve() {
	for len(b.line) > 0 && b.line[0].need <= b.free {
		p := b.line[0]
		b.line = b.line[1:]
		b.free -= p.need
		b.waiting -= p.need
		close(p.ready)
	}
}
