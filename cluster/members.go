package cluster

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/cluster/internal/quorum"
	"github.com/profilenode/profilenode/fsm"
)

const (
	caughtUpEntries = 256 // entries that a learner may be behind and still count as caught up
	caughtRounds    = 3   // times in a row that it must

	behindFor   = 30 * time.Second // by so much a member that is behind has not applied what its leader has
	silentLimit = 5 * time.Second  // without an answer for longer, a member does not answer at all
)

// tendMembers keeps the rows of the members, the level and the votes up to date after each round of hellos, for one
// leadership. Each round begins after the last one was acted on: a level is raised only by the answers of all who vote now.
func (m *membership) tendMembers(l *leaderState) {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { m.watchMembers(l) }) // beside this loop, which waits for the log
	steady := map[string]int{}                // rounds in a row that a learner was caught up
	m.hellos.AskNow()
	for {
		round, ok := m.hellos.AwaitRound(l.ctx)
		if !ok {
			return
		}
		servers, answers := round.Servers, round.Members
		l.compareSpace(servers, answers)
		if err := l.updateNodeRows(servers, answers); err != nil && l.ctx.Err() == nil {
			l.node.log.Warn("keep the nodes' addresses", "error", err)
		}
		if err := l.raiseLevel(servers, answers); err != nil && l.ctx.Err() == nil {
			l.node.log.Warn("raise the level", "error", err)
		}
		for _, s := range servers {
			h, ok := answers[string(s.ID)]
			if s.Suffrage == raft.Voter || !ok || h.LastIndex+caughtUpEntries < round.Own.LastIndex || h.Applied+caughtUpEntries < round.Own.Applied || h.Level < l.node.tables.Position().Level {
				delete(steady, string(s.ID))
				continue
			}
			if steady[string(s.ID)]++; steady[string(s.ID)] >= caughtRounds {
				if err := l.promoteLearner(s, servers, answers); err != nil && l.ctx.Err() == nil {
					l.node.log.Warn("promote a learner", "node", s.ID, "error", err)
				}
				break // the configuration is another one now
			}
		}
	}
}

// updateNodeRows makes the log's rows say where the members are. A follower knows the leader's client address only from them.
func (l *leaderState) updateNodeRows(servers []raft.Server, answers map[string]peerwire.Hello) error {
	rows, err := l.node.tables.ReadNodes()
	if err != nil {
		return err
	}
	written := map[string]fsm.Node{}
	for _, row := range rows {
		written[row.ID] = row
	}
	for _, s := range servers {
		id := string(s.ID)
		row, known := written[id]
		delete(written, id)
		want := fsm.Node{ID: id, Address: peerwire.HostPort(s.Address), Client: row.Client, Gossip: row.Gossip, ServerGossip: row.ServerGossip}
		if h, ok := answers[id]; ok {
			want.Client, want.Gossip, want.ServerGossip = h.Client, h.Gossip, h.ServerGossip
		}
		if known && row == want {
			continue
		}
		set := &fsm.SetNode{Id: id, Address: want.Address, Client: want.Client, Gossip: want.Gossip, ServerGossip: want.ServerGossip}
		if _, err := l.queue.proposeAndWait(l.ctx, fsm.NewCommand(nil, set)); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(written)) {
		if _, err := l.queue.proposeAndWait(l.ctx, fsm.NewCommand(nil, &fsm.RemoveNode{Id: id})); err != nil {
			return err
		}
	}
	return nil
}

// raiseLevel lets entries be of the highest level that every voter can apply. It and promote are one after the other, and both
// look at the tables: no learner gets a vote while a level that it cannot apply is on its way.
func (l *leaderState) raiseLevel(servers []raft.Server, answers map[string]peerwire.Hello) error {
	level := l.node.config.Level
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			level = min(level, answers[string(s.ID)].Level) // 0 for a node that has not answered
		}
	}
	was := l.node.tables.Position().Level
	if level <= was {
		return nil
	}
	if _, err := l.queue.proposeAndWait(l.ctx, fsm.NewCommand(nil, &fsm.RaiseLevel{Level: level})); err != nil {
		return err
	}
	l.node.log.Info("raised the level: every voter can apply it, and no older build can read the log any more", "level", level, "was", was)
	return nil
}

// promoteLearner gives a learner its vote, in the place of a voter that it replaces, if there is one. The voter goes first:
// where it does not answer, it counts for nothing anyway, and a leader that stops between the two leaves a learner that the
// next one promotes. The other way round it would leave one voter more, of which one does not answer.
func (l *leaderState) promoteLearner(learner raft.Server, servers []raft.Server, answers map[string]peerwire.Hello) error {
	r := l.node.raftIfRunning()
	replaced, found, safe := l.chooseReplaced(learner, servers, answers)
	if found && !safe {
		return nil // a later round looks again
	}
	if found {
		if err := l.node.lifecycle.waitForFuture(l.ctx, r.RemoveServer(replaced.ID, 0, joinTimeout)); err != nil {
			return fmt.Errorf("remove %s, which it replaces: %w", replaced.ID, err)
		}
		l.node.log.Info("removed a node that another one replaces", "node", replaced.ID, "address", peerwire.HostPort(replaced.Address), "by", learner.ID)
	}
	if err := l.node.lifecycle.waitForFuture(l.ctx, r.AddVoter(learner.ID, learner.Address, 0, joinTimeout)); err != nil {
		return err
	}
	l.node.log.Info("a learner has caught up and votes", "node", learner.ID)
	return nil
}

// chooseReplaced returns the voter that a learner replaces. One under another id at the learner's address can never answer
// again, since the listening node has another id. Otherwise it is one that has not answered for long.
func (l *leaderState) chooseReplaced(learner raft.Server, servers []raft.Server, answers map[string]peerwire.Hello) (replaced raft.Server, found, safe bool) {
	for _, s := range servers {
		if s.ID != learner.ID && string(s.ID) != l.node.ID() && peerwire.HostPort(s.Address) == peerwire.HostPort(learner.Address) {
			return s, true, true
		}
	}
	silence := l.silence.Load()
	if silence == nil {
		return raft.Server{}, false, false
	}
	return silence.ChooseReplaced(servers, l.node.ID(), func(id string) bool { _, ok := answers[id]; return ok })
}

// watchMembers finds the members that are far behind, and the voters that do not answer raft, for one leadership.
func (m *membership) watchMembers(l *leaderState) {
	var lag memberLag
	var contact quorum.SilenceWatch
	for {
		round, ok := m.hellos.AwaitRound(l.ctx)
		if !ok {
			return
		}
		behind := lag.compareRound(round)
		l.behind.Store(&behind)
		silence := contact.Look(time.Now(), m.node.ID(), round.Servers, m.node.port.LastRaftContact)
		l.silence.Store(&silence)
	}
}

// memberLag records, on a leader, how far its members have applied. A member that has answered for behindFor, and has not
// applied in all that time the entries that the leader had applied before, is behind: it can neither take over soon nor make
// up for the loss of another one. A member that was down, or has just joined, has that time to catch up.
type memberLag struct {
	applied   []appliedAt // this leader's, one of each round: the last of those that are older than behindFor, and all since
	answering map[string]answeringSince
}

type appliedAt struct {
	at    time.Time
	index uint64
}

type answeringSince struct {
	processID   string
	first, last time.Time
}

// behindMember is a member that has not applied what its leader has, for behindFor.
type behindMember struct {
	peerwire.Hello
	want uint64 // index that the leader had applied before
}

// compareRound returns the members that are behind, in the order of ids.
func (g *memberLag) compareRound(round *peerwire.HelloRound) (behind []behindMember) {
	now := round.Began
	g.applied = append(g.applied, appliedAt{now, round.Own.Applied})
	for len(g.applied) > 1 && now.Sub(g.applied[1].at) >= behindFor {
		g.applied = g.applied[1:]
	}
	was := g.answering
	g.answering = map[string]answeringSince{}
	for id, a := range was {
		if now.Sub(a.last) <= silentLimit {
			g.answering[id] = a
		}
	}
	earlier := g.applied[0]
	for _, h := range round.SortedMembers() {
		a, known := g.answering[h.ID]
		if !known || a.processID != h.ProcessID {
			a = answeringSince{processID: h.ProcessID, first: now}
		}
		a.last = now
		g.answering[h.ID] = a
		if now.Sub(earlier.at) >= behindFor && now.Sub(a.first) >= behindFor && h.Applied < earlier.index {
			behind = append(behind, behindMember{h, earlier.index})
		}
	}
	return behind
}
