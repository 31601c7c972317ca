package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

func membersCommand(p process) *cobra.Command {
	command := &cobra.Command{
		Use:   "members",
		Short: "list the nodes of the cluster, and where others may join from",
		Long: `members lists the nodes of the cluster, and the addresses that an operator has let nodes join from. A node joins only from such
an address, or from one that the setting nodes of the leader lists.`,
		Example: `  profilenode members
  profilenode members add 10.0.0.4:7401
  profilenode members remove 3f2a
  profilenode members transfer`,
		Args: cobra.NoArgs,
	}
	a := addClusterFlags(p, command)
	command.RunE = runAct(func(ctx context.Context, _ []string) error {
		return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error { return listMembers(ctx, a, c) })
	})
	command.AddCommand(addMemberCommand(p), removeMemberCommand(p), transferCommand(p))
	return command
}

func removeMemberCommand(p process) *cobra.Command {
	command := &cobra.Command{
		Use:   "remove ID",
		Short: "take a node out of the cluster for good",
		Long: `remove takes a node out of the cluster for good: one whose host is lost, or one that is not needed any more. ID is the node's id, as
members prints it, or the beginning of it. Stop that node too: it is not let in again, and its data folder is of
no use afterwards. To have a node on that host, start it with an empty folder.

It is refused while the voters that would be left and that answer are no majority: start those that are down first.`,
		Example: `  profilenode members remove 3f2a`,
		Args:    requireArguments("ID"),
	}
	a := addClusterFlags(p, command)
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			id, err := findMember(ctx, c, args[0])
			if err != nil {
				return err
			}
			if err := c.ask(ctx, pb.Cluster_RemoveMember_FullMethodName, &pb.RemoveMemberRequest{Id: id}, &pb.RemoveMemberResponse{}); err != nil {
				return err
			}
			return listMembers(ctx, a, c)
		})
	})
	return command
}

// findMember returns the id of the one node whose id begins so.
func findMember(ctx context.Context, c *clusterConn, beginning string) (string, error) {
	status := &pb.StatusResponse{}
	if err := c.ask(ctx, pb.Cluster_Status_FullMethodName, &pb.StatusRequest{}, status); err != nil {
		return "", err
	}
	var found []string
	for _, m := range status.GetMembers() {
		if strings.HasPrefix(m.GetId(), beginning) {
			found = append(found, m.GetId())
		}
	}
	if len(found) != 1 {
		return "", &hintedError{fmt.Errorf("%d nodes have an id that begins with %q", len(found), beginning), "profilenode members lists them"}
	}
	return found[0], nil
}

func transferCommand(p process) *cobra.Command {
	command := &cobra.Command{
		Use:   "transfer",
		Short: "have the leader hand its leadership to another node",
		Long: `transfer has the leader hand its leadership to the voter that is furthest, before work on the leader's host for example. Sessions go on;
requests wait for some milliseconds.`,
		Example: `  profilenode members transfer`,
		Args:    cobra.NoArgs,
	}
	a := addClusterFlags(p, command)
	command.RunE = runAct(func(ctx context.Context, _ []string) error {
		return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			if err := c.ask(ctx, pb.Cluster_TransferLeadership_FullMethodName, &pb.TransferLeadershipRequest{}, &pb.TransferLeadershipResponse{}); err != nil {
				return err
			}
			return listMembers(ctx, a, c)
		})
	})
	return command
}

func addMemberCommand(p process) *cobra.Command {
	command := &cobra.Command{
		Use:   "add ADDRESS",
		Short: "let a node join from an address",
		Long: `add lets a node join from ADDRESS: host:port for nodes, exactly as that node advertises it (advertise-nodes). Start the node
before or after. It votes once it has caught up.`,
		Example: `  profilenode members add 10.0.0.4:7401`,
		Args:    requireArguments("ADDRESS"),
	}
	a := addClusterFlags(p, command)
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		request := &pb.AddMemberRequest{Address: args[0]}
		return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			if err := changeOnce(ctx, c, pb.Cluster_AddMember_FullMethodName, request, &pb.AddMemberResponse{}); err != nil {
				return err
			}
			return listMembers(ctx, a, c)
		})
	})
	return command
}

type memberJSON struct {
	Nodes   string `json:"nodes"` // address for nodes
	ID      string `json:"id,omitempty"`
	Clients string `json:"clients,omitempty"`
	State   string `json:"state"` // voter, learner, expected
	Leader  bool   `json:"leader"`
}

func listMembers(ctx context.Context, a *clusterFlags, c *clusterConn) error {
	expected, status := &pb.ExpectedMembersResponse{}, &pb.StatusResponse{}
	if err := c.ask(ctx, pb.Cluster_ExpectedMembers_FullMethodName, &pb.ExpectedMembersRequest{}, expected); err != nil {
		return err
	}
	if err := c.ask(ctx, pb.Cluster_Status_FullMethodName, &pb.StatusRequest{}, status); err != nil {
		return err
	}
	var list []memberJSON
	for _, m := range status.GetMembers() {
		state := "learner"
		if m.GetVoter() {
			state = "voter"
		}
		list = append(list, memberJSON{Nodes: m.GetAddress(), ID: m.GetId(), Clients: m.GetClient(), State: state, Leader: m.GetLeader()})
	}
	for _, address := range expected.GetAddresses() {
		if !slices.ContainsFunc(list, func(m memberJSON) bool { return m.Nodes == address }) {
			list = append(list, memberJSON{Nodes: address, State: "expected"})
		}
	}
	t := newTextTable(discardIf(a.json, a.p.out), "NODES", "STATE", "LEADER", "NODE", "CLIENTS")
	for _, m := range list {
		if a.json {
			if err := printJSON(a.p.out, m); err != nil {
				return err
			}
			continue
		}
		t.addRow(escapeUnprintable(m.Nodes), m.State, yesOrNo(m.Leader), abbreviateID(m.ID), escapeUnprintable(m.Clients))
	}
	return t.flush()
}

func alarmsCommand(p process) *cobra.Command {
	command := &cobra.Command{
		Use:   "alarms",
		Short: "clear an alarm that is kept in the log",
		Args:  cobra.NoArgs,
		RunE:  func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(clearAlarmCommand(p))
	return command
}

func clearAlarmCommand(p process) *cobra.Command {
	command := &cobra.Command{
		Use:   "clear CODE",
		Short: "clear an alarm that is kept until an operator has seen to it",
		Long: `clear takes away an alarm that stands in the log, such as ROLLED_BACK, once an operator has dealt with its cause. Others end by
themselves, when what they tell of does. That it was cleared, and by which user, is in the audit.`,
		Example: `  profilenode alarms clear ROLLED_BACK`,
		Args:    requireArguments("CODE"),
	}
	a := addClusterFlags(p, command)
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		request := &pb.ClearAlarmRequest{Code: args[0]}
		return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			err := changeOnce(ctx, c, pb.Cluster_ClearAlarm_FullMethodName, request, &pb.ClearAlarmResponse{})
			if wire.RefusalIn(err).GetReason() == pb.Reason_REASON_SUPERSEDED {
				return &hintedError{fmt.Errorf("no alarm %s is kept in the log", args[0]), "profilenode status shows every alarm; those that are not kept end by themselves"}
			}
			return err
		})
	})
	return command
}
