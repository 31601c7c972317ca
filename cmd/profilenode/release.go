package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

const (
	// releaseTimeout leaves a mute owner the hand-off time, and the time after which it must be in doubt.
	releaseTimeout = 30 * time.Second

	releaseLook = 50 * time.Millisecond // between two looks at whether an owner has let go
)

func releaseCommand(p process) *cobra.Command {
	var force, wait bool
	var reason string
	command := &cobra.Command{
		Use:   "release STORE KEY",
		Short: "free a profile that a game server owns",
		Long: `release asks the game server that owns a profile to let go: it makes a last save and ends its session. One that does
not within the hand-off time of its timing class (10 s by default) is revoked, and its unsaved changes are lost.

With --force it is revoked at once. What the game changed since its last save is lost, and saves that are on their way are
refused. The next session starts as soon as the owner has said that it is over: milliseconds for a living one, 4.5 s for a
mute one. Game servers that wait for the profile get it in their order.

It is written to the audit, with the reason.`,
		Example: `  profilenode release players alice --reason "stuck in the lobby, ticket 4711" --wait
  profilenode release players alice --force`,
		Args: requireArguments("STORE", "KEY"),
	}
	a := addClusterFlags(p, command)
	command.Flags().BoolVar(&force, "force", false, "revoke the session at once: the owner's unsaved changes are lost")
	command.Flags().BoolVar(&wait, "wait", false, "return only when the session is over (the timeout is 30s then)")
	command.Flags().StringVar(&reason, "reason", "", "why, for the audit")
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		if wait && a.timeout == defaultTimeout && !command.Flags().Changed("timeout") {
			a.timeout = releaseTimeout
		}
		return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			r, err := requestRelease(ctx, c, &pb.ReleaseByOperatorRequest{Store: args[0], Key: args[1], Force: force, Reason: reason})
			if err != nil {
				return err
			}
			if !a.json {
				r.printOutcome(p)
			}
			if wait {
				if err := r.waitForRelease(ctx, c); err != nil {
					return err
				}
			}
			if a.json {
				return printObject(p.out, r.toJSON())
			}
			if wait {
				fmt.Fprintf(p.out, "its session is over after %v, at revision %d\n", r.took.Round(time.Millisecond), r.revision)
			}
			return nil
		})
	})
	return command
}

// releaseProgress is the state of a release.
type releaseProgress struct {
	request  *pb.ReleaseByOperatorRequest
	reply    *pb.ReleaseByOperatorResponse
	since    time.Time
	over     bool
	took     time.Duration // until it was over
	revision uint64
}

// requestRelease frees the session that is there now, and no later one.
func requestRelease(ctx context.Context, c *clusterConn, request *pb.ReleaseByOperatorRequest) (*releaseProgress, error) {
	current, err := c.getProfile(ctx, &pb.GetRequest{Store: request.GetStore(), Key: request.GetKey(), WithoutData: true})
	if err != nil {
		return nil, err
	}
	profile, owner := request.GetStore()+"/"+request.GetKey(), current.GetOwner()
	switch {
	case owner == nil && !current.GetProfile().GetExists() && current.GetLoadCount() == 0:
		return nil, profileNotFound(request.GetStore(), request.GetKey())
	case owner == nil:
		return nil, &hintedError{fmt.Errorf("no game server owns %s", profile), "there is no session to end: the next game server that asks for it gets it"}
	case !owner.GetInForce():
		return nil, &hintedError{fmt.Errorf("%s, which owned %s, is gone", escapeUnprintable(describeOwner(owner)), profile), "there is no session to end: the next game server that asks for it gets it"}
	}
	request.Token = current.GetHeader().GetToken()
	r := &releaseProgress{request: request, since: time.Now(), revision: current.GetProfile().GetRevision()}
	r.reply = &pb.ReleaseByOperatorResponse{}
	if err := changeOnce(ctx, c, pb.Cluster_ReleaseByOperator_FullMethodName, request, r.reply); err != nil {
		return nil, err
	}
	r.over = r.reply.GetOver()
	return r, nil
}

// waitForRelease looks until the session is over.
func (r *releaseProgress) waitForRelease(ctx context.Context, c *clusterConn) error {
	for {
		current, err := c.getProfile(ctx, &pb.GetRequest{Store: r.request.GetStore(), Key: r.request.GetKey(), WithoutData: true})
		switch {
		case ctx.Err() != nil:
			return &hintedError{fmt.Errorf("%s has not let go yet", escapeUnprintable(describeOwner(r.reply.GetOwner()))), r.nextStepHint()}
		case err != nil:
			return err
		}
		if current.GetHeader().GetToken() != r.request.GetToken() || !current.GetOwner().GetInForce() {
			r.over, r.took, r.revision = true, time.Since(r.since), current.GetProfile().GetRevision()
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(releaseLook):
		}
	}
}

func (r *releaseProgress) nextStepHint() string {
	if r.reply.GetRevoked() {
		return "the next session starts once it has, or must be in doubt; profilenode sessions shows it"
	}
	return "it was asked, and is revoked after the hand-off time; --force takes the profile from it at once"
}

func (r *releaseProgress) printOutcome(p process) {
	profile, owner := r.request.GetStore()+"/"+r.request.GetKey(), escapeUnprintable(describeOwner(r.reply.GetOwner()))
	switch {
	case r.request.GetForce() || r.reply.GetRevoked():
		fmt.Fprintf(p.out, "took %s from %s: its changes since revision %d are lost\n", profile, owner, r.reply.GetHeader().GetRevision())
	default:
		fmt.Fprintf(p.out, "asked %s to let go of %s: it saves and ends, or is revoked after %v\n", owner, profile, durationOfMS(r.reply.GetHandOffMs()))
	}
	if n := r.reply.GetWaiters(); n > 0 {
		fmt.Fprintf(p.out, "%d waiting: the first of them gets it\n", n)
	}
}

type releasedJSON struct {
	Store    string     `json:"store"`
	Key      string     `json:"key"`
	Token    string     `json:"token"`
	Owner    *ownerJSON `json:"owner"` // the former owner
	Forced   bool       `json:"forced"`
	Revoked  bool       `json:"revoked"`
	Over     bool       `json:"over"`
	Waiting  uint64     `json:"waiting"`
	Revision uint64     `json:"revision"`
	TookMS   *int64     `json:"took_ms,omitempty"` // with --wait
	Index    uint64     `json:"index"`
}

func (r *releaseProgress) toJSON() releasedJSON {
	shape := releasedJSON{
		Store: r.request.GetStore(), Key: r.request.GetKey(), Token: strconv.FormatUint(r.request.GetToken(), 10),
		Owner: ownerToJSON(r.reply.GetOwner()), Forced: r.request.GetForce(), Revoked: r.reply.GetRevoked(), Over: r.over,
		Waiting: r.reply.GetWaiters(), Revision: r.revision, Index: r.reply.GetHeader().GetIndex(),
	}
	if r.took > 0 {
		took := r.took.Milliseconds()
		shape.TookMS = &took
	}
	return shape
}
