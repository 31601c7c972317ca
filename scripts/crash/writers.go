//go:build unix

package main

import (
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

const (
	store       = "crash"
	perWriter   = 24 // profiles of each writer
	smallest    = 100
	small       = 4 << 10 // bytes of most saves; larger ones go into the log in parts
	large       = 1 << 20
	largeBeyond = 1 << 19
)

// writerGroup is the workload: writers that save numbered data without an end, each to profiles of its own, and keep count.
type writerGroup struct {
	all     []*writer
	cancel  context.CancelFunc
	running sync.WaitGroup

	gate    sync.RWMutex // held for writing while no writer may save
	failing chan error   // the first result of each writer that must never come
	acked   atomic.Int64 // saves
	saving  atomic.Int64 // saves under way
	scarce  atomic.Bool  // saves may be refused for want of space
	large   atomic.Bool  // many saves are large: the space that a node has set aside on a full disk is soon used
}

// writer is one registered tool. Each of its requests is sent, the same each time, until it is answered.
type writer struct {
	group  *writerGroup
	random *rand.Rand
	id     int
	nodes  *wire.Nodes

	registration *wire.Registration // nil: none, or the cluster has ended it

	refused atomic.Bool // the save under way, for want of space

	mu       sync.Mutex
	profiles [perWriter]keptProfile
}

// keptProfile is the content that a profile must have: the acknowledged revision, or the one that is being saved.
type keptProfile struct {
	revision uint64
	hash     [32]byte
	next     [32]byte // of the save under way
	saving   bool
}

func startWriters(ctx context.Context, c *nodeCluster, count int, seed uint64) *writerGroup {
	ctx, cancel := context.WithCancel(ctx)
	g := &writerGroup{cancel: cancel, failing: make(chan error, count)}
	for i := range count {
		w := &writer{group: g, id: i, random: rand.New(rand.NewPCG(seed, uint64(i+1)))}
		w.nodes = wire.NewNodes(wire.NodesConfig{LinkConfig: wire.BoundLinks(), Seeds: c.clients, OnFailure: w.isFinding})
		g.all = append(g.all, w)
		g.running.Go(func() {
			defer w.nodes.Close()
			if err := w.writeUntilDone(ctx); err != nil && ctx.Err() == nil {
				g.failing <- fmt.Errorf("writer %d: %w", w.id, err)
			}
		})
	}
	return g
}

func (g *writerGroup) stopWriters() {
	g.cancel()
	g.running.Wait()
}

// areAllRefused says that each has a save under way that is refused for want of space.
func (g *writerGroup) areAllRefused() bool {
	return !slices.ContainsFunc(g.all, func(w *writer) bool { return !w.refused.Load() })
}

func (w *writer) keyOf(i int) string { return fmt.Sprintf("w%d-%d", w.id, i) }

func (w *writer) writeUntilDone(ctx context.Context) error {
	for ctx.Err() == nil {
		if w.registration == nil {
			if err := w.registerTool(ctx); err != nil {
				return err
			}
		}
		if err := w.saveOnce(ctx, w.random.IntN(perWriter)); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) saveOnce(ctx context.Context, i int) error {
	w.group.gate.RLock()
	defer w.group.gate.RUnlock()
	w.mu.Lock()
	p := w.profiles[i]
	w.mu.Unlock()
	data := w.makeData(i, p.revision+1)
	hash := sha256.Sum256(data)
	request := &pb.SetRequest{Store: store, Key: w.keyOf(i), Expected: p.revision, Data: data, Hash: hash[:]}
	w.changeKept(i, func(p *keptProfile) { p.next, p.saving = hash, true })
	w.group.saving.Add(1)
	defer w.group.saving.Add(-1)
	reply := &pb.SetResponse{}
	err := w.registration.Change(ctx, pb.Profiles_Set_FullMethodName, request, reply)
	switch {
	case err == nil:
		if got := reply.GetHeader().GetRevision(); got != p.revision+1 {
			return fmt.Errorf("%s: the save of revision %d was answered with %d", w.keyOf(i), p.revision+1, got)
		}
		w.changeKept(i, func(p *keptProfile) { p.revision, p.hash, p.saving = p.revision+1, hash, false })
		w.group.acked.Add(1)
		w.refused.Store(false)
	case wire.RefusalIn(err).GetReason() == pb.Reason_REASON_SERVER_GONE:
		// The lease ran out while no node led. The save will not happen any more, but it may have happened.
		w.registration = nil
		return w.findOutcome(ctx, i)
	default:
		return fmt.Errorf("save %s at revision %d: %w", w.keyOf(i), p.revision, err)
	}
	return nil
}

// findOutcome reads the outcome of a save whose incarnation has ended.
func (w *writer) findOutcome(ctx context.Context, i int) error {
	got, err := w.getProfile(ctx, w.keyOf(i))
	if err != nil {
		return err
	}
	if err := w.checkProfile(i, got); err != nil {
		return err
	}
	w.changeKept(i, func(p *keptProfile) {
		if got.GetRevision() == p.revision+1 {
			p.revision, p.hash = p.revision+1, p.next
		}
		p.saving = false
	})
	return nil
}

func (w *writer) changeKept(i int, change func(p *keptProfile)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.profiles[i])
}

// checkProfile compares a profile with the content that it must have.
func (w *writer) checkProfile(i int, got *pb.Profile) error {
	w.mu.Lock()
	p := w.profiles[i]
	w.mu.Unlock()
	hash := sha256.Sum256(got.GetData())
	switch {
	case got.GetRevision() == p.revision && p.revision == 0:
		return nil
	case got.GetRevision() == p.revision && hash == p.hash:
		return nil
	case got.GetRevision() == p.revision+1 && p.saving && hash == p.next:
		return nil
	}
	return fmt.Errorf("LOST: %s is at revision %d with %d bytes, hash %x; acknowledged was revision %d, hash %x (another under way: %v)",
		w.keyOf(i), got.GetRevision(), len(got.GetData()), hash[:4], p.revision, p.hash[:4], p.saving)
}

// verifyAll reads everything back. No writer may be saving.
func (g *writerGroup) verifyAll(ctx context.Context) error {
	for _, w := range g.all {
		for i := range perWriter {
			got, err := w.getProfile(ctx, w.keyOf(i))
			if err == nil {
				err = w.checkProfile(i, got)
			}
			if err != nil {
				return fmt.Errorf("read back: %w", err)
			}
		}
	}
	return nil
}

// makeData makes data of 100 bytes to 4 KiB, and now and then, or often, of more than 1 MiB.
func (w *writer) makeData(i int, revision uint64) []byte {
	size := smallest + w.random.IntN(small)
	rare := 60
	if w.group.large.Load() {
		rare = 4
	}
	if w.random.IntN(rare) == 0 {
		size = large + w.random.IntN(largeBeyond)
	}
	head := fmt.Appendf(nil, "%s revision %d ", w.keyOf(i), revision)
	data := make([]byte, len(head)+size)
	copy(data, head)
	var noise [32]byte
	_, _ = crand.Read(noise[:]) // never fails
	_, _ = rand.NewChaCha8(noise).Read(data[len(head):])
	return data
}

func (w *writer) registerTool(ctx context.Context) error {
	var suffix [6]byte
	_, _ = crand.Read(suffix[:]) // never fails
	request := &pb.RegisterRequest{Name: fmt.Sprintf("writer-%x", suffix), Kind: pb.ServerKind_SERVER_KIND_TOOL}
	registration, _, err := w.nodes.Register(ctx, request)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	w.registration = registration
	return nil
}

func (w *writer) getProfile(ctx context.Context, key string) (*pb.Profile, error) {
	reply := &pb.GetResponse{}
	if err := w.nodes.Call(ctx, pb.Profiles_Get_FullMethodName, &pb.GetRequest{Store: store, Key: key}, reply); err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	return reply.GetProfile(), nil
}

// findings are reasons that another caller would take for a matter of time. Here no node breaks or changes its cluster.
var findings = []pb.Reason{pb.Reason_REASON_FAILED, pb.Reason_REASON_OTHER_CLUSTER, pb.Reason_REASON_OTHER_REGISTRATION}

// isFinding says whether a copy was refused for a reason that must never come. It notes refusals for want of space.
func (w *writer) isFinding(_ context.Context, a wire.Attempt) bool {
	reason := a.Refusal.GetReason()
	if reason == pb.Reason_REASON_NO_SPACE && w.group.scarce.Load() {
		w.refused.Store(true)
		return false
	}
	return reason == pb.Reason_REASON_NO_SPACE || slices.Contains(findings, reason)
}
