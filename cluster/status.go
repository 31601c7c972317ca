package cluster

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/datafolder"
	"github.com/profilenode/profilenode/cluster/internal/liveness"
)

// Status is the state of a node, as far as this node itself knows it.
type Status struct {
	ID, Version  string
	Cluster      []byte // the cluster's id; empty while the node is in none
	Epoch        uint64
	Level        uint32
	State        string // leader, follower, candidate, learner or waiting
	Term         uint64
	Leader       string // node id of the leader
	LeaderClient string // the leader's address for clients
	Applied      uint64 // index of the last entry that the tables hold
	Committed    uint64
	Last         uint64 // index of the last entry in the log
	Snapshot     uint64 // index of the newest snapshot
	Digest       uint64
	StampMS      int64
	Members      []Member
	Alarms       []Alarm // alarms and notices that are active now
	Sessions     uint64
	Servers      uint64 // living game servers
	LogBytes     uint64
	TableBytes   uint64
	Uptime       time.Duration

	Lag            uint64        // committed entries that are not applied here yet
	Waiters        uint64        // game servers that wait for a profile, among the first liveness.MaxContested contested grants; known to the leader alone
	Silent         int           // living game servers that are silent for longer than their doubt; known to the leader alone
	FreeBytes      uint64        // free space on the data folder's disk; 0: not known
	BelowReserve   bool          // FreeBytes is below the reserve
	SavesRefused   bool          // too few voters are above their reserve of disk space; known to the leader alone
	TablesDiffer   bool          // the tables of the nodes differ
	MaxClockOffset time.Duration // largest distance of a voter's clock from the median; known to the leader alone
}

// Member is a node of the cluster.
type Member struct {
	ID, Address, Client string
	Voter, Leader       bool
	Gossip              string // alive, dead, left or empty; advisory
	Level               uint32 // known to the leader alone
}

// Status returns the node's state. It never fails: a part that cannot be read is reported as an alarm.
func (n *Node) Status() Status {
	position := n.tables.Position()
	own := n.currentIdentity()
	s := Status{
		ID: own.ID, Version: n.config.Version, Epoch: position.Epoch, Level: position.Level,
		State: "waiting", Applied: position.Index, Digest: position.Digest, StampMS: position.StampMS,
		LogBytes: n.folder.DiskBytes(datafolder.LogFolder), TableBytes: n.folder.DiskBytes(datafolder.TablesFolder), Uptime: time.Since(n.started),
		FreeBytes: n.space.freeBytes.Load(), BelowReserve: n.space.belowReserve.Load(), TablesDiffer: n.membership.digests.alarm.Load() != nil,
	}
	r := n.raftIfRunning()
	if r == nil {
		s.Alarms = n.alarms.noteAlarms(n.alarms.standingAlarms(nil))
		return s
	}
	s.Cluster, _ = hex.DecodeString(own.Cluster)
	s.State = strings.ToLower(r.State().String())
	s.Term, s.Committed, s.Last = r.CurrentTerm(), r.CommitIndex(), r.LastIndex()
	s.Lag = s.Committed - min(s.Committed, r.AppliedIndex())
	_, leader := r.LeaderWithID()
	s.Leader = string(leader)
	if newest, err := n.snapshots.List(); err == nil && len(newest) > 0 {
		s.Snapshot = newest[0].Index
	}
	s.Alarms = n.alarms.noteAlarms(n.alarms.standingAlarms(n.fillStatus(&s, r)))
	if l := n.leadership.now(); l != nil {
		s.SavesRefused, s.MaxClockOffset = l.spaceTight.Load(), l.clock.largestOffset()
		hellos := n.membership.hellos.Last().Members
		for i := range s.Members {
			if h, ok := hellos[s.Members[i].ID]; ok {
				s.Members[i].Level = h.Level
			}
		}
	}
	return s
}

// fillStatus adds the parts of the status that are read from the tables and from raft's configuration.
func (n *Node) fillStatus(s *Status, r *raft.Raft) error {
	view, err := n.tables.OpenView()
	if err != nil {
		return err
	}
	defer view.Close()
	rows, err := view.Nodes()
	if err != nil {
		return err
	}
	living, err := view.Living()
	if err != nil {
		return err
	}
	s.Servers = uint64(len(living))
	for _, server := range living {
		sessions, _, err := view.Held(server.Incarnation)
		if err != nil {
			return err
		}
		s.Sessions += uint64(sessions)
	}
	if l := n.leadership.now(); l != nil {
		s.Silent = l.detector.CountSilent()
		contested, err := view.Contested(0, liveness.MaxContested)
		if err != nil {
			return err
		}
		for _, g := range contested {
			s.Waiters += uint64(len(g.Waiters))
		}
	}
	clients := map[string]string{}
	for _, row := range rows {
		clients[row.ID] = row.Client
	}
	s.LeaderClient = clients[s.Leader]
	seems := n.gossip.nodeStates(n.ID())
	for _, p := range configuredPeers(r) {
		s.Members = append(s.Members, Member{
			ID: p.ID, Address: p.Address, Client: clients[p.ID], Voter: p.Voter, Leader: p.ID == s.Leader, Gossip: seems[p.ID],
		})
		if p.ID == s.ID && !p.Voter && r.State() == raft.Follower {
			s.State = "learner"
		}
	}
	return nil
}
