package wire

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
)

const (
	pauseBase = 20 * time.Millisecond
	pauseMost = 500 * time.Millisecond

	pauseAsked = 10 * time.Second // up to which a pause that a node asked for is doubled
	hopsFree   = 3                // redirections that are followed at once; two nodes may each name the other
)

// Pace spaces the copies of one request.
type Pace struct{ hops, fails int }

// Reset makes the next pause as short as the first.
func (p *Pace) Reset() { p.fails = 0 }

// WaitForRetry returns when the next copy may go out, and false if ctx ends or the request is overtaken first. The refusal
// is that of the copy before, nil if it was not answered. A nil overtaken never closes.
func (p *Pace) WaitForRetry(ctx context.Context, overtaken <-chan struct{}, refusal *profilev1.Refusal) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case <-overtaken:
		return false
	default:
	}
	if refusal.GetReason() == profilev1.Reason_REASON_NOT_LEADER && refusal.GetLeader() != "" && p.hops < hopsFree {
		p.hops++
		return true
	}
	p.hops = 0
	pause := min(pauseBase<<min(p.fails, 10), pauseMost)
	least := pause / 2
	if after := time.Duration(refusal.GetRetryAfterMs()) * time.Millisecond; after > 0 { // many others were told the same
		pause = min(after<<min(p.fails, 3), max(after, pauseAsked))
		least = pause
		pause *= 2
	}
	p.fails++
	timer := time.NewTimer(least + rand.N(pause-least+1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-overtaken:
	case <-ctx.Done():
	}
	return false
}

// SleepUnlessDone waits, and returns false if ctx ends first.
func SleepUnlessDone(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
