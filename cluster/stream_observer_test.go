package cluster_test

import (
	"crypto/sha256"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

func TestAKilledProcessIsProvenGone(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		x.port.close()
		at := time.Now()
		x.end()
		x.gone(lock.Proof, at, lock.DefaultDetector().RefusalGap, soon)
		for _, want := range []string{"name=owner", `where="rack 7"`, "ground=proof", "refused its ping port 2 times", "profiles=1", "silent="} {
			if !strings.Contains(x.log.String(), want) {
				t.Errorf("the log does not tell %q:\n%s", want, x.log)
			}
		}
	})
}

func TestAnotherIncarnationOnThePortProves(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		x.port.say(x.waiter.inc)
		at := time.Now()
		x.end()
		x.gone(lock.Proof, at, 0, 50*time.Millisecond)
		if !strings.Contains(x.log.String(), "answers on its ping port") {
			t.Errorf("the log does not tell who answered:\n%s", x.log)
		}
	})
}

// Whatever is no answer of another incarnation, on a port that does not refuse, proves nothing.
func TestStrangeAnswersConfirmNothing(t *testing.T) {
	for name, says := range map[string][]byte{"nothing": nil, "a stranger": []byte("HTTP/1.1 400 Bad Request\r\n"), "a part": []byte("profping")} {
		t.Run(name, func(t *testing.T) {
			onTakeover(t, "gs", func(x *takeover) {
				x.port.mu.Lock()
				x.port.says = says
				x.port.mu.Unlock()
				at := time.Now()
				x.end()
				x.gone(lock.Evidence, at, lock.DefaultTiming().Evidence-50*time.Millisecond, evidently)
			})
		})
	}
	t.Run("a process between two lives", func(t *testing.T) {
		onTakeover(t, "gs", func(x *takeover) {
			x.port.say(0)
			x.end()
			x.pass(4*time.Second, nil)
			x.lives("although its process lives")
		})
	})
}

// One refusal is what a port gives that is reloaded, or a firewall while its rules are.
func TestOneRefusalIsNotEnough(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		x.wall.set(refuseAll)
		x.end()
		time.Sleep(200 * time.Millisecond)
		x.wall.set(nil)
		x.pass(4*time.Second, nil)
		x.lives("after one refusal")
	})
}

// A refusal, then a ping that is lost, then a refusal: that is no host which refuses twice running.
func TestRefusalsMustBeRunning(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		var tries int
		x.wall.set(func(int, string) error {
			if tries++; tries%2 == 1 {
				return syscall.ECONNREFUSED
			}
			return errLost
		})
		at := time.Now()
		x.end()
		x.gone(lock.Evidence, at, 4*time.Second, evidently)
	})
}

// A stream that ended otherwise than by the peer's FIN or RST proves nothing, whatever the port says.
func TestAnEndFromThisSideProvesNothing(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		x.port.close()
		at := time.Now()
		x.n.NoteStreamEnd(x.stream, false)
		x.gone(lock.Silence, at, lock.DefaultTiming().Lease-50*time.Millisecond, 11*time.Second)
	})
}

func TestAnOpenStreamIsNeverProvenGone(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		x.port.close()
		x.pass(65*time.Second, func() { renew(x.t, x.n, x.owner) })
		x.lives("although its stream is open and it renews")
	})
}

// The port of another host than the stream's is not this process's: behind a NAT it is anybody's.
func TestThePortOfAnotherHostProvesNothing(t *testing.T) {
	onTakeover(t, "gs-behind", func(x *takeover) {
		if got := x.port.answers(); got != 0 {
			t.Errorf("a port on another host was tried %d times, want never", got)
		}
		x.port.close()
		at := time.Now()
		x.end()
		x.gone(lock.Evidence, at, 4*time.Second, evidently)
	})
	t.Run("after it was reached", func(t *testing.T) {
		onTakeover(t, "gs", func(x *takeover) {
			x.attend("gs-elsewhere")
			x.port.close()
			at := time.Now()
			x.end()
			x.gone(lock.Evidence, at, 4*time.Second, evidently)
		})
	})
}

// A leader that never reached the port, or not for a minute, may be behind a firewall that refuses.
func TestARefusalProvesNothingToWhomNeverReached(t *testing.T) {
	t.Run("never", func(t *testing.T) {
		onTakeover(t, "gs-other", func(x *takeover) {
			x.wall.set(refuseAll)
			nonce := sha256.Sum256([]byte("firewalled"))
			r := propose(x.t, x.n, fsm.NewCommand(nil, &fsm.Register{Name: "firewalled", Nonce: nonce[:16], Ping: "gs:6000"}))
			x.owner.inc = lock.Incarnation(r.Token)
			renew(x.t, x.n, x.owner)
			x.attend("gs")
			at := time.Now()
			x.end()
			x.pass(lock.DefaultTiming().Evidence-100*time.Millisecond, func() { x.lives(time.Since(at).String() + " after its stream ended") })
		})
	})
	t.Run("not for a minute", func(t *testing.T) {
		onTakeover(t, "gs", func(x *takeover) {
			x.wall.set(loseAll)
			x.pass(lock.DefaultDetector().ReachFor, func() { renew(x.t, x.n, x.owner) })
			x.wall.set(refuseAll)
			at := time.Now()
			x.end()
			x.gone(lock.Evidence, at, 4*time.Second, evidently)
		})
	})
	t.Run("just within a minute", func(t *testing.T) {
		onTakeover(t, "gs", func(x *takeover) {
			x.wall.set(loseAll)
			x.pass(lock.DefaultDetector().ReachFor-2*time.Second, func() { renew(x.t, x.n, x.owner) })
			x.wall.set(refuseAll)
			at := time.Now()
			x.end()
			x.gone(lock.Proof, at, 0, soon)
		})
	})
}

// The port is tried again and again while the stream is open, so that a death is proven at any time.
func TestAPortStaysReached(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		x.pass(5*time.Minute, func() { renew(x.t, x.n, x.owner) })
		if got := x.port.answers(); got < 12 || got > 20 {
			t.Errorf("the port was tried %d times in five minutes, want about every %v", got, lock.DefaultDetector().PingPeriod)
		}
		x.port.close()
		at := time.Now()
		x.end()
		x.gone(lock.Proof, at, 0, soon)
	})
}

// A firewall that resets streams and refuses pings, behind which the process goes on: its requests speak for it.
func TestRequestsInBetweenSpeakForTheLiving(t *testing.T) {
	for name, request := range map[string]func(x *takeover){
		"renewals": func(x *takeover) { renew(x.t, x.n, x.owner) },
		"a save":   func(x *takeover) { propose(x.t, x.n, x.owner.do(&fsm.Settle{})) },
		"a request that is on its way": func(x *takeover) {
			x.n.NoteRequest(x.owner.inc)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onTakeover(t, "gs", func(x *takeover) {
				x.wall.set(refuseAll)
				x.end()
				x.pass(3*time.Second, func() {
					request(x)
					x.lives("although its requests come")
				})
				at := time.Now()
				x.gone(lock.Proof, at, 150*time.Millisecond, 800*time.Millisecond)
			})
		})
	}
}

func TestAReopenedStreamEndsTheHunt(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		x.wall.set(refuseAll)
		older := x.stream
		x.end()
		time.Sleep(100 * time.Millisecond)
		x.attend("gs")
		x.n.NoteStreamEnd(older, true)
		x.pass(9*time.Second, nil)
		x.lives("although it opened another stream")
	})
}

// A second refusal that comes late counts as a first: the judge may have been held up, with requests unread.
func TestALateRefusalCountsAnew(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		var tries int
		x.wall.set(func(int, string) error {
			if tries++; tries == 2 {
				time.Sleep(600 * time.Millisecond)
			}
			return syscall.ECONNREFUSED
		})
		at := time.Now()
		x.end()
		x.gone(lock.Proof, at, 1100*time.Millisecond, 1300*time.Millisecond)
	})
}

// Gossip only advises: it needs silence too, and silence is counted from when this leader began.
func TestGossipNeedsSilence(t *testing.T) {
	timing := lock.DefaultTiming()
	onTakeover(t, "gs", func(x *takeover) {
		x.deadMu.Lock()
		x.dead[x.owner.inc] = true
		x.deadMu.Unlock()
		x.pass(20*time.Second, func() { renew(x.t, x.n, x.owner) })
		x.lives("although it renews")
		x.gone(lock.Evidence, time.Now(), timing.Evidence-2*lock.DefaultDetector().TickPeriod, evidently)
		if !strings.Contains(x.log.String(), "gossip") {
			t.Errorf("the log does not tell of gossip:\n%s", x.log)
		}
	})
}

// When a cut heals, the end of the old stream arrives first and the new stream a moment later.
func TestAHealedCutLeavesTimeToReopen(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		x.wall.set(loseAll)
		x.pass(9*time.Second, nil)
		x.wall.set(nil)
		x.end()
		x.pass(900*time.Millisecond, func() { x.lives("while it was about to open another stream") })
		renew(x.t, x.n, x.owner)
		x.attend("gs")
		x.pass(9*time.Second, nil)
		x.lives("although it opened another stream")
	})
}

// A host that is lost sends no FIN, and only silence ends it.
func TestALostHostIsSilent(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		x.wall.set(loseAll)
		x.gone(lock.Silence, time.Now(), lock.DefaultTiming().Lease-50*time.Millisecond, 11*time.Second)
	})
}

// What one leader saw is nothing to the next.
func TestANewLeaderHasReachedNobody(t *testing.T) {
	timing := lock.DefaultTiming()
	t.Run("and held no stream", func(t *testing.T) {
		onThree(t, func(x *takeover, deposed func() time.Time) {
			x.port.close()
			at := deposed()
			x.n.NoteStreamEnd(x.stream, true)
			x.gone(lock.Silence, at, timing.Lease, timing.Lease+2*time.Second)
		})
	})
	t.Run("behind a firewall that refuses", func(t *testing.T) {
		onThree(t, func(x *takeover, deposed func() time.Time) {
			deposed()
			x.wall.set(refuseAll)
			at := time.Now()
			renew(x.t, x.n, x.owner)
			x.attend("gs")
			x.end()
			x.gone(lock.Evidence, at, timing.Evidence, evidently)
		})
	})
	t.Run("until it reaches it itself", func(t *testing.T) {
		onThree(t, func(x *takeover, deposed func() time.Time) {
			deposed()
			renew(x.t, x.n, x.owner)
			x.n.AddStream(x.stream) // it came to this node, say, and outlived a change of lead
			time.Sleep(10 * time.Millisecond)
			x.port.close()
			at := time.Now()
			x.end()
			x.gone(lock.Proof, at, lock.DefaultDetector().RefusalGap, soon)
		})
	})
	t.Run("and gossip tells it nothing before it has listened itself", func(t *testing.T) {
		onThree(t, func(x *takeover, deposed func() time.Time) {
			x.pass(4*time.Second, nil)
			x.deadMu.Lock()
			x.dead[x.owner.inc] = true
			x.deadMu.Unlock()
			at := deposed()
			x.gone(lock.Evidence, at, timing.Evidence, evidently+2*time.Second)
		})
	})
}

// A newcomer needs no queue: right after the expiry the profile is his.
func TestANewcomerGetsTheProfileOfTheGone(t *testing.T) {
	onTakeover(t, "gs", func(x *takeover) {
		propose(x.t, x.n, x.owner.do(&fsm.StartSession{Store: "test", Key: "unwaited"}))
		x.port.close()
		at := time.Now()
		x.end()
		x.gone(lock.Proof, at, 0, soon)
		if r := propose(x.t, x.n, x.waiter.do(&fsm.StartSession{Store: "test", Key: "unwaited"})); r.Code != fsm.OK {
			t.Errorf("a session on a profile of the gone: code %d, want OK", r.Code)
		}
	})
}
