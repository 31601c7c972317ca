package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

func listCommand(p process) *cobra.Command {
	var limit uint64
	var stale bool
	command := &cobra.Command{
		Use:   "list [STORE [PREFIX]]",
		Short: "list stores, or the profiles of a store",
		Args:  cobra.MaximumNArgs(2),
	}
	a := addClusterFlags(p, command)
	command.Flags().Uint64Var(&limit, "limit", 0, "stop after this many profiles (default: all)")
	command.Flags().BoolVar(&stale, "stale", false, "ask any node, which may lag behind")
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		request := &pb.ListRequest{Mode: readModeFor(stale)}
		if len(args) == 0 {
			return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error { return listStores(ctx, a, c, request) })
		}
		request.Store = args[0]
		if len(args) == 2 {
			request.Prefix = args[1]
		}
		return listProfiles(ctx, a, request, limit)
	})
	return command
}

func listStores(ctx context.Context, a *clusterFlags, c *clusterConn, request *pb.ListRequest) error {
	reply, err := c.listPage(ctx, request)
	if err != nil {
		return err
	}
	if a.json {
		for _, store := range reply.GetStores() {
			if err := printJSON(a.p.out, struct {
				Store string `json:"store"`
			}{store}); err != nil {
				return err
			}
		}
		return nil
	}
	t := newTextTable(a.p.out, "STORE")
	for _, store := range reply.GetStores() {
		t.addRow(escapeUnprintable(store))
	}
	return t.flush()
}

// listProfiles asks page by page; the time limit is for each, since a store may be long.
func listProfiles(ctx context.Context, a *clusterFlags, request *pb.ListRequest, limit uint64) error {
	t := newTextTable(discardIf(a.json, a.p.out), "KEY", "REVISION", "CODEC", "SAVED")
	for left := limit; ; {
		request.Limit = uint32(min(left, 1000)) // 0: the node's own page
		var reply *pb.ListResponse
		if err := a.withCluster(ctx, func(ctx context.Context, c *clusterConn) (err error) {
			reply, err = c.listPage(ctx, request)
			return err
		}); err != nil {
			return err
		}
		for _, profile := range reply.GetProfiles() {
			if a.json {
				if err := printJSON(a.p.out, profileToJSON(profile)); err != nil {
					return err
				}
				continue
			}
			t.addRow(escapeUnprintable(profile.GetKey()), strconv.FormatUint(profile.GetRevision(), 10),
				codecName(profile.GetCodec()), formatTime(profile.GetSavedMs()))
		}
		got := len(reply.GetProfiles())
		if limit > 0 {
			left -= min(left, uint64(got))
		}
		if !reply.GetMore() || (limit > 0 && left == 0) {
			return t.flush()
		}
		request.After = reply.GetNext()
	}
}

func (c *clusterConn) listPage(ctx context.Context, request *pb.ListRequest) (*pb.ListResponse, error) {
	reply := &pb.ListResponse{}
	err := c.ask(ctx, pb.Profiles_List_FullMethodName, request, reply)
	return reply, err
}
