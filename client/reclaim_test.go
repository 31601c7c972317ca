package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// lossyWire lets a test lose answers, or keep requests from going out, for as long as it likes.
type lossyWire struct {
	mu      sync.Mutex
	deaf    map[string]bool // methods that lose their answers
	mute    map[string]bool // methods that lose their requests
	carried map[string]int  // requests that were answered, lost answers included
}

func newWire() *lossyWire {
	return &lossyWire{deaf: map[string]bool{}, mute: map[string]bool{}, carried: map[string]int{}}
}

func (w *lossyWire) set(of map[string]bool, method string, is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	of[method] = is
}

func (w *lossyWire) count(method string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.carried[method]
}

func (w *lossyWire) option() grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, q, a any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		w.mu.Lock()
		mute := w.mute[method]
		w.mu.Unlock()
		if mute {
			return errLost
		}
		err := invoke(ctx, method, q, a, cc, options...)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.carried[method]++
		if w.deaf[method] {
			return errLost
		}
		return err
	})
}

// mistaken is a game server with a session, which the cluster is going to take for dead.
type mistaken struct {
	t       *testing.T
	cluster *clienttest.Cluster
	wire    *lossyWire
	c       *client.Client
	store   *client.Store[player]
	other   *client.Store[player] // another game server's
	p       *client.Profile[player]
	ends    atomic.Int32
	doubts  atomic.Int32
	resumes atomic.Int32
}

func newMistaken(t *testing.T, change func(*client.Config)) *mistaken {
	m := &mistaken{t: t, cluster: clienttest.Start(t), wire: newWire()}
	config := m.cluster.Config("a")
	config.OnDoubt = func() { m.doubts.Add(1) }
	config.OnResume = func() { m.resumes.Add(1) }
	if change != nil {
		change(&config)
	}
	m.c = m.cluster.Open(t, config.WithDialOptions(m.wire.option()))
	m.store = clienttest.Store(t, m.c, "players", player{})
	m.other = clienttest.Store(t, m.cluster.Client(t, "b"), "players", player{})
	m.p = m.start("ann")
	m.p.OnSessionEnd(func(client.End) { m.ends.Add(1) })
	return m
}

func (m *mistaken) start(key string) *client.Profile[player] {
	m.t.Helper()
	p, err := m.store.StartSession(m.t.Context(), key)
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

func (m *mistaken) verdict() {
	m.t.Helper()
	if err := m.cluster.Expire(m.t.Context(), "a"); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mistaken) earn(coins int) {
	m.t.Helper()
	if err := m.p.Update(func(d *player) { d.Coins += coins }); err != nil {
		m.t.Fatal(err)
	}
}

// saving begins a save and tells how it ends.
func (m *mistaken) saving() <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- m.p.Save(m.t.Context()) }()
	return ended
}

func (m *mistaken) stored() *client.Snapshot[player] {
	m.t.Helper()
	got, err := m.other.Get(m.t.Context(), "ann")
	if err != nil {
		m.t.Fatal(err)
	}
	return got
}

// A game server that is taken for dead while it lives keeps its sessions, as long as no other game server has come for their
// profiles.
func TestAFalseExpiryCostsDoubtAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMistaken(t, nil)
		m.earn(3)
		if err := m.p.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := m.stored()
		m.wire.set(m.wire.deaf, profilev1.Profiles_Reclaim_FullMethodName, true)
		m.verdict()
		until(t, "doubt", func() bool { return m.p.State() == client.StateInDoubt && m.c.State() == client.StateInDoubt })
		m.earn(4)
		time.Sleep(time.Second)
		m.wire.set(m.wire.deaf, profilev1.Profiles_Reclaim_FullMethodName, false)
		until(t, "the session to be held again", m.p.IsActive)
		until(t, "OnDoubt and OnResume", func() bool { return m.doubts.Load() == 1 && m.resumes.Load() == 1 })
		if err := m.p.Save(t.Context()); err != nil {
			t.Errorf("save afterwards: %v", err)
		}
		if id, err := m.other.Send(t.Context(), "ann", "hello"); err != nil {
			t.Errorf("send: %d, %v", id, err)
		}
		heard := make(chan client.Message, 1)
		m.p.OnMessage(func(_ *player, got client.Message) client.Answer { heard <- got; return client.AnswerDone })
		<-heard
		if err := m.p.EndSession(t.Context()); err != nil {
			t.Errorf("end: %v", err)
		}
		if got := m.c.Stats(); got.Reclaimed != 1 || got.Lost != 0 || got.Doubts != 1 {
			t.Errorf("it counts %+v", got)
		}
		after := m.stored()
		if after.Data.Coins != 7 || after.Owner != nil || after.Loads != before.Loads || after.Messages != 0 {
			t.Errorf("stored: got %+v, want 7 coins, no owner, no message and %d loads", after, before.Loads)
		}
		until(t, "the end", func() bool { return m.ends.Load() == 1 })
		if err := m.p.Err(); err != nil {
			t.Errorf("the session ended with %v", err)
		}
	})
}

// The last save landed and its answer was lost. Its outcome is known before the profile is reclaimed, or the claim would
// name a revision that the profile has no more.
func TestASaveWhoseAnswerWasLostIsKnownBeforeTheReclaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMistaken(t, nil)
		m.wire.set(m.wire.deaf, profilev1.Profiles_Save_FullMethodName, true)
		m.earn(3)
		saved := m.saving()
		until(t, "the save to land", func() bool { return m.stored().Revision == 1 })
		m.verdict()
		until(t, "doubt", func() bool { return m.p.State() == client.StateInDoubt })
		time.Sleep(2 * time.Second)
		m.wire.set(m.wire.deaf, profilev1.Profiles_Save_FullMethodName, false)
		if err := <-saved; err != nil {
			t.Errorf("the save: %v", err)
		}
		until(t, "the session to be held again", m.p.IsActive)
		if got := m.p.Revision(); got != 1 {
			t.Errorf("revision: got %d, want 1", got)
		}
		m.earn(1)
		if err := m.p.Save(t.Context()); err != nil {
			t.Error(err)
		}
		if got := m.stored(); got.Revision != 2 || got.Data.Coins != 4 {
			t.Errorf("stored: got %+v, want revision 2 and 4 coins", got)
		}
	})
}

// A save that did not reach the log before the expiry is repeated under another number and token; so is a last one.
func TestASaveThatNeverLandedIsMadeAnew(t *testing.T) {
	for name, save := range map[string]func(*mistaken) error{
		"save":     func(m *mistaken) error { return m.p.Save(m.t.Context()) },
		"last one": func(m *mistaken) error { return m.p.EndSession(m.t.Context()) },
		"close":    func(m *mistaken) error { return m.c.Shutdown(m.t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMistaken(t, nil)
				m.cluster.Disconnect("a")
				m.earn(3)
				saved := make(chan error, 1)
				go func() { saved <- save(m) }()
				time.Sleep(time.Second)
				m.verdict()
				time.Sleep(time.Second)
				m.cluster.Reconnect("a")
				if err := <-saved; err != nil {
					t.Fatal(err)
				}
				if got := m.stored(); got.Revision != 1 || got.Data.Coins != 3 {
					t.Errorf("stored: got %+v, want revision 1 and 3 coins", got)
				}
			})
		})
	}
}

// A profile that another game server came for after the expiry is not reclaimed, also if that one has let go of it, or wrote
// it without a session.
func TestWhatOthersTouchedIsNotReclaimed(t *testing.T) {
	for name, touch := range map[string]func(*mistaken) error{
		"owned": func(m *mistaken) error {
			_, err := m.other.StartSession(m.t.Context(), "ann")
			return err
		},
		"owned for a while": func(m *mistaken) error {
			p, err := m.other.StartSession(m.t.Context(), "ann")
			return cmpOr(err, func() error { return p.EndSession(m.t.Context()) })
		},
		"written": func(m *mistaken) error {
			_, err := m.other.Set(m.t.Context(), "ann", player{Coins: 50}, client.AtRevision(0))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMistaken(t, nil)
				bystander := m.start("bob")
				m.cluster.Disconnect("a")
				m.earn(3)
				saved := m.saving()
				m.verdict()
				if err := touch(m); err != nil {
					t.Fatal(err)
				}
				m.cluster.Reconnect("a")
				<-m.p.Done()
				if err := <-saved; !errors.Is(err, client.ErrSessionOver) {
					t.Errorf("the save: got %v, want ErrSessionOver", err)
				}
				if err := m.p.Err(); !errors.Is(err, client.ErrSessionOver) {
					t.Errorf("the session: got %v, want ErrSessionOver", err)
				}
				if got := m.stored(); got.Data.Coins == 3 {
					t.Errorf("stored: got %+v, which was written without a session", got)
				}
				until(t, "the session without a rival to be held again", bystander.IsActive)
			})
		})
	}
}

func cmpOr(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}

// The second incarnation may be ended too, before the sessions are reclaimed, or after that without the game server's
// knowledge.
func TestExpiryAfterExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMistaken(t, nil)
		m.earn(3)
		lost := []string{profilev1.Profiles_Reclaim_FullMethodName}
		for range 3 {
			m.wire.set(m.wire.deaf, lost[0], true)
			before := m.wire.count(lost[0])
			m.verdict()
			until(t, "a reclaim with a lost answer", func() bool { return m.wire.count(lost[0]) > before })
			m.verdict()
			m.wire.set(m.wire.deaf, lost[0], false)
			until(t, "the session to be held again, or over", func() bool { return m.p.State() != client.StateInDoubt })
		}
		if err := m.p.Err(); !errors.Is(err, client.ErrSessionOver) && err != nil {
			t.Errorf("the session: %v", err)
		}
	})
}

// Many sessions cost few requests.
func TestManySessionsAreReclaimedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMistaken(t, nil)
		var profiles []*client.Profile[player]
		for i := range 600 {
			profiles = append(profiles, m.start(fmt.Sprint("p", i)))
		}
		m.verdict()
		// The doubt itself may be too short to be seen.
		until(t, "all to be reclaimed", func() bool { return m.c.Stats().Reclaimed == 601 })
		for _, p := range profiles {
			until(t, p.Key()+" to be held again", p.IsActive)
		}
		if got := m.wire.count(profilev1.Profiles_Reclaim_FullMethodName); got > 4 {
			t.Errorf("600 sessions took %d requests", got)
		}
	})
}

// Another game server has taken the name meanwhile: the cluster answers, and refuses.
func TestTheLimitForDoubtCountsWhileTheNameIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMistaken(t, func(c *client.Config) { c.DoubtLimit = 20 * time.Second })
		m.cluster.Disconnect("a")
		m.verdict()
		thief := m.cluster.Config("thief")
		thief.Name = "a"
		m.cluster.Open(t, thief)
		m.cluster.Reconnect("a")
		time.Sleep(19 * time.Second)
		if got := m.p.State(); got != client.StateInDoubt {
			t.Errorf("after 19 s: %v", got)
		}
		time.Sleep(3 * time.Second)
		if got := m.p.State(); got != client.StateOver {
			t.Errorf("after 22 s: %v", got)
		}
	})
}

// While the client is not registered again the limit for doubt counts on.
func TestTheLimitForDoubtCountsBetweenTwoLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMistaken(t, func(c *client.Config) { c.DoubtLimit = 20 * time.Second })
		if err := m.p.Save(t.Context()); err != nil { // or the copy would be kept, and reclaimed to be saved
			t.Fatal(err)
		}
		m.wire.set(m.wire.mute, profilev1.Profiles_Register_FullMethodName, true)
		m.verdict()
		time.Sleep(19 * time.Second)
		if got := m.p.State(); got != client.StateInDoubt {
			t.Errorf("after 19 s: %v", got)
		}
		time.Sleep(3 * time.Second)
		if err := m.p.Err(); m.p.State() != client.StateOver || !errors.Is(err, client.ErrSessionOver) {
			t.Errorf("after 22 s: %v, %v", m.p.State(), err)
		}
		m.wire.set(m.wire.mute, profilev1.Profiles_Register_FullMethodName, false)
		until(t, "a session of the next incarnation", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			p, err := m.store.StartSession(ctx, "ann")
			return err == nil && p.EndSession(ctx) == nil
		})
		if got := m.wire.count(profilev1.Profiles_Reclaim_FullMethodName); got != 0 {
			t.Errorf("%d requests reclaimed sessions that were over", got)
		}
	})
}
