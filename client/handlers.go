package client

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// handlerList is the game's handlers of one kind, in the order in which they were added. It has a lock of its own, so
// that a handler may be added and stopped from within any other.
type handlerList[F any] struct {
	mu    sync.Mutex
	added int
	list  []*handler[F]
}

type handler[F any] struct {
	place   int // the first one that was added has 1
	run     F
	stopped atomic.Bool
}

// addHandler adds a handler. stop keeps it from being called again; a call that is under way is not waited for.
func (l *handlerList[F]) addHandler(run F) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.added++
	h := &handler[F]{place: l.added, run: run}
	l.list = append(l.list, h)
	return func() {
		h.stopped.Store(true)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.list = slices.DeleteFunc(slices.Clone(l.list), func(other *handler[F]) bool { return other == h })
	}
}

// callEach calls with the handlers that were added after the given place, until call returns false, and without those that
// are stopped meanwhile. It returns the place that it got past: of the last one that was ever added, or of the one before
// that for which call returned false.
func (l *handlerList[F]) callEach(after int, call func(F) bool) (last int) {
	l.mu.Lock()
	list, last := slices.Clip(l.list), l.added
	l.mu.Unlock()
	for _, h := range list {
		if h.place > after && !h.stopped.Load() && !call(h.run) {
			return h.place - 1
		}
	}
	return last
}

func (l *handlerList[F]) isEmpty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.list) == 0
}

// handlerQueue runs functions one at a time, in the order in which they were given, and outside of every lock. Its goroutine
// lives only as long as there is something to run.
type handlerQueue struct {
	mu      sync.Mutex
	waiting []func()
	running bool
}

// enqueue runs f after everything that was pushed before. start runs a goroutine.
func (q *handlerQueue) enqueue(f func(), start func(func())) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, f)
	if !q.running {
		q.running = true
		start(q.runQueued)
	}
}

func (q *handlerQueue) runQueued() {
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.waiting, q.running = nil, false
			q.mu.Unlock()
			return
		}
		f := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		f()
	}
}

// runningHandlers counts goroutines that run the game's handlers. Unlike a WaitGroup it may be added to while it is waited
// for, since a handler may be added after Close too.
type runningHandlers struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n falls to 0; nil: it is 0
}

// startHandler runs f, which calls handlers, in a goroutine.
func (r *runningHandlers) startHandler(f func()) {
	r.mu.Lock()
	if r.n++; r.n == 1 {
		r.idle = make(chan struct{})
	}
	r.mu.Unlock()
	go func() {
		defer r.handlerDone()
		f()
	}()
}

func (r *runningHandlers) handlerDone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n--; r.n == 0 {
		close(r.idle)
		r.idle = nil
	}
}

// allReturned is closed when none of those runs that run now.
func (r *runningHandlers) allReturned() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.idle != nil {
		return r.idle
	}
	none := make(chan struct{})
	close(none)
	return none
}

// runHandler runs a handler of the game. calledFromHandler looks for its name on the stack.
//
//go:noinline
func runHandler(f func()) { f() }

// calledFromHandler says whether this goroutine runs a handler of the game. Only then may a Close not wait for the
// handlers: it would wait for itself.
func calledFromHandler() bool {
	var callers [256]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers[:])])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "/client.runHandler") {
			return true
		}
		if !more {
			return false
		}
	}
}

// startHandler runs a handler of the game outside of every lock, in a goroutine of its own.
func (g *gameHandlers) startHandler(f func()) { g.running.startHandler(f) }
