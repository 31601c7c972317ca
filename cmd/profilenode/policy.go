package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

func policyCommand(p process) *cobra.Command {
	var resets []string
	command := &cobra.Command{
		Use:   "policy [STORE] [NAME=VALUE...]",
		Short: "show or change limits and defaults, of one store or of every store",
		Long: `policy shows the policies of a store, or without STORE the defaults of every store. NAME=VALUE changes one first.
Policies lie in the log: they hold on every node from the same moment on. max-waiters and max_waiters are the same name.`,
		Example: `  profilenode policy
  profilenode policy players max-waiters=4
  profilenode policy players --reset max-waiters`,
		Args: cobra.ArbitraryArgs,
	}
	a := addClusterFlags(p, command)
	command.Flags().StringSliceVar(&resets, "reset", nil, "`names` that go back to the default")
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		store, changes, err := parsePolicies(args, resets)
		if err != nil {
			return &usageError{err}
		}
		return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			if err := setPolicies(ctx, c, changes); err != nil {
				return err
			}
			return showPolicies(ctx, a, c, store)
		})
	})
	return command
}

func parsePolicies(args, resets []string) (store string, changes []*pb.SetPolicyRequest, err error) {
	if len(args) > 0 && !strings.Contains(args[0], "=") {
		store, args = args[0], args[1:]
	}
	for _, arg := range args {
		name, text, ok := strings.Cut(arg, "=")
		if !ok {
			return "", nil, fmt.Errorf("%q is not of the form name=value", arg)
		}
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "", nil, fmt.Errorf("%q has no whole number behind the =", arg)
		}
		changes = append(changes, &pb.SetPolicyRequest{Store: store, Name: policyName(name), Value: value})
	}
	for _, name := range resets {
		changes = append(changes, &pb.SetPolicyRequest{Store: store, Name: policyName(name), Inherit: true})
	}
	return store, changes, nil
}

// policyName is the name as the log has it.
func policyName(text string) string { return strings.ReplaceAll(text, "-", "_") }

func setPolicies(ctx context.Context, c *clusterConn, changes []*pb.SetPolicyRequest) error {
	if len(changes) == 0 {
		return nil
	}
	return withRegisteredTool(ctx, c, func(t *registeredTool) error {
		for _, change := range changes {
			err := t.changeAndSettle(ctx, pb.Cluster_SetPolicy_FullMethodName, change, &pb.SetPolicyResponse{})
			if err != nil {
				return fmt.Errorf("%s: %w", change.GetName(), err)
			}
		}
		return nil
	})
}

func showPolicies(ctx context.Context, a *clusterFlags, c *clusterConn, store string) error {
	reply := &pb.GetPolicyResponse{}
	if err := c.ask(ctx, pb.Cluster_GetPolicy_FullMethodName, &pb.GetPolicyRequest{Store: store}, reply); err != nil {
		return err
	}
	t := newTextTable(discardIf(a.json, a.p.out), "NAME", "VALUE", "UNIT", "FROM", "MEANING")
	for _, policy := range reply.GetPolicies() {
		if a.json {
			if err := printJSON(a.p.out, policyJSON{
				policy.GetName(), policy.GetValue(), policy.GetUnit(), policy.GetInherited(), policy.GetHelp(),
			}); err != nil {
				return err
			}
			continue
		}
		from := "here"
		if policy.GetInherited() {
			from = "default"
		}
		t.addRow(policy.GetName(), strconv.FormatInt(policy.GetValue(), 10), policy.GetUnit(), from, policy.GetHelp())
	}
	return t.flush()
}

type policyJSON struct {
	Name      string `json:"name"`
	Value     int64  `json:"value"`
	Unit      string `json:"unit"`
	Inherited bool   `json:"inherited"`
	Help      string `json:"help"`
}
