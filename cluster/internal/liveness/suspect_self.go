package liveness

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

const (
	leastToSuspect   = 10          // living game servers below which a leader does not suspect itself
	suspicionStands  = time.Minute // for so long after a leader was suspected no leader holds expiries for this reason
	maxPingSample    = 16          // ping ports of silent game servers that each voter calls
	suspicionRepeats = time.Second // pause between two questions to the voters
)

// PingPort is the ping port of a game server.
type PingPort struct {
	Incarnation lock.Incarnation
	Address     string // host:port
}

// selfSuspicion is a leader's suspicion that the game servers are not gone, but do not reach this node, as with a firewall on its
// client port, while the other nodes do and let it lead. Without it such a leader would expire the whole fleet by silence.
//
// It begins when an expiry without proof is due and more than half of at least leastToSuspect living game servers have been
// silent for longer than their doubt. All such expiries are then held until a majority of the voters, this one counted, have
// called the ping ports of some silent ones and reached none, for one lease at most. If another voter reaches one, this
// leader writes that down and hands the leadership to it. While that row is young no leader holds expiries: where the game
// servers reach no node, each new leader would suspect itself in turn, and nothing would ever expire.
type selfSuspicion struct {
	began     time.Time // zero: there is none
	until     time.Time // when expiries are held no longer, whatever is known by then
	ports     []PingPort
	silent    int // game servers, of those that are living
	living    int
	notBefore time.Time // when the next one may begin

	lookedAt time.Time // tick at which holds was decided
	holds    bool
}

// needsSilence says whether silence is the ground of an expiry, or a part of it.
func needsSilence(ground lock.Ground) bool { return ground == lock.Silence || ground == lock.Evidence }

// holdsForSuspicion reports whether expiries without proof are held at the tick of now, since this leader suspects its own
// node. A suspicion begins here; lease bounds it. mu must be held.
func (d *Detector) holdsForSuspicion(now time.Time, view View, lease time.Duration) bool {
	s := &d.suspicion
	if s.lookedAt.Equal(now) {
		return s.holds
	}
	if s.began.IsZero() && !now.Before(s.notBefore) && d.shouldSuspectSelf(now, view) {
		s.began, s.until = now, now.Add(lease)
		select {
		case d.suspicionDue <- struct{}{}:
		default:
		}
	}
	s.lookedAt, s.holds = now, !s.began.IsZero() && now.Before(s.until)
	return s.holds
}

// shouldSuspectSelf reports whether a suspicion begins, and chooses the ping ports to be called. mu must be held.
func (d *Detector) shouldSuspectSelf(now time.Time, view View) bool {
	rows, err := view.Living()
	if err != nil {
		return false // the next reading of the living logs the error
	}
	silent, living := d.findSilent(now, rows)
	if living < leastToSuspect || 2*len(silent) <= living || d.wasLeaderSuspected(view) {
		return false
	}
	d.suspicion.silent, d.suspicion.living = len(silent), living
	d.suspicion.ports = samplePingPorts(silent)
	return len(d.suspicion.ports) > 0
}

// findSilent returns the game servers that have been silent for longer than their doubt, and how many are alive. A tool, and one
// whose process has registered again, is neither. mu must be held.
func (d *Detector) findSilent(now time.Time, rows []fsm.Server) (silent []fsm.Server, living int) {
	for _, s := range rows {
		if s.Tool || s.Successor != 0 {
			continue
		}
		living++
		heard, known := d.lastHeard[s.Incarnation]
		if heard.Before(d.leadership.OpenedAt()) {
			heard = d.leadership.OpenedAt()
		}
		if known && now.Sub(heard) > s.Class.Timing.Doubt {
			silent = append(silent, s)
		}
	}
	return silent, living
}

// samplePingPorts returns the ping ports of some game servers. A port on another host than the one that its game server registered
// from is left out: a game server must not make nodes call an address of its choice.
func samplePingPorts(servers []fsm.Server) (ports []PingPort) {
	rand.Shuffle(len(servers), func(i, k int) { servers[i], servers[k] = servers[k], servers[i] })
	for _, s := range servers {
		from, _, err := net.SplitHostPort(s.Peer)
		if err != nil {
			from = s.Peer
		}
		if !sameHost(s.Ping, from) {
			continue
		}
		if ports = append(ports, PingPort{s.Incarnation, s.Ping}); len(ports) == maxPingSample {
			break
		}
	}
	return ports
}

// wasLeaderSuspected reports whether a leader was suspected lately. While this leader does not know the time, one counts as if
// it were.
func (d *Detector) wasLeaderSuspected(view View) bool {
	leader, ok, err := view.SuspectedLeader()
	if err != nil || !ok {
		return err != nil
	}
	now, known := d.leadership.Timestamp()
	return !known || now-leader.StampMS < suspicionStands.Milliseconds()
}

// examineSuspicions examines each suspicion until it is decided, until the leadership ends.
func (d *Detector) examineSuspicions() {
	for d.waitFor(d.suspicionDue) {
		d.mu.Lock()
		s := d.suspicion
		d.mu.Unlock()
		d.config.Log.Warn("this leader hears few game servers and suspects its own node: it holds their expiries and asks the other voters whom they reach",
			"code", "SUSPECTS_ITSELF", "silent", s.silent, "living", s.living)
		ctx, cancel := context.WithDeadline(d.ctx, s.until)
		d.examineSuspicion(ctx, s.ports)
		cancel()
		d.mu.Lock()
		d.suspicion = selfSuspicion{notBefore: time.Now().Add(lock.DefaultTiming().Lease)}
		d.mu.Unlock()
	}
}

// examineSuspicion returns once expiries need not be held any more: a majority of the voters reach no silent game server, this
// node has handed its leadership over, or ctx has ended.
func (d *Detector) examineSuspicion(ctx context.Context, ports []PingPort) {
	for ctx.Err() == nil {
		own := make(chan int, 1)
		go func() { own <- CountReached(ctx, d.config.Dial, ports) }()
		reached, voters := d.leadership.AskVoters(ctx, ports)
		none := 0
		if <-own == 0 && ctx.Err() == nil {
			none++
		}
		reaching := slices.DeleteFunc(slices.Sorted(maps.Keys(reached)), func(id string) bool { return reached[id] == 0 })
		none += len(reached) - len(reaching)
		slices.SortStableFunc(reaching, func(a, b string) int { return cmp.Compare(reached[b], reached[a]) })
		switch {
		case len(reaching) > 0:
			if d.handOver(ctx, reaching) {
				return
			}
		case none > voters/2:
			d.config.Log.Warn("the other voters reach the silent game servers no more than this leader: their expiries go on", "voters", voters, "reach_none", none)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(suspicionRepeats):
		}
	}
}

// handOver writes down that this leader is suspected, and hands the leadership to the first of the voters that takes it. It
// returns false if the row was not written.
func (d *Detector) handOver(ctx context.Context, reaching []string) bool {
	result, err := d.leadership.Propose(ctx, fsm.NewCommand(nil, &fsm.SuspectLeader{Term: d.leadership.Term()}))
	if err != nil || result.Code != fsm.OK {
		return false
	}
	for _, id := range reaching {
		d.config.Log.Warn("another voter reaches silent game servers: this leader hands its leadership over", "code", "SUSPECTS_ITSELF", "to", id)
		if err := d.leadership.HandOverTo(ctx, id); err == nil || ctx.Err() != nil {
			break
		}
	}
	return true
}

// CountReached calls ping ports, all at the same time, and returns how many of the game servers answered.
func CountReached(ctx context.Context, dial Dial, ports []PingPort) (reached int) {
	answers := make(chan bool, len(ports))
	var calling sync.WaitGroup
	for _, p := range ports[:min(len(ports), maxPingSample)] {
		calling.Go(func() {
			inc, came := callPingPort(ctx, dial, p.Address)
			answers <- came == pingAnswered && inc == p.Incarnation
		})
	}
	calling.Wait()
	close(answers)
	for answered := range answers {
		if answered {
			reached++
		}
	}
	return reached
}
