package cluster_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
)

func TestAnOldLeaderConfirmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		old := c.Leader()
		others := []int{(old + 1) % 3, (old + 2) % 3}
		c.Network.Isolate(clustertest.Name(old), clustertest.Name(0), clustertest.Name(1), clustertest.Name(2))
		cut := time.Now()
		for time.Since(cut) < 3*time.Second {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			term, err := c.Nodes[old].ConfirmLeadership(ctx)
			cancel()
			if err == nil {
				t.Fatalf("a leader cut off from both others proved term %d, %v after the cut", term, time.Since(cut))
			}
			var elsewhere *cluster.NotLeaderError
			if !errors.Is(err, cluster.ErrUnconfirmed) && !errors.As(err, &elsewhere) {
				t.Fatalf("a leader that is cut off said %v, want ErrUnconfirmed or NotLeaderError", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		c.Leader(others...)
	})
}

// The answers of the followers to the old leader arrive late, so that some of them, made before the hand-over, are still
// on their way when another node leads. None of them may prove anything that began after it.
func TestAnswersOnTheirWayConfirmNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(_ int, config *cluster.Config) {
			config.Heartbeat, config.Election, config.LeaderLease = 2*time.Second, 2*time.Second, 2*time.Second
		}
		c := clustertest.Start(t, 3, slow)
		c.Ready()
		old := c.Leader()
		s := register(t, c.Nodes[old], "gs")
		for i := range 3 {
			if i != old {
				c.Network.Delay(clustertest.Name(i), clustertest.Name(old), 300*time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		go c.Nodes[old].Transfer(t.Context())
		next := another(c, old)
		mustSet(t, c.Nodes[next], s, "k", "written under the new leader")
		for range 200 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := c.Nodes[old].ConfirmLeadership(ctx)
			cancel()
			if err == nil && value(t, c.Nodes[old], "k") == "" {
				t.Fatal("the old leader confirmed its lead after the new one had acknowledged a write that it does not have")
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

// another is who takes itself for the leader besides the old one.
func another(c *clustertest.Cluster, old int) (next int) {
	next = -1
	c.Until("another leader", func() bool {
		for i, n := range c.Nodes {
			if _, self := n.Leader(); i != old && self {
				next = i
			}
		}
		return next >= 0
	})
	return next
}

// While raft's own connections to the old leader stand still, it does not know that another one leads; nonces reach
// everybody, and what they bring back is a later term.
func TestAnAnswerOfALaterTermConfirmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var deaf [3]atomic.Bool
		c := clustertest.Start(t, 3, func(i int, config *cluster.Config) { hardOfHearing(config, &deaf[i]) })
		c.Ready()
		old := c.Leader()
		s := register(t, c.Nodes[old], "gs")
		time.Sleep(time.Second)
		deaf[old].Store(true)
		handing := make(chan error, 1)
		go func() { handing <- c.Nodes[old].Transfer(t.Context()) }()
		next := c.Leader((old+1)%3, (old+2)%3)
		mustSet(t, c.Nodes[next], s, "k", "v")
		if _, self := c.Nodes[old].Leader(); !self || value(t, c.Nodes[old], "k") != "" {
			t.Fatal("the old leader knows already: the test shows nothing")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if _, err := c.Nodes[old].ConfirmLeadership(ctx); err == nil {
			t.Error("the old leader confirmed its lead by answers of a later term")
		}
		cancel()
		deaf[old].Store(false)
		<-handing
	})
}

// The lead ends in the midst of a proof: another node leads already when it begins, and this one learns so between any two
// of its steps, here while the nonces' answers are on the way.
func TestALeadThatEndsDuringARoundIsNotConfirmed(t *testing.T) {
	for pause := time.Duration(0); pause <= 500*time.Millisecond; pause += 50 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			var deaf [3]atomic.Bool
			c := clustertest.Start(t, 3, func(i int, config *cluster.Config) { hardOfHearing(config, &deaf[i]) })
			c.Ready()
			old := c.Leader()
			s := register(t, c.Nodes[old], "gs")
			time.Sleep(time.Second)
			deaf[old].Store(true)
			defer func() { // whoever stands still in reading goes on before the bubble ends
				deaf[old].Store(false)
				time.Sleep(10 * time.Millisecond)
			}()
			handing := make(chan error, 1)
			go func() { handing <- c.Nodes[old].Transfer(t.Context()) }()
			next := c.Leader((old+1)%3, (old+2)%3)
			mustSet(t, c.Nodes[next], s, "k", "v")
			for i := range 3 {
				if i != old {
					c.Network.Delay(clustertest.Name(i), clustertest.Name(old), 200*time.Millisecond)
				}
			}
			if _, self := c.Nodes[old].Leader(); !self {
				t.Fatal("the old leader knows already: the test shows nothing")
			}
			proving := make(chan error, 1)
			go func() {
				_, err := c.Nodes[old].ConfirmLeadership(t.Context())
				proving <- err
			}()
			time.Sleep(pause)
			deaf[old].Store(false)
			if err := <-proving; err == nil {
				t.Errorf("a node that learned of the new leader %v after the proof began confirmed that it leads", pause)
			}
			<-handing
		})
	}
}

// hardOfHearing lets raft's connections to a node stand still while it is deaf; nonces go through.
func hardOfHearing(config *cluster.Config, deaf *atomic.Bool) {
	config.Heartbeat, config.Election, config.LeaderLease = 2*time.Second, 2*time.Second, 2*time.Second
	listen, dial := config.Listen, config.Dial
	config.Listen = func(network, address string) (net.Listener, error) {
		l, err := listen(network, address)
		return deafListener{l, deaf}, err
	}
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &deafConn{Conn: conn, deaf: deaf}, nil
	}
}

// A proof that begins while a round is under way must not end with it: the round's answers may be older than the proof.
func TestARoundUnderWayConfirmsNothingForLaterRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, func(_ int, config *cluster.Config) {
			config.Heartbeat, config.Election, config.LeaderLease = 2*time.Second, 2*time.Second, 2*time.Second
		})
		c.Ready()
		old := c.Leader()
		s := register(t, c.Nodes[old], "gs")
		time.Sleep(time.Second)
		for i := range 3 {
			if i != old {
				c.Network.Delay(clustertest.Name(i), clustertest.Name(old), 400*time.Millisecond)
			}
		}
		// A round whose answers of the old term are on their way, for the whole of what follows.
		early := make(chan error, 1)
		go func() {
			time.Sleep(450 * time.Millisecond) // the round under way, if there is one, is over
			_, err := c.Nodes[old].ConfirmLeadership(t.Context())
			early <- err
		}()
		time.Sleep(500 * time.Millisecond)
		go c.Nodes[old].Transfer(t.Context())
		next := another(c, old)
		mustSet(t, c.Nodes[next], s, "k", "written under the new leader")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Nodes[old].ConfirmLeadership(ctx); err == nil && value(t, c.Nodes[old], "k") == "" {
			t.Error("a proof ended with a round that began before it, and before another node led")
		}
		if err := <-early; err != nil {
			t.Logf("the earlier proof, which may go either way: %v", err)
		}
	})
}

// deafConn stands still in reading while its owner is deaf, if raft's first frame opened it.
type deafConn struct {
	net.Conn
	deaf  *atomic.Bool
	head  []byte // of the first frame, either way
	inner bool   // the frame was read here
}

const kindAt = 5 // of the kind, in the first frame; 1 is raft

func (c *deafConn) note(p []byte) {
	if len(c.head) <= kindAt {
		c.head = append(c.head, p...)
	}
}

func (c *deafConn) Write(p []byte) (int, error) {
	if !c.inner {
		c.note(p)
	}
	return c.Conn.Write(p)
}

func (c *deafConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.inner {
		c.note(p[:n])
	}
	for len(c.head) > kindAt && c.head[kindAt] == 1 && c.deaf.Load() {
		time.Sleep(time.Millisecond)
	}
	return n, err
}

type deafListener struct {
	net.Listener
	deaf *atomic.Bool
}

func (l deafListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &deafConn{Conn: c, deaf: l.deaf, inner: true}, nil
}

func TestALearnerConfirmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		leader := c.Leader()
		// n3 may reach the leader alone, so it stays a learner: its log is delayed for ever behind a link that is cut as
		// soon as it is in.
		for i := range 3 {
			if i != leader {
				c.Network.Cut(clustertest.Name(3), clustertest.Name(i))
			}
		}
		expect(t, c.Nodes[c.Leader()], "n3:7401")
		learner := c.Add([]string{clustertest.Name(leader) + ":7401", "n3:7401"}, nil)
		c.Until("n3 to be a learner", func() bool { return c.Nodes[learner].Status().State == "learner" })
		for i := range 3 {
			if i != leader {
				c.Network.Cut(clustertest.Name(leader), clustertest.Name(i))
			}
		}
		if state := c.Nodes[learner].Status().State; state != "learner" {
			t.Fatalf("n3 is a %s by now, the test wants a learner", state)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		if _, err := c.Nodes[leader].ConfirmLeadership(ctx); err == nil {
			t.Error("a leader proved itself by a learner alone")
		}
	})
}

func TestOneRoundServesAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		leader := c.Leader()
		for i := range 3 {
			if i != leader {
				c.Network.Delay(clustertest.Name(i), clustertest.Name(leader), 50*time.Millisecond)
			}
		}
		begin := time.Now()
		done := make(chan error, 1000)
		for range 1000 {
			go func() {
				_, err := c.Nodes[leader].ConfirmLeadership(t.Context())
				done <- err
			}()
		}
		for range 1000 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if passed := time.Since(begin); passed > 200*time.Millisecond {
			t.Errorf("1000 proofs took %v over a round trip of 50ms, want at most a few rounds", passed)
		}
	})
}

func TestAWrongClockIsOutvoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ahead = 365 * 24 * time.Hour
		var offs [3]atomic.Int64
		c := clustertest.Start(t, 3, func(i int, config *cluster.Config) {
			config.Now = func() time.Time { return time.Now().Add(time.Duration(offs[i].Load())) }
		})
		c.Ready()
		leader := c.Leader()
		offs[leader].Store(int64(ahead))
		register(t, c.Nodes[leader], "gs")
		off := time.Until(time.UnixMilli(c.Nodes[leader].Status().StampMS))
		if off.Abs() > time.Second {
			t.Errorf("the stamp of a leader whose clock is a year ahead is %v off, want the median of the voters", off)
		}
		if alarms := c.Nodes[leader].Status().Alarms; len(alarms) == 0 {
			t.Error("no alarm for a clock that is a year ahead")
		}
	})
}

// Nothing commits on a leader that is cut off, so that what it was given stays where it is: two entries in flight, the
// rest in the queue.
func TestWhatWaitsIsRefusedAndWhatIsInFlightUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, func(_ int, config *cluster.Config) { config.MaxInFlightBytes = 2 * fsm.MaxEntryBytes })
		c.Ready()
		leader := c.Leader()
		n := c.Nodes[leader]
		s := register(t, n, "gs")
		time.Sleep(2 * time.Second) // the leader has nothing of its own to propose any more
		c.Network.Isolate(clustertest.Name(leader), "n0", "n1", "n2")
		ctx, giveUp := context.WithCancel(t.Context())
		defer giveUp()
		var outcomes [4]chan error
		for i := range outcomes {
			outcomes[i] = make(chan error, 1)
			command := s.set("k", string(make([]byte, 500<<10)))
			go func() {
				_, err := n.Propose(ctx, command)
				outcomes[i] <- err
			}()
			synctest.Wait()
		}
		if err := <-outcomes[3]; !errors.Is(err, cluster.ErrBusy) {
			t.Errorf("the fourth of 500 KiB in 1.5 MiB: %v, want ErrBusy", err)
		}
		giveUp()
		for i, want := range []error{cluster.ErrUnknown, cluster.ErrUnknown, cluster.ErrBusy} {
			err := <-outcomes[i]
			if !errors.Is(err, want) || want == cluster.ErrUnknown && errors.Is(err, cluster.ErrBusy) {
				t.Errorf("proposal %d, given up: %v, want %v", i, err, want)
			}
		}
	})
}
