package main

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

func serversCommand(p process) *cobra.Command {
	var all, gone, stale bool
	command := &cobra.Command{
		Use:   "servers",
		Short: "list the game servers",
		Long: `servers lists the game servers: since when, how many profiles each holds, how many of those somebody else wants, and how
long ago the leader heard it. In the default timing class one that is silent for 3 s is in doubt about its sessions; it is ended
after 4.5 s if there is evidence that it is dead, after 10 s in any case. With --gone it lists those too that ended within the
last hour, or the last 5 minutes if they left nothing, and on what ground: goodbye, proof, evidence or silence.`,
		Args: cobra.NoArgs,
	}
	a := addClusterFlags(p, command)
	command.Flags().BoolVar(&gone, "gone", false, "also those that are gone and not forgotten yet")
	command.Flags().BoolVar(&all, "all", false, "also those, and command-line tools")
	command.Flags().BoolVar(&stale, "stale", false, "ask any node, which may lag behind")
	command.RunE = runAct(func(ctx context.Context, _ []string) error {
		request := &pb.ServersRequest{Mode: readModeFor(stale), Ended: gone || all}
		t := newTextTable(discardIf(a.json, p.out), "NAME", "WHERE", "KIND", "STATE", "SINCE", "SESSIONS", "WANTED", "LAST HEARD", "GOSSIP", "TIMING", "ENDED", "INCARNATION")
		for { // page by page; the time limit is for each
			reply := &pb.ServersResponse{}
			if err := a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
				return c.ask(ctx, pb.Cluster_Servers_FullMethodName, request, reply)
			}); err != nil {
				return err
			}
			for _, s := range reply.GetServers() {
				request.After = s.GetIncarnation()
				tool := s.GetKind() == pb.ServerKind_SERVER_KIND_TOOL
				if !all && (tool || !s.GetAlive() && !gone) {
					continue
				}
				if a.json {
					if err := printJSON(p.out, serverToJSON(s)); err != nil {
						return err
					}
					continue
				}
				t.addRow(escapeUnprintable(s.GetName()), escapeUnprintable(s.GetWhere()), serverKindName(s.GetKind()), describeServerState(s), formatTime(s.GetSinceMs()),
					formatHeldGrants(s), strconv.FormatUint(s.GetWanted(), 10), formatSilence(s.GetAlive(), s.GetSilentMs()),
					escapeUnprintable(s.GetGossip()), s.GetTiming().GetName(), formatTime(s.GetEndedMs()), strconv.FormatUint(s.GetIncarnation(), 10))
			}
			if !reply.GetMore() {
				return t.flush()
			}
		}
	})
	return command
}

// describeServerState calls a game server silent from when it is in doubt on.
func describeServerState(s *pb.Server) string {
	switch silent := durationOfMS(s.GetSilentMs()); {
	case !s.GetAlive():
		return "gone by " + s.GetGround()
	case silent >= durationOfMS(s.GetTiming().GetDoubtMs()) && s.GetKind() == pb.ServerKind_SERVER_KIND_GAME_SERVER:
		return "silent for " + formatBriefDuration(silent)
	}
	return "alive"
}

func serverKindName(kind pb.ServerKind) string {
	if kind == pb.ServerKind_SERVER_KIND_TOOL {
		return "tool"
	}
	return "game server"
}

// formatHeldGrants is how many sessions it has; one that is gone has none, also where its profiles have not been visited
// since.
func formatHeldGrants(s *pb.Server) string {
	if !s.GetAlive() {
		return ""
	}
	return strconv.FormatUint(s.GetSessions(), 10)
}

// formatSilence is the time since the leader heard a game server; empty when the asked node does not lead and so cannot know.
func formatSilence(alive bool, silentMS int64) string {
	if silentMS < 0 || !alive {
		return ""
	}
	return formatBriefDuration(durationOfMS(silentMS)) + " ago"
}

func durationOfMS(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

func formatBriefDuration(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

type serverJSON struct {
	Incarnation string     `json:"incarnation"`
	Name        string     `json:"name"`
	Where       string     `json:"where,omitempty"`
	Kind        string     `json:"kind"`
	Alive       bool       `json:"alive"`
	Since       string     `json:"since"`
	Sessions    uint64     `json:"sessions"`
	Wanted      uint64     `json:"wanted"`
	SilentMS    *int64     `json:"silent_ms"` // null: not known
	Gossip      string     `json:"gossip,omitempty"`
	Timing      timingJSON `json:"timing"`           // as its class was when it registered
	Ground      string     `json:"ground,omitempty"` // of one that is gone
	Ended       string     `json:"ended,omitempty"`
}

func serverToJSON(s *pb.Server) serverJSON {
	shape := serverJSON{
		Incarnation: strconv.FormatUint(s.GetIncarnation(), 10), Name: s.GetName(), Where: s.GetWhere(), Kind: serverKindName(s.GetKind()),
		Alive: s.GetAlive(), Since: formatTime(s.GetSinceMs()), Sessions: s.GetSessions(), Wanted: s.GetWanted(), Gossip: s.GetGossip(),
		Timing: timingToJSON(s.GetTiming()), Ground: s.GetGround(), Ended: formatTime(s.GetEndedMs()),
	}
	if silent := s.GetSilentMs(); silent >= 0 {
		shape.SilentMS = &silent
	}
	return shape
}
