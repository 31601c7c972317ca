package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
)

// disks are nodes whose file systems outlive them, and can be exchanged.
type disks struct {
	*clustertest.Cluster
	t       *testing.T
	configs []cluster.Config
	fs      []*vfs.MemFS
}

func onDisks(t *testing.T, count int, change func(*cluster.Config)) *disks {
	d := &disks{t: t}
	d.Cluster = clustertest.Start(t, count, func(i int, config *cluster.Config) {
		d.fs = append(d.fs, vfs.NewCrashableMem())
		config.FS = d.fs[i]
		if change != nil {
			change(config)
		}
		d.configs = append(d.configs, *config)
	})
	d.Ready()
	return d
}

// reopen starts node i on what its disk holds, or on another disk.
func (d *disks) reopen(i int, fs *vfs.MemFS) {
	d.t.Helper()
	d.fs[i] = fs
	d.configs[i].FS = fs
	n, err := cluster.Open(d.t.Context(), d.configs[i])
	if err != nil {
		d.t.Fatal(err)
	}
	d.Nodes[i] = n
}

func (d *disks) close(n *cluster.Node) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		d.t.Errorf("close: %v", err)
	}
}

// orders are all of 0 to count-1.
func orders(count int) (all [][]int) {
	if count == 0 {
		return [][]int{nil}
	}
	for _, shorter := range orders(count - 1) {
		for at := range count {
			all = append(all, slices.Insert(slices.Clone(shorter), at, count-1))
		}
	}
	return all
}

// A save is acknowledged by two of three; one of the two loses its disk and is started with its old flags at its old
// address. Whatever else happens and in whatever order, nobody ever leads without the save.
func TestAWipedVoterElectsNobodyInAnyOrder(t *testing.T) {
	for _, order := range orders(4) {
		for _, gap := range []time.Duration{0, 2 * time.Second} {
			if slices.Index(order, 0) > slices.Index(order, 3) {
				continue // what still runs cannot be started
			}
			synctest.Test(t, func(t *testing.T) {
				d := onDisks(t, 3, nil)
				a := d.Leader()
				b, behind := (a+1)%3, (a+2)%3
				s := register(t, d.Nodes[a], "gs")
				d.Network.Isolate(clustertest.Name(behind), clustertest.Name(a), clustertest.Name(b))
				time.Sleep(6 * time.Second) // a call to the laggard lasts five; none is left whose bytes a healed link would bring it
				mustSet(t, d.Nodes[a], s, "k", "v")
				lost := d.Nodes[b].ID()
				acts := []struct {
					name string
					do   func()
				}{
					{"kill the leader", func() { d.Kill(a) }},
					{"wipe the other", func() { d.Kill(b); d.reopen(b, vfs.NewCrashableMem()) }},
					{"heal the laggard", d.Network.HealAll},
					{"start the leader again", func() { d.reopen(a, d.fs[a]) }},
				}
				var told []string
				for _, i := range order {
					acts[i].do()
					told = append(told, acts[i].name)
					for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
						d.holds("k", "v", fmt.Sprintf("%s, each %v after the other", strings.Join(told, ", "), gap))
						if time.Since(began) >= gap {
							break
						}
					}
				}
				d.Until("the new node to vote in the lost one's place", func() bool {
					d.holds("k", "v", strings.Join(told, ", "))
					ids := voters(d.Nodes[behind])
					return len(ids) == 3 && !slices.Contains(ids, lost) && slices.Contains(ids, d.Nodes[b].ID())
				})
				agree(t, d.Cluster)
			})
		}
	}
}

// holds fails the test if a node confirms that it leads and does not have the value.
func (d *disks) holds(key, want, after string) {
	d.t.Helper()
	for i, n := range d.Nodes {
		if n == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(d.t.Context(), time.Second)
		_, err := n.ConfirmLeadership(ctx)
		cancel()
		if err == nil && value(d.t, n, key) != want {
			d.t.Fatalf("node %d leads without an acknowledged save after: %s", i, after)
		}
	}
}

// What is copied while a node runs may not run beside it: one id would vote twice.
func TestACopyOfARunningNodesFolderIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := onDisks(t, 3, nil)
		leader := d.Leader()
		s := register(t, d.Nodes[leader], "gs")
		mustSet(t, d.Nodes[leader], s, "k", "v")
		copied := (leader + 1) % 3
		agree(t, d.Cluster)
		d.Until("its row", func() bool {
			return slices.ContainsFunc(d.Nodes[copied].Status().Members, func(m cluster.Member) bool {
				return m.ID == d.Nodes[copied].ID() && m.Client != ""
			})
		})
		if err := d.Nodes[copied].Snapshot(); err != nil { // the row is in the tables on disk
			t.Fatal(err)
		}
		synced := d.fs[copied].CrashClone(vfs.CrashCloneCfg{})
		host := d.Network.Host("n3")
		elsewhere := d.configs[copied]
		elsewhere.FS, elsewhere.Bind, elsewhere.Listen, elsewhere.Dial = synced, "n3:7401", host.Listen, host.Dial
		n, err := cluster.Open(t.Context(), elsewhere)
		if err == nil {
			d.close(n)
		}
		want := fmt.Sprintf("node %s runs at %s:7401 already", d.Nodes[copied].ID(), clustertest.Name(copied))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "remove this folder") {
			t.Errorf("a copy of a running node's folder: %v, want %q and what to do", err, want)
		}

		// The copy may run once the first has ended: so a node moves to another machine. Then the first may not come back.
		d.Kill(copied)
		moved, err := cluster.Open(t.Context(), elsewhere)
		if err != nil {
			t.Fatal(err)
		}
		defer d.close(moved)
		d.Until("the others to know where it is now", func() bool {
			return slices.ContainsFunc(d.Nodes[leader].Status().Members, func(m cluster.Member) bool {
				return m.ID == moved.ID() && m.Address == "n3:7401"
			})
		})
		d.reopen(copied, d.fs[copied])
		d.Until("the first to stop", func() bool { return d.Nodes[copied].Err() != nil })
		if err := d.Nodes[copied].Err(); !strings.Contains(err.Error(), "runs at n3:7401 already") {
			t.Errorf("the first stopped with %v", err)
		}
		d.close(d.Nodes[copied])
		d.Nodes[copied] = nil
		mustSet(t, d.Nodes[d.Leader()], s, "after", "w")
	})
}

func TestTwoClustersThatLearnOfEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := onDisks(t, 3, nil)
		leader := d.Leader()
		s := register(t, d.Nodes[leader], "gs")
		mustSet(t, d.Nodes[leader], s, "k", "v")

		stranger := d.Add([]string{"n3:7401"}, nil)
		<-d.Nodes[stranger].Ready()

		// A newcomer lists nodes of both: it joins neither.
		both := d.Add([]string{"n0:7401", "n3:7401", "n4:7401"}, nil)
		d.Until("the newcomer to complain", func() bool {
			s := d.Nodes[both].Status()
			return s.State == "waiting" && strings.Contains(alarmTexts(s), "the nodes at n0:7401 and n3:7401 are in different clusters: list the nodes of one")
		})

		// A node of the one is lost, and a node of the other has taken over its address.
		lost := (leader + 1) % 3
		d.Kill(lost)
		taken := d.configs[lost]
		taken.FS, taken.Nodes = vfs.NewCrashableMem(), []string{taken.Bind}
		other, err := cluster.Open(t.Context(), taken)
		if err != nil {
			t.Fatal(err)
		}
		defer d.close(other)
		<-other.Ready()
		want := fmt.Sprintf("at the listed address %s runs node %s of cluster %x", taken.Bind, other.ID(), other.Status().Cluster)
		d.Until("an alarm", func() bool { return strings.Contains(alarms(d.Nodes[leader]), want) })
		time.Sleep(10 * time.Second)
		on := d.Nodes[d.Leader(leader, (leader+2)%3)]
		mustSet(t, on, register(t, on, "another"), "after", "w")
		if got := value(t, other, "k"); got != "" {
			t.Errorf("the other cluster has %q of this one", got)
		}
		if got := len(other.Status().Members); got != 1 {
			t.Errorf("the other cluster counts %d members, want 1", got)
		}
	})
}

// A disk of one cluster under the flags of another: it says what is wrong, and takes part in neither.
func TestANodeOnAnotherClustersFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := onDisks(t, 3, nil)
		host := d.Network.Host("n3")
		alone := d.configs[0]
		alone.FS, alone.Bind, alone.Client, alone.Nodes = vfs.NewCrashableMem(), "n3:7401", "n3:7400", nil
		alone.Listen, alone.Dial = host.Listen, host.Dial
		n, err := cluster.Open(t.Context(), alone)
		if err != nil {
			t.Fatal(err)
		}
		<-n.Ready()
		d.close(n)

		alone.Nodes = []string{"n0:7401", "n1:7401", "n2:7401", "n3:7401"}
		if n, err = cluster.Open(t.Context(), alone); err != nil {
			t.Fatal(err)
		}
		defer d.close(n)
		d.Until("an alarm", func() bool {
			raised := alarms(n)
			return strings.Contains(raised, "at the listed address n0:7401 runs node "+d.Nodes[0].ID()) && strings.Contains(raised, "start each on its own data folder")
		})
		if got := len(voters(d.Nodes[0])); got != 3 {
			t.Errorf("the cluster counts %d voters, want its own 3", got)
		}
	})
}
