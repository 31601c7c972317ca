package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/profilenode/profilenode/internal/clienthooks"
)

// Forever is a DoubtLimit that never runs out.
const Forever time.Duration = math.MaxInt64

// Config names the cluster's addresses and this game server. Only Seeds is needed.
type Config struct {
	// Seeds are client addresses, host:port, of some of the nodes; the others are learned.
	Seeds []string
	// Name is this game server's, unique among those that live. Empty: the host's name and a random suffix.
	Name string
	// Where is free text for game servers that want a profile of this one, e.g. an address to send players to. They get it
	// in Error.Owner.
	Where string

	// TimingClass names the times that this game server and the cluster count with: how often it renews, when its sessions
	// are in doubt, when it counts as gone. "profilenode timing" lists them. Empty: the default one.
	TimingClass string

	// TLS is needed for nodes on other machines, unless Insecure is set. LoadTLS makes it of files.
	TLS      *tls.Config
	Insecure bool

	// Autosave is how often each changed profile is saved. 0: every 5 s. Negative: never.
	Autosave time.Duration
	// DoubtLimit is how long sessions may be in doubt before they are over; they never are sooner than in doubt. 0: 60 s.
	// Negative: as soon as one more try fails. Forever: until the cluster says so. The last data of a session that ended so
	// is kept for ten minutes, and saved if the cluster is back by then and the profile has had no other owner and no other
	// write since: OnAfterSave tells.
	DoubtLimit time.Duration

	// NoPing is for machines on which no port may be opened. Otherwise this client holds one for its whole life, on the IP
	// from which it reaches the cluster, and every node must be able to reach it there: when this process dies the host
	// refuses the port, and others may load its profiles within half a second. Without it that takes five seconds.
	NoPing bool
	// PingPort is the number of that port, for machines with a firewall that opens a certain one. 0: any that is free.
	PingPort uint16

	// Gossip lets this game server take part in the gossip by which game servers and nodes detect lost hosts, so that the
	// loss of its host is noticed after about five seconds instead of ten. Set it to a gossip.ServerConfig of package
	// gossip. The nodes tell the client their gossip addresses. A failure to take part is logged and retried, and harms
	// nothing. nil: no gossip.
	Gossip Gossip

	// CloseTimeout bounds Close, and a Shutdown with a context that had ended before. 0: 10 s.
	CloseTimeout time.Duration

	// OnDoubt runs when the sessions come into doubt, OnResume when they are held again; one at a time, in order.
	OnDoubt, OnResume func()

	// OnError gets the errors that no call returns: each failed save, each beginning and end of doubt (CodeDoubtBegins,
	// CodeDoubtEnds), each lock of a profile that the game holds for too long (CodeLockHeld). It runs outside of every lock,
	// for one error after the other, in order.
	OnError func(*Error)

	// Log gets, at Warn, the errors of OnError, each node's first failure and each lost session, and less important things
	// below it. Default: warnings and errors go to slog.Default().
	Log *slog.Logger

	hooks clienthooks.Hooks // for tests
}

func init() {
	clienthooks.Register(func(config any) *clienthooks.Hooks { return &config.(*Config).hooks })
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	if len(c.Seeds) == 0 {
		faults = append(faults, errors.New("no seeds: give the client address of at least one node"))
	}
	for _, addr := range c.Seeds {
		faults = append(faults, c.permitAddress(addr))
	}
	if len(c.Name) > 128 {
		faults = append(faults, fmt.Errorf("the name has %d bytes, at most 128 are allowed", len(c.Name)))
	}
	for _, part := range []struct{ name, text string }{{"the name", c.Name}, {"where", c.Where}} {
		if !utf8.ValidString(part.text) {
			faults = append(faults, fmt.Errorf("%s %q is not UTF-8", part.name, part.text))
		}
	}
	if len(c.Where) > 256 {
		faults = append(faults, fmt.Errorf("where has %d bytes, at most 256 are allowed", len(c.Where)))
	}
	if len(c.TimingClass) > 64 {
		faults = append(faults, fmt.Errorf("the timing class's name has %d bytes, at most 64 are allowed", len(c.TimingClass)))
	}
	if c.Autosave > 0 && c.Autosave < 10*time.Millisecond {
		faults = append(faults, fmt.Errorf("autosave every %v is more than the log is for: at least 10ms", c.Autosave))
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() (Config, error) {
	c.Seeds = slices.Clone(c.Seeds)
	if c.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "game"
		}
		suffix := make([]byte, 4)
		if _, err := rand.Read(suffix); err != nil {
			return c, fmt.Errorf("make a name: %w", err)
		}
		c.Name = host[:min(len(host), 100)] + "-" + hex.EncodeToString(suffix)
	}
	switch {
	case c.Autosave == 0:
		c.Autosave = 5 * time.Second
	case c.Autosave < 0:
		c.Autosave = 0
	}
	switch {
	case c.DoubtLimit == 0:
		c.DoubtLimit = 60 * time.Second
	case c.DoubtLimit < 0:
		c.DoubtLimit = 0
	}
	if c.CloseTimeout <= 0 {
		c.CloseTimeout = 10 * time.Second
	}
	switch {
	case c.NoPing:
		c.hooks.ListenPing = nil
	case c.hooks.ListenPing == nil && c.hooks.Dial == nil:
		c.hooks.ListenPing = func(ctx context.Context, node string) (net.Listener, error) {
			return listenBeside(ctx, node, c.PingPort)
		}
	}
	if c.hooks.Now == nil {
		c.hooks.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(warnHandler{slog.Default().Handler()})
	}
	return c, nil
}

// Client is one game server's connection to a cluster. All its methods may be called from any goroutine.
type Client struct {
	config Config

	// Each part has a lock of its own. session.mu is taken before any of them, sessionTable.mu before lifetime.mu. Nothing
	// waits, sends, or calls the game while it holds one of them.
	life     lifetime
	link     clusterLink
	keeper   leaseKeeper
	sessions sessionTable
	lines    messageLines
	handlers gameHandlers

	saver       *autosaver
	gossipSeeds *gossipPool
	ping        *pingPort
	fetching    chan struct{} // a place in it for each profile that fetches its messages
	counters    counters
}

// Open registers this game server and returns once it may hold sessions. It waits for a cluster that cannot be reached,
// and for a predecessor of the same name that just died, until ctx ends.
//
// ErrOwned: a game server that lives has this name. ErrInvalid: a fault in the configuration, or another cluster.
// ErrUnavailable: no leader was found in time. ErrUnknown: it may be registered; that ends by itself after a lease.
func Open(ctx context.Context, config Config) (*Client, error) {
	config, err := config.withDefaults()
	if err == nil {
		err = config.Validate()
	}
	if err != nil {
		return nil, &Error{Act: "open", Kind: ErrInvalid, Sentence: err.Error()}
	}
	c := &Client{
		config:      config,
		lines:       messageLines{busy: make(map[Ref]*messageLine)},
		handlers:    gameHandlers{config: config},
		ping:        &pingPort{listen: config.hooks.ListenPing},
		gossipSeeds: &gossipPool{known: make(chan struct{})},
		fetching:    make(chan struct{}, 16),
	}
	c.life.begin()
	c.link.c, c.link.nodes = c, newNodeSet(config)
	c.link.cluster.Store(&knownCluster{})
	c.link.told.Store(&toldIndex{})
	c.keeper.c, c.keeper.changed = c, make(chan struct{})
	c.sessions.c, c.sessions.list = c, make(map[Ref]*session)
	c.saver = newAutosaver(config.Autosave)
	if config.hooks.Answer == nil {
		c.link.nodes.ConnectAhead()
	}

	first, err := c.keeper.registerUntilAnswered(ctx, nil)
	if err != nil {
		c.stopAfterFailedOpen()
		return nil, err
	}
	c.keeper.beginIncarnation(first)
	if config.hooks.Answer == nil {
		c.life.startGoroutine(func() { c.keeper.keepIncarnation(first) })
	} else { // there is no node to be renewed by
		first.lease.confirmUntil(config.hooks.Now())
		close(first.confirmed)
	}
	select {
	case <-first.confirmed:
		c.life.startGoroutine(c.keeper.watchDoubt)
		c.life.startGoroutine(c.watchLocks)
		if config.Gossip != nil {
			c.life.startGoroutine(c.gossipUntilClosed)
		}
		c.life.startGoroutine(func() { c.saver.runUntil(c.life.ctx) })
		return c, nil
	case <-ctx.Done():
		c.stopAfterFailedOpen()
		return nil, c.notSentError(ctx, "open", Ref{})
	}
}

// Name is the name that this game server registered under.
func (c *Client) Name() string { return c.config.Name }

// State is how this client's sessions stand: StateHeld or StateInDoubt, and StateOver once it is closed.
func (c *Client) State() State {
	switch {
	case c.life.isOver():
		return StateOver
	case c.keeper.isInDoubt():
		return StateInDoubt
	}
	return StateHeld
}

// stopAfterFailedOpen ends a client that Open does not return.
func (c *Client) stopAfterFailedOpen() {
	c.life.stopBackground()
	c.life.tasks.Wait()
	c.link.nodes.Close()
	c.ping.close()
}
