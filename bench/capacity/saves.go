package capacity

import (
	"context"
	"time"

	"github.com/profilenode/profilenode/bench/load"
	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
)

// compareCosts asks this cluster and the small one in turn, so that other work of the machine falls on both.
func (r *run) compareCosts(ctx context.Context) error {
	var few, large *load.Saves
	var err error
	if r.few != nil {
		if err := r.few.Start(ctx); err != nil {
			return err
		}
		if few, err = r.openLoad(ctx, r.few); err != nil {
			return err
		}
		r.report.OpenFew = few.Opened.Figures()
	}
	if large, err = r.openLoad(ctx, r.large); err != nil {
		return err
	}
	defer large.Close()
	r.report.OpenLarge = large.Opened.Figures()
	stop := watchMemory(r.large)
	for round := range r.rounds {
		for _, writers := range []int{1, 64} {
			r.waitUntilCalm(ctx, r.large)
			p := costPair{Writers: writers}
			if few != nil {
				if p.Few, err = r.measureCost(ctx, few, r.few, writers); err != nil {
					return err
				}
			}
			if p.Large, err = r.measureCost(ctx, large, r.large, writers); err != nil {
				return err
			}
			r.report.Pairs = append(r.report.Pairs, p)
			r.logProgress("round %d, %2d at once: %s; few profiles: %s", round+1, writers, p.Large, p.Few)
		}
	}
	r.report.Loaded = stop()
	if few == nil {
		return nil
	}
	few.Close() // it says goodbye, which it could not to nodes that are stopped
	return r.few.Stop(stopLimit)
}

// measureCost is one round of saves.
func (r *run) measureCost(ctx context.Context, l *load.Saves, c *testbed.Cluster, writers int) (costFigures, error) {
	before, err := c.Usages()
	if err != nil {
		return costFigures{}, err
	}
	took, err := l.SaveInLoop(ctx, writers, r.each)
	if err != nil {
		return costFigures{}, err
	}
	f := costFigures{Times: took.Figures()}
	f.Rate = float64(f.Times.N) / r.each.Seconds()
	var cpu time.Duration
	var written uint64
	for i, u := range usagesSince(c, before) {
		cpu += u.CPU - before[i].CPU
		written += u.Written - before[i].Written
	}
	saves := float64(max(f.Times.N, 1))
	f.CPUPerSave = toMicros(cpu) / saves
	f.WrittenPerByte = float64(written) / (saves * float64(r.bytes)) / float64(len(c.Nodes))
	return f, nil
}

// measureSnapshots watches a steady load, first while no snapshot is taken, then while many are.
func (r *run) measureSnapshots(ctx context.Context) (err error) {
	f := snapshotFigures{Rate: r.rate, Every: snapshotEvery}
	if f.Without, _, err = r.measureSteadySaves(ctx, "1024GiB"); err != nil {
		return err
	}
	if f.With, f.Taken, err = r.measureSteadySaves(ctx, snapshotEvery); err != nil {
		return err
	}
	r.report.Snapshots = f
	r.logProgress("%d snapshots under %.0f saves a second: %s; without: %s", f.Taken, f.Rate, formatFigures(f.With), formatFigures(f.Without))
	return nil
}

// measureSteadySaves restarts the nodes with a bound for snapshots and watches a steady load.
func (r *run) measureSteadySaves(ctx context.Context, every string) (f measure.Figures, snapshots int, err error) {
	if err := r.large.Stop(stopLimit); err != nil {
		return f, 0, err
	}
	if err := r.large.Start(ctx, "--snapshot-bytes="+every); err != nil {
		return f, 0, err
	}
	l, err := r.openLoad(ctx, r.large)
	if err != nil {
		return f, 0, err
	}
	defer l.Close()
	leader, err := r.large.FindLeader(ctx)
	if err != nil {
		return f, 0, err
	}
	r.waitUntilCalm(ctx, r.large)
	began := time.Now()
	took, err := l.SaveAtRate(ctx, r.rate, r.watch)
	if err != nil {
		return f, 0, err
	}
	return took.Figures(), len(leader.LogLines(testbed.SnapshotComplete, began)), nil
}
