package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

func statusCommand(p process) *cobra.Command {
	command := &cobra.Command{
		Use:   "status",
		Short: "show every node of the cluster",
		Long: `status asks every node for its own view; it works without a leader. The nodes are found from any one of them.
Exit code 1 when no node leads or none answers; what is known is printed all the same.`,
		Args: cobra.NoArgs,
	}
	a := addClusterFlags(p, command)
	command.RunE = runAct(func(ctx context.Context, _ []string) error {
		return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			found, err := c.askStatusOfAll(ctx)
			if err != nil {
				return err
			}
			found = relevantNodes(found, a.choosesNodes())
			print := printStatus
			if a.json {
				print = func(p process, found []*nodeStatus) error { return printObject(p.out, statusToJSON(found)) }
			}
			if err := print(p, found); err != nil {
				return err
			}
			if latestLeader(found) == nil {
				return &hintedError{errors.New(describeLeaderless(found)), "writes wait until more than half of the nodes see each other; get, list and sessions read with --stale"}
			}
			return nil
		})
	})
	return command
}

// relevantNodes leaves out addresses that refuse, unless they were chosen by a flag: the default names three, and a cluster
// of one is there at one of them.
func relevantNodes(found []*nodeStatus, chosen bool) (kept []*nodeStatus) {
	for _, s := range found {
		if chosen || s.member != nil || s.status != nil {
			kept = append(kept, s)
		}
	}
	return kept
}

func printStatus(p process, found []*nodeStatus) error {
	t := newTextTable(p.out, "NODE", "CLIENTS", "NODES", "STATE", "TERM", "APPLIED", "DIGEST", "VOTER", "GOSSIP")
	for _, s := range found {
		state, term, applied, digest, voter := describeUnreachable(s.err), "", "", "", ""
		if s.status != nil {
			state = s.status.GetState()
			term = strconv.FormatUint(s.status.GetTerm(), 10)
			applied = strconv.FormatUint(s.status.GetApplied(), 10)
			digest = formatDigest(s.status.GetDigest())
		}
		if s.member != nil {
			voter = yesOrNo(s.member.GetVoter())
		}
		t.addRow(abbreviateID(s.nodeID()), s.address, s.member.GetAddress(), state, term, applied, digest, voter, s.member.GetGossip())
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(p.out)
	if best := latestLeader(found); best != nil {
		fmt.Fprintf(p.out, "cluster %s, epoch %d, level %d; %d game servers, %d sessions; %s log, %s tables; up %s; version %s\n",
			hex.EncodeToString(best.GetCluster()), best.GetEpoch(), best.GetLevel(), best.GetServers(), best.GetSessions(),
			formatRoughSize(best.GetLogBytes()), formatRoughSize(best.GetTableBytes()),
			(time.Duration(best.GetUptimeMs()) * time.Millisecond).Round(time.Second), best.GetVersion())
	}
	for _, s := range found {
		if s.err != nil {
			fmt.Fprintf(p.out, "%s: %v\n", s.address, s.err)
		}
		printAlarms(p, s)
	}
	return nil
}

func (s *nodeStatus) nodeID() string {
	if s.status != nil {
		return s.status.GetId()
	}
	return s.member.GetId()
}

// latestLeader is the view of the node that leads in the latest term; nil: none does.
func latestLeader(found []*nodeStatus) (best *pb.StatusResponse) {
	for _, s := range found {
		if s.status.GetState() == "leader" && (best == nil || s.status.GetTerm() > best.GetTerm()) {
			best = s.status
		}
	}
	return best
}

// abbreviateID is enough of a random id to tell nodes apart.
func abbreviateID(id string) string { return id[:min(len(id), 8)] }

func formatRoughSize(n uint64) string {
	for _, unit := range sizeUnits {
		if n >= unit.bytes {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.bytes), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

type statusJSON struct {
	Cluster string     `json:"cluster,omitempty"`
	Epoch   uint64     `json:"epoch"`
	Leader  string     `json:"leader"` // id; empty: none
	Nodes   []nodeJSON `json:"nodes"`
}

type nodeJSON struct {
	ID         string      `json:"id"`
	Clients    string      `json:"clients"`
	Nodes      string      `json:"nodes"`
	Reachable  bool        `json:"reachable"`
	Error      string      `json:"error,omitempty"`
	State      string      `json:"state,omitempty"`
	Voter      bool        `json:"voter"`
	Member     bool        `json:"member"`
	Gossip     string      `json:"gossip,omitempty"`
	Version    string      `json:"version,omitempty"`
	Level      uint32      `json:"level,omitempty"`
	Term       uint64      `json:"term"`
	Applied    uint64      `json:"applied"`
	Committed  uint64      `json:"committed"`
	Last       uint64      `json:"last"`
	Snapshot   uint64      `json:"snapshot"`
	Digest     string      `json:"digest,omitempty"`
	Stamp      string      `json:"stamp,omitempty"`
	Alarms     []alarmJSON `json:"alarms"`
	Notices    []alarmJSON `json:"notices"`
	Servers    uint64      `json:"servers"`
	Sessions   uint64      `json:"sessions"`
	LogBytes   uint64      `json:"log_bytes"`
	TableBytes uint64      `json:"table_bytes"`
	UptimeMS   int64       `json:"uptime_ms"`
}

func statusToJSON(found []*nodeStatus) statusJSON {
	var shape statusJSON
	if best := latestLeader(found); best != nil {
		shape.Cluster, shape.Epoch, shape.Leader = hex.EncodeToString(best.GetCluster()), best.GetEpoch(), best.GetId()
	}
	for _, s := range found {
		node := nodeJSON{
			ID: s.nodeID(), Clients: s.address, Nodes: s.member.GetAddress(), Reachable: s.status != nil,
			Voter: s.member.GetVoter(), Member: s.member != nil, Gossip: s.member.GetGossip(), Alarms: []alarmJSON{}, Notices: []alarmJSON{},
		}
		if s.err != nil {
			node.Error = s.err.Error()
		}
		if status := s.status; status != nil {
			node.State, node.Version, node.Level = status.GetState(), status.GetVersion(), status.GetLevel()
			node.Term, node.Applied, node.Committed = status.GetTerm(), status.GetApplied(), status.GetCommitted()
			node.Last, node.Snapshot = status.GetLast(), status.GetSnapshot()
			node.Digest, node.Stamp = formatDigest(status.GetDigest()), formatTime(status.GetStampMs())
			node.Alarms, node.Notices = alarmsToJSON(status.GetAlarms())
			node.Servers, node.Sessions = status.GetServers(), status.GetSessions()
			node.LogBytes, node.TableBytes, node.UptimeMS = status.GetLogBytes(), status.GetTableBytes(), status.GetUptimeMs()
		}
		shape.Nodes = append(shape.Nodes, node)
	}
	return shape
}
