package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

func messagesCommand(p process) *cobra.Command {
	var stale bool
	command := &cobra.Command{
		Use:   "messages STORE KEY",
		Short: "list a profile's messages, also those that were set aside",
		Long: `messages lists what waits in a profile, and what was set aside: a message whose handler panicked three times is kept
and offered to no game server, so that it cannot end one session after the other. Text is what the handler panicked with last.

A message waits until a handler of its kind takes it; one that waits for long may be of a kind that no game server handles.`,
		Example: `  profilenode messages players alice
  profilenode messages players alice --json
  profilenode messages clear players alice 7`,
		Args: requireArguments("STORE", "KEY"),
	}
	a := addClusterFlags(p, command)
	command.Flags().BoolVar(&stale, "stale", false, "ask any node, which may lag behind")
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		return listMessages(ctx, a, &pb.MessagesRequest{Store: args[0], Key: args[1], Mode: readModeFor(stale), SetAside: true})
	})
	command.AddCommand(clearMessageCommand(p))
	return command
}

// listMessages asks page by page; the time limit is for each.
func listMessages(ctx context.Context, a *clusterFlags, request *pb.MessagesRequest) error {
	t := newTextTable(discardIf(a.json, a.p.out), "ID", "KIND", "SENDER", "AGE", "SIZE", "PANICS", "STATE", "TEXT")
	for {
		reply := &pb.MessagesResponse{}
		if err := a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			return c.ask(ctx, pb.Profiles_Messages_FullMethodName, request, reply)
		}); err != nil {
			return err
		}
		if len(reply.GetMessages()) == 0 {
			return t.flush()
		}
		for _, m := range reply.GetMessages() {
			request.After = m.GetId()
			if a.json {
				if err := printJSON(a.p.out, messageToJSON(m)); err != nil {
					return err
				}
				continue
			}
			t.addRow(strconv.FormatUint(m.GetId(), 10), escapeUnprintable(m.GetKind()), escapeUnprintable(m.GetSender()), messageAge(m).String(),
				strconv.Itoa(len(m.GetBody())), strconv.FormatUint(uint64(m.GetPanics()), 10), messageState(m), escapeUnprintable(m.GetPanicText()))
		}
	}
}

func messageState(m *pb.Message) string {
	if m.GetSetAside() {
		return "set aside"
	}
	return "waiting"
}

// messageAge goes by this machine's clock.
func messageAge(m *pb.Message) time.Duration {
	return max(0, time.Since(time.UnixMilli(m.GetSentMs())).Truncate(time.Second))
}

type messageJSON struct {
	ID         string          `json:"id"`
	Kind       string          `json:"kind,omitempty"`
	Sender     string          `json:"sender"`
	Sent       string          `json:"sent"`
	AgeSeconds int64           `json:"age_seconds"`
	Size       int             `json:"size"`
	Panics     uint32          `json:"panics"`
	State      string          `json:"state"`
	Text       string          `json:"text,omitempty"` // text of the last handler's panic
	Body       json.RawMessage `json:"body,omitempty"` // when it is JSON
	BodyBase64 []byte          `json:"body_base64,omitempty"`
}

func messageToJSON(m *pb.Message) messageJSON {
	shape := messageJSON{
		ID: strconv.FormatUint(m.GetId(), 10), Kind: m.GetKind(), Sender: m.GetSender(), Sent: formatTime(m.GetSentMs()),
		AgeSeconds: int64(messageAge(m) / time.Second), Size: len(m.GetBody()), Panics: m.GetPanics(), State: messageState(m), Text: m.GetPanicText(),
	}
	if json.Valid(m.GetBody()) {
		shape.Body = m.GetBody()
	} else {
		shape.BodyBase64 = m.GetBody()
	}
	return shape
}

func clearMessageCommand(p process) *cobra.Command {
	command := &cobra.Command{
		Use:   "clear STORE KEY ID",
		Short: "take a message away, without its effect",
		Long: `clear takes a message away, one that waits as well as one that was set aside. Its effect is not applied. An owner that
has applied it already and has not saved it yet keeps the effect.`,
		Example: `  profilenode messages clear players alice 7`,
		Args:    requireArguments("STORE", "KEY", "ID"),
	}
	a := addClusterFlags(p, command)
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		id, err := strconv.ParseUint(args[2], 10, 64)
		if err != nil || id == 0 {
			return &usageError{fmt.Errorf("%q is not the id of a message: profilenode messages %s %s lists them", args[2], args[0], args[1])}
		}
		return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			request := &pb.ClearMessageRequest{Store: args[0], Key: args[1], Id: id}
			err := changeOnce(ctx, c, pb.Profiles_ClearMessage_FullMethodName, request, &pb.ClearMessageResponse{})
			if err != nil {
				return err
			}
			if a.json {
				return printObject(p.out, struct {
					Store string `json:"store"`
					Key   string `json:"key"`
					ID    string `json:"id"`
				}{args[0], args[1], strconv.FormatUint(id, 10)})
			}
			_, err = fmt.Fprintf(p.err, "cleared message %d of %s/%s\n", id, args[0], args[1])
			return err
		})
	})
	return command
}
