package main

import (
	"context"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

func removeCommand(p process) *cobra.Command {
	var revision uint64
	var force, drop, any bool
	command := &cobra.Command{
		Use:   "remove STORE KEY",
		Short: "remove a profile",
		Long: `remove removes a profile. Its revision goes on counting, so that nothing meant for the old one lands on a new one.
It is refused when somebody saves in between, when a game server owns the profile, and while messages wait in it.`,
		Example: `  profilenode remove players alice
  profilenode remove players alice --revision 12 --drop-messages`,
		Args: requireArguments("STORE", "KEY"),
	}
	a := addClusterFlags(p, command)
	command.Flags().Uint64Var(&revision, "revision", 0, "the revision that is to be removed (default: the one that is there)")
	command.Flags().BoolVar(&any, "any-revision", false, "remove it whatever its revision is by then")
	command.MarkFlagsMutuallyExclusive("revision", "any-revision")
	command.Flags().BoolVar(&force, "force", false, "also when a game server owns it: it loses its session")
	command.Flags().BoolVar(&drop, "drop-messages", false, "also while messages wait in it, those set aside too: they are lost")
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			request := &pb.RemoveRequest{Store: args[0], Key: args[1], Expected: revision, AnyRevision: any, Force: force, DropMessages: drop}
			if !command.Flags().Changed("revision") && !any {
				current, err := c.getProfile(ctx, &pb.GetRequest{Store: args[0], Key: args[1], WithoutData: true})
				if err != nil {
					return err
				}
				if !current.GetProfile().GetExists() {
					return profileNotFound(args[0], args[1])
				}
				request.Expected = current.GetProfile().GetRevision()
			}
			var stands *pb.ReplyHeader
			err := withRegisteredTool(ctx, c, func(t *registeredTool) error {
				reply := &pb.RemoveResponse{}
				err := t.changeAndSettle(ctx, pb.Profiles_Remove_FullMethodName, request, reply)
				stands = reply.GetHeader()
				if t.settled != nil {
					stands = t.settled
				}
				return err
			})
			if err != nil {
				return err
			}
			return printReplyHeader(a, args[0], args[1], "removed", stands)
		})
	})
	return command
}
