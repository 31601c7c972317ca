//go:build unix

package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
	"google.golang.org/grpc"
)

const (
	store   = "crash"
	perHand = 24 // profiles of one writer
	tryTime = 2 * time.Second
)

// writerGroup save numbered data without an end, each to profiles that nobody else touches, and keep count.
type writerGroup struct {
	cluster *nodeCluster
	all     []*writer
	cancel  context.CancelFunc
	running sync.WaitGroup

	gate    sync.RWMutex // held for writing while nobody may write
	failing chan error   // the first thing that must never be
	scarce  atomic.Bool  // saves may be refused for want of space
	large   atomic.Bool  // many are: what a node has set aside on a full disk is soon used
}

// writer is one tool: a request of it is sent, the same each time, until it is answered.
type writer struct {
	w      *writerGroup
	random *rand.Rand
	id     int

	incarnation, number uint64
	binding             uint64 // of the cluster and its epoch
	registration        uint64 // the head of the nonce
	leader              int    // index of the node that answered last

	mu       sync.Mutex
	profiles [perHand]keptProfile
	acked    int
	refused  bool // the save under way, for want of space
}

// keptProfile is what must be there of a profile: the acknowledged revision, or the one that is being saved.
type keptProfile struct {
	revision uint64
	hash     [32]byte
	next     [32]byte // of the save under way
	under    bool
}

func startWriters(ctx context.Context, c *nodeCluster, count int, seed uint64) *writerGroup {
	ctx, cancel := context.WithCancel(ctx)
	w := &writerGroup{cluster: c, cancel: cancel, failing: make(chan error, count)}
	for i := range count {
		h := &writer{w: w, id: i, random: rand.New(rand.NewPCG(seed, uint64(i+1)))}
		w.all = append(w.all, h)
		w.running.Go(func() {
			if err := h.writeUntilDone(ctx); err != nil && ctx.Err() == nil {
				w.failing <- fmt.Errorf("writer %d: %w", h.id, err)
			}
		})
	}
	return w
}

func (w *writerGroup) stopWriters() {
	w.cancel()
	w.running.Wait()
}

func (w *writerGroup) countAcknowledged() (sum int) {
	for _, h := range w.all {
		h.mu.Lock()
		sum += h.acked
		h.mu.Unlock()
	}
	return sum
}

// isSaving says that a save is under way.
func (w *writerGroup) isSaving() bool {
	for _, h := range w.all {
		h.mu.Lock()
		under := slices.ContainsFunc(h.profiles[:], func(p keptProfile) bool { return p.under })
		h.mu.Unlock()
		if under {
			return true
		}
	}
	return false
}

// areAllRefused says that each has a save under way that is refused for want of space.
func (w *writerGroup) areAllRefused() bool {
	for _, h := range w.all {
		h.mu.Lock()
		refused := h.refused
		h.mu.Unlock()
		if !refused {
			return false
		}
	}
	return true
}

func (h *writer) keyOf(i int) string { return fmt.Sprintf("w%d-%d", h.id, i) }

func (h *writer) writeUntilDone(ctx context.Context) error {
	for n := 0; ctx.Err() == nil; n++ {
		if h.incarnation == 0 {
			if err := h.registerTool(ctx); err != nil {
				return err
			}
		}
		if err := h.saveOnce(ctx, h.random.IntN(perHand)); err != nil {
			return err
		}
	}
	return nil
}

func (h *writer) saveOnce(ctx context.Context, i int) error {
	h.w.gate.RLock()
	defer h.w.gate.RUnlock()
	h.mu.Lock()
	p := h.profiles[i]
	h.mu.Unlock()
	data := h.makeData(i, p.revision+1)
	hash := sha256.Sum256(data)
	h.number++
	request := &pb.SetRequest{
		Request: &pb.Request{
			Incarnation: h.incarnation, Number: h.number, Settled: h.number - 1, Hash: max(binary.BigEndian.Uint64(hash[:]), 1),
			Binding: h.binding, Registration: h.registration,
		},
		Store: store, Key: h.keyOf(i), Expected: p.revision, Data: data, Hash: hash[:],
	}
	h.changeKept(i, func(p *keptProfile) { p.next, p.under = hash, true })
	var reply *pb.SetResponse
	err := h.askUntilAnswered(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		reply, err = pb.NewProfilesClient(conn).Set(ctx, request)
		return err
	})
	switch reason := reasonOf(err); {
	case err == nil:
		if got := reply.GetStands().GetRevision(); got != p.revision+1 {
			return fmt.Errorf("%s: the save of revision %d was answered with %d", h.keyOf(i), p.revision+1, got)
		}
		h.changeKept(i, func(p *keptProfile) {
			p.revision, p.hash, p.under = p.revision+1, hash, false
			h.acked++
			h.refused = false
		})
	case reason == pb.Reason_REASON_SERVER_GONE:
		// The lease ran out while nobody led. Now it never happens any more, but it may have happened.
		h.incarnation = 0
		return h.findOutcome(ctx, i)
	default:
		return fmt.Errorf("save %s at revision %d: %w", h.keyOf(i), p.revision, err)
	}
	return nil
}

// findOutcome settles a save whose writer is gone.
func (h *writer) findOutcome(ctx context.Context, i int) error {
	got, err := h.getProfile(ctx, h.keyOf(i))
	if err != nil {
		return err
	}
	if err := h.checkProfile(i, got); err != nil {
		return err
	}
	h.changeKept(i, func(p *keptProfile) {
		if got.GetRevision() == p.revision+1 {
			p.revision, p.hash = p.revision+1, p.next
		}
		p.under = false
	})
	return nil
}

func (h *writer) changeKept(i int, change func(p *keptProfile)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.profiles[i])
}

// checkProfile compares a profile with what must be there.
func (h *writer) checkProfile(i int, got *pb.Profile) error {
	h.mu.Lock()
	p := h.profiles[i]
	h.mu.Unlock()
	hash := sha256.Sum256(got.GetData())
	switch {
	case got.GetRevision() == p.revision && p.revision == 0:
		return nil
	case got.GetRevision() == p.revision && hash == p.hash:
		return nil
	case got.GetRevision() == p.revision+1 && p.under && hash == p.next:
		return nil
	}
	return fmt.Errorf("LOST: %s is at revision %d with %d bytes, hash %x; acknowledged was revision %d, hash %x (another under way: %v)",
		h.keyOf(i), got.GetRevision(), len(got.GetData()), hash[:4], p.revision, p.hash[:4], p.under)
}

// verifyAll reads everything back. Nobody may be writing.
func (w *writerGroup) verifyAll(ctx context.Context) error {
	for _, h := range w.all {
		for i := range perHand {
			got, err := h.getProfile(ctx, h.keyOf(i))
			if err == nil {
				err = h.checkProfile(i, got)
			}
			if err != nil {
				return fmt.Errorf("read back: %w", err)
			}
		}
	}
	return nil
}

// makeData is 100 bytes to 4 KB, now and then, or often, more than 1 MiB, which goes into the log in parts.
func (h *writer) makeData(i int, revision uint64) []byte {
	size := 100 + h.random.IntN(4<<10)
	rare := 60
	if h.w.large.Load() {
		rare = 4
	}
	if h.random.IntN(rare) == 0 {
		size = 1<<20 + h.random.IntN(1<<19)
	}
	head := fmt.Appendf(nil, "%s revision %d ", h.keyOf(i), revision)
	data := append(head, bytes.Repeat([]byte{byte(revision)}, size)...)
	var noise [32]byte
	_, _ = crand.Read(noise[:]) // never fails
	_, _ = rand.NewChaCha8(noise).Read(data[len(head):])
	return data
}

func (h *writer) registerTool(ctx context.Context) error {
	var nonce [16]byte
	_, _ = crand.Read(nonce[:]) // never fails
	request := &pb.RegisterRequest{Name: fmt.Sprintf("writer-%x", nonce[:6]), Kind: pb.ServerKind_SERVER_KIND_TOOL, Nonce: nonce[:]}
	var reply *pb.RegisterResponse
	if err := h.askUntilAnswered(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		reply, err = pb.NewProfilesClient(conn).Register(ctx, request)
		return err
	}); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	h.incarnation, h.number = reply.GetIncarnation(), 0
	h.binding, h.registration = reply.GetBinding(), binary.BigEndian.Uint64(nonce[:])
	return nil
}

func (h *writer) getProfile(ctx context.Context, key string) (*pb.Profile, error) {
	var reply *pb.GetResponse
	err := h.askUntilAnswered(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		reply, err = pb.NewProfilesClient(conn).Get(ctx, &pb.GetRequest{Store: store, Key: key})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	return reply.GetProfile(), nil
}

// findings are reasons that another caller would take for a matter of time. Here no node breaks or changes its cluster.
var findings = []pb.Reason{pb.Reason_REASON_FAILED, pb.Reason_REASON_OTHER_CLUSTER, pb.Reason_REASON_OTHER_REGISTRATION}

// askUntilAnswered goes from node to node until it is answered: with nil, or with a refusal that stands.
func (h *writer) askUntilAnswered(ctx context.Context, try func(context.Context, *grpc.ClientConn) error) error {
	for {
		limited, cancel := context.WithTimeout(ctx, tryTime)
		err := try(limited, h.w.cluster.nodes[h.leader].conn)
		cancel()
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		switch reason := reasonOf(err); {
		case reason == pb.Reason_REASON_NO_SPACE:
			if !h.w.scarce.Load() || !strings.Contains(err.Error(), wordsRefused) || !strings.Contains(err.Error(), "free space there") {
				return err
			}
			h.mu.Lock()
			h.refused = true
			h.mu.Unlock()
		case slices.Contains(findings, reason) || wire.MeaningOf(reason).Retry == wire.Never:
			return err
		}
		h.leader = (h.leader + 1) % nodes
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// reasonOf is the reason of a refusal; unspecified: the error is none.
func reasonOf(err error) pb.Reason { return wire.RefusalIn(err).GetReason() }
