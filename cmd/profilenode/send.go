package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

func sendCommand(p process) *cobra.Command {
	var kind string
	command := &cobra.Command{
		Use:   "send STORE KEY JSON",
		Short: "send a message to a profile, whether or not it is owned",
		Long: `send queues a message to a profile. The game server that owns it, or the next one that does, gets it once.
The message is JSON; - reads it from stdin.`,
		Example: `  profilenode send players alice '{"item":"sword"}' --kind gift`,
		Args:    requireArguments("STORE", "KEY", "JSON"),
	}
	a := addClusterFlags(p, command)
	command.Flags().StringVar(&kind, "kind", "", "what the message is about, by which games choose its handler")
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		body := []byte(args[2])
		if args[2] == "-" {
			var err error
			if body, err = readData(p, "-"); err != nil {
				return err
			}
		}
		if !json.Valid(body) {
			return &usageError{errors.New(`the message is not valid JSON: quote it for the shell, such as '{"gift":"sword"}'`)}
		}
		return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			request := &pb.SendRequest{Store: args[0], Key: args[1], Body: body, Kind: kind}
			reply := &pb.SendResponse{}
			err := changeOnce(ctx, c, pb.Profiles_Send_FullMethodName, request, reply)
			if err != nil {
				return err
			}
			if a.json {
				return printObject(p.out, struct {
					Store string `json:"store"`
					Key   string `json:"key"`
					ID    string `json:"id"`
				}{args[0], args[1], strconv.FormatUint(reply.GetId(), 10)})
			}
			if reply.GetId() == 0 { // the answer was lost, and settling the number showed that it happened
				_, err = fmt.Fprintf(p.err, "sent to %s/%s\n", args[0], args[1])
				return err
			}
			_, err = fmt.Fprintf(p.err, "sent to %s/%s, message %d\n", args[0], args[1], reply.GetId())
			return err
		})
	})
	return command
}
