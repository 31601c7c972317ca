package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

func messagesCommand(p process) *cobra.Command {
	var stale, neverSaved bool
	command := &cobra.Command{
		Use:   "messages STORE [KEY]",
		Short: "list a profile's messages, also those that were set aside, or the profiles that have some",
		Long: `Without a key, messages lists the profiles of a store in which messages wait or were set aside, those too that were never
saved: list does not show them. With one it lists what waits in a profile, and what was set aside: a message whose handler panicked three times is kept
and offered to no game server, so that it cannot end one session after the other. Text is what the handler panicked with last.

A message waits until a handler of its kind takes it; one that waits for long may be of a kind that no game server handles.`,
		Example: `  profilenode messages players
  profilenode messages players --never-saved
  profilenode messages players alice
  profilenode messages players alice --json
  profilenode messages clear players alice 7`,
		Args: cobra.RangeArgs(1, 2),
	}
	a := addClusterFlags(p, command)
	command.Flags().BoolVar(&stale, "stale", false, "ask any node, which may lag behind")
	command.Flags().BoolVar(&neverSaved, "never-saved", false, "without a key: only the profiles that were never saved")
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		if len(args) == 1 {
			return listInboxes(ctx, a, &pb.InboxesRequest{Store: args[0], Mode: readModeFor(stale), NeverSaved: neverSaved})
		}
		if neverSaved {
			return &usageError{errors.New("--never-saved is for the list of profiles: leave the key out")}
		}
		return listMessages(ctx, a, &pb.MessagesRequest{Store: args[0], Key: args[1], Mode: readModeFor(stale), SetAside: true})
	})
	command.AddCommand(clearMessageCommand(p))
	return command
}

// listInboxes asks page by page; the time limit is for each.
func listInboxes(ctx context.Context, a *clusterFlags, request *pb.InboxesRequest) error {
	t := newTextTable(discardIf(a.json, a.p.out), "KEY", "WAITING", "SET ASIDE", "BYTES", "PROFILE")
	for {
		reply := &pb.InboxesResponse{}
		if err := a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			return c.ask(ctx, pb.Profiles_Inboxes_FullMethodName, request, reply)
		}); err != nil {
			return err
		}
		for _, box := range reply.GetInboxes() {
			state := inboxProfile(box)
			if a.json {
				if err := printJSON(a.p.out, inboxJSON{request.GetStore(), box.GetKey(), box.GetWaiting(), box.GetSetAside(), box.GetBytes(), state}); err != nil {
					return err
				}
				continue
			}
			t.addRow(escapeUnprintable(box.GetKey()), strconv.FormatUint(box.GetWaiting(), 10), strconv.FormatUint(box.GetSetAside(), 10),
				strconv.FormatUint(box.GetBytes(), 10), state)
		}
		if request.After = reply.GetNext(); request.After == "" {
			return t.flush()
		}
	}
}

func inboxProfile(box *pb.Inbox) string {
	switch {
	case box.GetNeverSaved():
		return "never saved"
	case box.GetRemoved():
		return "removed"
	}
	return "saved"
}

type inboxJSON struct {
	Store    string `json:"store"`
	Key      string `json:"key"`
	Waiting  uint64 `json:"waiting"`
	SetAside uint64 `json:"set_aside"`
	Bytes    uint64 `json:"bytes"` // of the bodies of both
	Profile  string `json:"profile"`
}

// listMessages prints the messages of a profile.
func listMessages(ctx context.Context, a *clusterFlags, request *pb.MessagesRequest) error {
	t := newTextTable(discardIf(a.json, a.p.out), "ID", "KIND", "SENDER", "AGE", "SIZE", "PANICS", "STATE", "TEXT")
	err := eachMessage(ctx, a, request, func(m *pb.Message) error {
		if a.json {
			return printJSON(a.p.out, messageToJSON(m))
		}
		t.addRow(strconv.FormatUint(m.GetId(), 10), escapeUnprintable(m.GetKind()), escapeUnprintable(m.GetSender()), messageAge(m).String(),
			strconv.Itoa(len(m.GetBody())), strconv.FormatUint(uint64(m.GetPanics()), 10), messageState(m), escapeUnprintable(m.GetPanicText()))
		return nil
	})
	if err != nil {
		return err
	}
	return t.flush()
}

// eachMessage calls act with each message that is asked for. It asks page by page; the time limit is for each.
func eachMessage(ctx context.Context, a *clusterFlags, request *pb.MessagesRequest, act func(*pb.Message) error) error {
	for {
		reply := &pb.MessagesResponse{}
		if err := a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			return c.ask(ctx, pb.Profiles_Messages_FullMethodName, request, reply)
		}); err != nil {
			return err
		}
		if len(reply.GetMessages()) == 0 {
			return nil
		}
		for _, m := range reply.GetMessages() {
			request.After = m.GetId()
			if err := act(m); err != nil {
				return err
			}
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
	var all bool
	command := &cobra.Command{
		Use:   "clear STORE KEY {ID | --all}",
		Short: "take a message away, without its effect",
		Long: `clear takes a message away, one that waits as well as one that was set aside. Its effect is not applied. An owner that
has applied it already and has not saved it yet keeps the effect.`,
		Example: `  profilenode messages clear players alice 7
  profilenode messages clear players alise --all`,
		Args: cobra.RangeArgs(2, 3),
	}
	a := addClusterFlags(p, command)
	command.Flags().BoolVar(&all, "all", false, "clear every message that is there now")
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		if all == (len(args) == 3) {
			return &usageError{fmt.Errorf("clear takes STORE KEY ID, or STORE KEY --all: profilenode messages %s %s lists the ids", args[0], args[1])}
		}
		if all {
			return clearAllMessages(ctx, a, args[0], args[1])
		}
		id, err := strconv.ParseUint(args[2], 10, 64)
		if err != nil || id == 0 {
			return &usageError{fmt.Errorf("%q is not the id of a message: profilenode messages %s %s lists them", args[2], args[0], args[1])}
		}
		return clearMessage(ctx, a, args[0], args[1], id)
	})
	return command
}

// clearMessage clears one message and says so. The time limit is for each.
func clearMessage(ctx context.Context, a *clusterFlags, store, key string, id uint64) error {
	return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
		request := &pb.ClearMessageRequest{Store: store, Key: key, Id: id}
		if err := changeOnce(ctx, c, pb.Profiles_ClearMessage_FullMethodName, request, &pb.ClearMessageResponse{}); err != nil {
			return err
		}
		if a.json {
			return printObject(a.p.out, struct {
				Store string `json:"store"`
				Key   string `json:"key"`
				ID    string `json:"id"`
			}{store, key, strconv.FormatUint(id, 10)})
		}
		_, err := fmt.Fprintf(a.p.err, "cleared message %d of %s/%s\n", id, store, key)
		return err
	})
}

// clearAllMessages clears the messages that are there when it begins.
func clearAllMessages(ctx context.Context, a *clusterFlags, store, key string) error {
	var ids []uint64
	err := eachMessage(ctx, a, &pb.MessagesRequest{Store: store, Key: key, SetAside: true}, func(m *pb.Message) error {
		ids = append(ids, m.GetId())
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := clearMessage(ctx, a, store, key, id); err != nil {
			return err
		}
	}
	return nil
}
