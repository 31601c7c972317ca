package server

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
)

const (
	messagePage  = 16      // messages read at a time
	messageBytes = 4 << 20 // of one answer
)

// Send queues a message to a profile.
func (s profilesService) Send(ctx context.Context, q *profilev1.SendRequest) (*profilev1.SendResponse, error) {
	if err := checkFieldErrors(q.GetRequest().GetNumber(), checkRequest(q.GetRequest()), checkProfile(q.GetStore(), q.GetKey()),
		checkBody(q.GetBody()), checkKind(q.GetKind())); err != nil {
		return nil, err
	}
	result, err := s.proposeChange(ctx, q.GetRequest(), &fsm.Send{Store: q.GetStore(), Key: q.GetKey(), Body: q.GetBody(), Kind: q.GetKind()})
	if err != nil {
		return nil, err
	}
	return &profilev1.SendResponse{Header: replyHeader(q.GetRequest(), result), Id: result.Message}, nil
}

// ClearMessage takes a message away without its effect.
func (s profilesService) ClearMessage(ctx context.Context, q *profilev1.ClearMessageRequest) (*profilev1.ClearMessageResponse, error) {
	if err := checkFieldErrors(q.GetRequest().GetNumber(), checkRequest(q.GetRequest()), checkProfile(q.GetStore(), q.GetKey())); err != nil {
		return nil, err
	}
	result, err := s.proposeChange(ctx, q.GetRequest(), &fsm.ClearMessage{Store: q.GetStore(), Key: q.GetKey(), Id: q.GetId()})
	if err != nil {
		return nil, err
	}
	return &profilev1.ClearMessageResponse{Header: replyHeader(q.GetRequest(), result)}, nil
}

// Messages lists the waiting messages of a profile, and those set aside if asked for, as much as one answer holds: ask again
// after the last id until none comes.
func (s profilesService) Messages(ctx context.Context, q *profilev1.MessagesRequest) (*profilev1.MessagesResponse, error) {
	if err := checkFieldErrors(0, checkProfile(q.GetStore(), q.GetKey()), checkMode(q.GetMode())); err != nil {
		return nil, err
	}
	view, err := s.openView(ctx, q.GetMode())
	if err != nil {
		return nil, err
	}
	defer func() { _ = view.Close() }()
	known, _, err := view.Profile(q.GetStore(), q.GetKey())
	if err != nil {
		return nil, s.refusals.brokenError(0, err)
	}
	box, err := view.Inbox(q.GetStore(), q.GetKey())
	if err != nil {
		return nil, s.refusals.brokenError(0, err)
	}
	count, read := box.Waiting, view.Messages
	if q.GetSetAside() {
		count, read = box.Waiting+box.SetAside, view.AllMessages
	}
	if err := readBytes(ctx, int(min(count*fsm.MaxMessage, messageBytes))); err != nil {
		return nil, err
	}
	list, err := readMessagePage(read, q.GetStore(), q.GetKey(), q.GetAfter(), messageBytes)
	if err != nil {
		return nil, s.refusals.brokenError(0, err)
	}
	return &profilev1.MessagesResponse{Header: readHeader(view, q.GetMode(), known.Revision, 0), Messages: list}, nil
}

// Inboxes lists the profiles of a store in which messages wait, or were set aside.
func (s profilesService) Inboxes(ctx context.Context, q *profilev1.InboxesRequest) (*profilev1.InboxesResponse, error) {
	if err := checkFieldErrors(0, checkMode(q.GetMode()), checkAfter("after", q.GetAfter()), checkStoreName(q.GetStore())); err != nil {
		return nil, err
	}
	view, err := s.openView(ctx, q.GetMode())
	if err != nil {
		return nil, err
	}
	defer func() { _ = view.Close() }()
	if err := readBytes(ctx, pageBytes); err != nil {
		return nil, err
	}
	list, next, err := view.Inboxes(q.GetStore(), q.GetAfter(), q.GetNeverSaved(), checkPage(q.GetLimit()))
	if err != nil {
		return nil, s.refusals.brokenError(0, err)
	}
	reply := &profilev1.InboxesResponse{Header: readHeader(view, q.GetMode(), 0, 0), Next: next}
	for _, box := range list {
		reply.Inboxes = append(reply.Inboxes, &profilev1.Inbox{
			Key: box.Key, Waiting: box.Waiting, SetAside: box.SetAside, Bytes: box.Bytes, NeverSaved: box.NeverSaved, Removed: box.Removed,
		})
	}
	return reply, nil
}

// readMessages is View.Messages or View.AllMessages.
type readMessages func(store, key string, after uint64, limit int) ([]fsm.Message, error)

// readMessagePage reads messages in order up to a number of bytes, at least one if there is one.
func readMessagePage(read readMessages, store, key string, after uint64, most int) ([]*profilev1.Message, error) {
	var list []*profilev1.Message
	size := 0
	for {
		page, err := read(store, key, after, messagePage)
		if err != nil {
			return nil, err
		}
		for _, m := range page {
			message := &profilev1.Message{
				Id: m.ID, Body: m.Body, Kind: m.Kind, Sender: m.Sender, SentMs: m.SentMS,
				Panics: uint32(m.Panics), PanicText: m.PanicText, SetAside: m.SetAside(),
			}
			if size += proto.Size(message) + 8; size > most && len(list) > 0 {
				return list, nil
			}
			list = append(list, message)
			after = m.ID
		}
		if len(page) < messagePage {
			return list, nil
		}
	}
}
