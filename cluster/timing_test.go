package cluster_test

import (
	"crypto/sha256"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// slowClass is for game servers that cannot live on three seconds.
var slowClass = fsm.TimingClass{Name: "slow", Timing: lock.Timing{
	Renew: 5 * time.Second, Doubt: 20 * time.Second, Evidence: 30 * time.Second, Lease: 40 * time.Second, HandOff: 60 * time.Second,
}}

func registerAs(t *testing.T, n *cluster.Node, name, class string) *server {
	t.Helper()
	nonce := sha256.Sum256([]byte(name))
	r := propose(t, n, fsm.NewCommand(nil, &fsm.Register{Name: name, Nonce: nonce[:16], TimingClass: class}))
	if r.Code != fsm.OK {
		t.Fatalf("register %s: code %d", name, r.Code)
	}
	return &server{inc: lock.Incarnation(r.Token), nonce: nonce[:16], revisions: map[string]uint64{}}
}

// An owner that registered with 20 s of doubt believes for so long. A class that an operator makes shorter afterwards must
// not end it sooner: neither by evidence, nor by a hand-off that ran out, nor by the lapse of what was revoked.
func TestAShortenedClassRobsNobodyWhoRegisteredBefore(t *testing.T) {
	tests := []struct {
		name string
		act  func(x *shortened)
		want time.Duration // until the heir owns the profile
	}{
		{"silent, and gossip says dead", func(x *shortened) { x.start(lock.Wait); x.dead.Store(uint64(x.owner.inc)) }, slowClass.Evidence},
		{"robbed, and mute", func(x *shortened) { x.start(lock.Steal) }, slowClass.Evidence},
		{"asked to let go, and mute", func(x *shortened) { x.start(lock.Wait) }, slowClass.HandOff + slowClass.Evidence},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := &shortened{t: t}
				c := clustertest.Start(t, 1, func(_ int, c *cluster.Config) {
					c.SeemsDead = func(inc lock.Incarnation) bool { return uint64(inc) == x.dead.Load() }
				})
				c.Ready()
				x.n = c.Nodes[0]
				tool := register(t, x.n, "tool")
				propose(t, x.n, tool.do(fsm.ClassOf(slowClass)))
				x.owner, x.heir = registerAs(t, x.n, "owner", "slow"), register(t, x.n, "heir")
				propose(t, x.n, x.owner.do(&fsm.StartSession{Store: "test", Key: "p"}))
				renew(t, x.n, x.owner, x.heir)
				propose(t, x.n, tool.do(fsm.ClassOf(fsm.TimingClass{Name: "slow", Timing: lock.DefaultTiming()})))
				began := time.Now()
				test.act(x)
				for owner(t, x.n, "p") != x.heir.inc {
					if x.dead.Load() == 0 {
						renew(t, x.n, x.owner)
					}
					renew(t, x.n, x.heir)
					time.Sleep(250 * time.Millisecond)
					if time.Since(began) > 5*time.Minute {
						t.Fatal("the heir never owns it")
					}
				}
				if took := time.Since(began); took < test.want || took > test.want+2*time.Second {
					t.Errorf("the heir owns it after %v, want after %v", took, test.want)
				}
			})
		})
	}
}

type shortened struct {
	t           *testing.T
	n           *cluster.Node
	owner, heir *server
	dead        atomic.Uint64 // the incarnation that is silent, and that gossip holds for dead
}

func (x *shortened) start(when lock.WhenOwned) {
	x.t.Helper()
	r := propose(x.t, x.n, x.heir.do(&fsm.StartSession{Store: "test", Key: "p", WhenOwned: uint32(when)}))
	if r.Code != fsm.Queued {
		x.t.Fatalf("the heir's session: code %d, want Queued", r.Code)
	}
}

// Every class counts with the longest tick that a node may have: one with a longer tick does not start, and says why.
func TestANodeWithALongerTickThanClassesCountWithDoesNotStart(t *testing.T) {
	config := cluster.DefaultConfig()
	config.Memory, config.Bind = true, "127.0.0.1:0"
	config.Detector.TickPeriod = lock.MaxTick + time.Millisecond
	_, err := cluster.Open(t.Context(), config)
	if err == nil || !strings.Contains(err.Error(), "tick 501ms must not be above 500ms") {
		t.Errorf("it starts, or says: %v", err)
	}
}
