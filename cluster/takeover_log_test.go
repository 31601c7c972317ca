package cluster_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// tells fails the test unless the log has lines about the owner, in this order, each with its parts; and no line has a part
// of never.
func (x *takeover) tells(never string, want ...[]string) {
	x.t.Helper()
	left := want
	for _, line := range strings.Split(x.log.String(), "\n") {
		if !strings.Contains(line, `msg="game server `) {
			continue
		}
		if never != "" && strings.Contains(line, never) {
			x.t.Errorf("the log says\n%s", line)
		}
		if len(left) == 0 {
			continue
		}
		all := true
		for _, part := range append([]string{"name=owner", `where="rack 7"`, "incarnation="}, left[0]...) {
			all = all && strings.Contains(line, part)
		}
		if all {
			left = left[1:]
		}
	}
	if len(left) > 0 {
		x.t.Errorf("the log does not go on with %q:\n%s", left[0], x.log)
	}
}

func TestTheLogTellsATakeover(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		x.pass(2*time.Second, func() { renew(x.t, x.n, x.owner) })
		x.port.close()
		x.end()
		x.gone(lock.Proof, time.Now(), 0, soon)
		x.tells("refused, the expiry",
			[]string{"lost its stream, its host ended it", "peer=gs"},
			[]string{"has a ping port that refuses", "port=gs:"},
			[]string{"seems gone, its expiry is proposed", "ground=proof", "refused its ping port 2 times", "silent="},
			[]string{"is gone", "ground=proof", "refused its ping port 2 times", "silent=", "profiles=1"},
			[]string{"is taken over: its profiles went to their waiters", "ground=proof", "granted=1", "took=", `"since heard"=`},
		)
	})
}

// Silence of a lost host, of whom nobody knows more.
func TestTheLogTellsASilence(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		x.gone(lock.Silence, time.Now(), 0, 11*time.Second)
		x.tells("lost its stream",
			[]string{"seems gone, its expiry is proposed", "ground=silence", "it was not heard for a lease", "silent=10"},
			[]string{"is gone", "ground=silence"},
			[]string{"is taken over: its profiles went to their waiters", "granted=1", `"since heard"=10`},
		)
	})
}

// A game server whose command was on its way when it was judged lives, and the log says so.
func TestTheLogTellsARefusedExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var disk slowDisk
		x := &takeover{t: t, wall: &wall{}, log: &lines{}, dead: map[lock.Incarnation]bool{}}
		c := clustertest.Start(t, 1, func(i int, c *cluster.Config) {
			x.configure(i, c)
			c.FS = disk.over(vfs.NewMem())
		})
		c.Ready()
		x.begin(c, c.Nodes[c.Leader()], "gs")
		timing := lock.DefaultTiming()
		x.pass(timing.Lease-lock.DefaultDetector().TickPeriod, nil)
		disk.slow.Store(true)
		sent := make(chan error, 1)
		go func() {
			_, err := x.n.Propose(t.Context(), x.owner.do(&fsm.Send{Store: "test", Key: "other", Body: []byte("x")}))
			sent <- err
		}()
		time.Sleep(2 * lock.DefaultDetector().TickPeriod)
		disk.slow.Store(false)
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		renew(t, x.n, x.owner)
		x.lives("though its command came before the expiry")
		x.tells("is gone",
			[]string{"seems gone, its expiry is proposed", "ground=silence"},
			[]string{"keeps its sessions, its expiry was refused", "ground=silence", "a command of it was applied since its expiry was opened"},
		)
	})
}
