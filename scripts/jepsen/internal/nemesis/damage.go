package nemesis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/bed"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/damage"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

const damaged = "files damaged"

func fileFaults() []Nemesis {
	return []Nemesis{
		{"flip-log", "flip a bit in a stopped follower's log", damaged, Needs{}, restBound, damageFile(damage.Log, damage.FlipBit)},
		{"flip-tables", "flip a bit in a stopped follower's tables", damaged, Needs{}, restBound, damageFile(damage.Tables, damage.FlipBit)},
		{"flip-snapshot", "flip a bit in a stopped follower's snapshot", damaged, Needs{}, restBound, damageFile(damage.Snapshot, damage.FlipBit)},
		{"flip-votes", "flip a bit in a stopped follower's votes", damaged, Needs{}, restBound, damageFile(damage.Votes, damage.FlipBit)},
		{"flip-manifest", "flip a bit in a list of a stopped follower's files", damaged, Needs{}, restBound, damageFile(damage.Manifest, damage.FlipBit)},
		{"flip-meta", "flip a bit in what a stopped follower says of itself", damaged, Needs{}, restBound, damageFile(damage.Meta, damage.FlipBit)},
		{"misdirect-tables", "write a chunk of a stopped follower's tables over another one", damaged, Needs{}, restBound, damageFile(damage.Tables, copyChunk)},
		{"misdirect-log", "write a chunk of a stopped follower's log over another one", damaged, Needs{}, restBound, damageFile(damage.Log, copyChunk)},
	}
}

func copyChunk(path string, seed uint64) (int64, error) { return damage.CopyChunk(path, path, seed) }

// damageFile stops a follower, damages one of its files of a kind, and starts it. A node that refuses to run, or ends later, is given
// an empty folder: it comes back under another id. The history says which it was.
func damageFile(kind damage.Kind, harm func(path string, seed uint64) (int64, error)) func(context.Context, *bed.Bed, time.Duration) error {
	return func(ctx context.Context, b *bed.Bed, length time.Duration) error {
		n := pickFollower(ctx, b)
		waitForFile(ctx, n.Folder, kind)
		if err := n.Stop(restBound); err != nil {
			return err
		}
		found, err := damage.Find(n.Folder)
		if err != nil {
			return err
		}
		outcome, err := damageOne(b, n, found[kind], harm)
		if err != nil {
			return err
		}
		n.AllowEnd(true)
		defer n.AllowEnd(false)
		if err := n.StartProcess(); err != nil {
			return err
		}
		measure.Sleep(ctx, length)
		became := "it runs on"
		if n.HasEnded() {
			became = "it refused: " + n.LastLine()
			b.CountEffect("nodes that refused damaged files", 1)
			if err := errors.Join(n.Kill(), os.RemoveAll(n.Folder), n.StartProcess()); err != nil {
				return err
			}
		}
		return b.Note(history.Event{Action: history.Fault, Name: "damage", Node: n.Name, Phase: "outcome", Detail: string(kind) + ": " + outcome + ": " + became})
	}
}

// waitForFile waits until a node has a file of a kind that is large enough for every damage, for some time: a young one may have none.
func waitForFile(ctx context.Context, folder string, kind damage.Kind) {
	const large, patience = 16 << 10, 30 * time.Second
	least := int64(large)
	if kind == damage.Meta || kind == damage.Manifest {
		least = 1
	}
	for until := time.Now().Add(patience); time.Now().Before(until) && ctx.Err() == nil; measure.Sleep(ctx, 200*time.Millisecond) {
		found, err := damage.Find(folder)
		if err != nil {
			continue // a file went away while it was looked at
		}
		for _, file := range found[kind] {
			if info, err := os.Stat(file); err == nil && info.Size() >= least {
				return
			}
		}
	}
}

// damageOne damages the first file, in an order by chance, that is large enough.
func damageOne(b *bed.Bed, n *bed.Node, files []string, harm func(path string, seed uint64) (int64, error)) (outcome string, err error) {
	for _, i := range b.Random.Perm(len(files)) {
		at, err := harm(files[i], b.Random.Uint64())
		if errors.Is(err, damage.ErrTooSmall) {
			continue
		}
		if err != nil {
			return "", err
		}
		b.CountEffect(damaged, 1)
		return fmt.Sprintf("%s at %d", files[i][len(n.Folder):], at), nil
	}
	return "no file was large enough", nil
}
