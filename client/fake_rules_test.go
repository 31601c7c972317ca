package client_test

import (
	"context"
	"slices"
	"strconv"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/lock"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func (n *fakeNode) EndServer(_ context.Context, q *profilev1.EndServerRequest) (*profilev1.EndServerResponse, error) {
	return apply(n.town, "EndServer", q.Request, func() (*profilev1.EndServerResponse, *profilev1.Refusal) {
		n.town.incarnations[q.Request.Incarnation].alive = false
		return &profilev1.EndServerResponse{}, nil
	})
}

func (n *fakeNode) Settle(_ context.Context, q *profilev1.SettleRequest) (*profilev1.SettleResponse, error) {
	n.town.mu.Lock()
	defer n.town.mu.Unlock()
	n.town.calls = append(n.town.calls, "Settle")
	life := n.town.incarnations[q.Request.Incarnation]
	if a, ok := life.answers[q.Request.Number]; ok {
		if a.refusal != nil {
			return &profilev1.SettleResponse{Reason: a.refusal.Reason}, nil
		}
		answer := &profilev1.SettleResponse{}
		if s, ok := a.message.(*profilev1.StartSessionResponse); ok {
			answer.Queued, answer.Stands = s.Queued, s.Stands
		}
		return answer, nil
	}
	life.answers[q.Request.Number] = fakeAnswer{hash: q.Request.Hash, refusal: &profilev1.Refusal{Reason: profilev1.Reason_REASON_BURNED}}
	return &profilev1.SettleResponse{Reason: profilev1.Reason_REASON_BURNED}, nil
}

func (n *fakeNode) StartSession(_ context.Context, q *profilev1.StartSessionRequest) (*profilev1.StartSessionResponse, error) {
	return apply(n.town, "StartSession", q.Request, func() (*profilev1.StartSessionResponse, *profilev1.Refusal) {
		p := n.town.profile(q.Store, q.Key)
		if p.owner != 0 {
			if q.WhenOwned == profilev1.WhenOwned_WHEN_OWNED_REFUSE || p.owner == q.Request.Incarnation {
				return nil, &profilev1.Refusal{Reason: profilev1.Reason_REASON_OWNED, Owner: n.town.owner(p.owner)}
			}
			p.waiters = append(p.waiters, lock.Waiter{Server: lock.Incarnation(q.Request.Incarnation), Ticket: lock.Token(n.town.index)})
			n.town.tell(p.owner, &profilev1.Event{What: &profilev1.Event_LetGo{LetGo: &profilev1.LetGo{Store: q.Store, Key: q.Key, Token: p.token}}})
			return &profilev1.StartSessionResponse{Queued: true, Stands: &profilev1.Stands{Token: n.town.index}}, nil
		}
		p.owner, p.token = q.Request.Incarnation, n.town.index
		p.loads++
		return &profilev1.StartSessionResponse{
			Stands: &profilev1.Stands{Token: p.token, Revision: p.revision}, Profile: n.town.wire(q.Store, q.Key, p), LoadCount: p.loads, Messages: p.messages,
		}, nil
	})
}

func (n *fakeNode) Cancel(_ context.Context, q *profilev1.CancelRequest) (*profilev1.CancelResponse, error) {
	return apply(n.town, "Cancel", q.Request, func() (*profilev1.CancelResponse, *profilev1.Refusal) {
		p := n.town.profile(q.Store, q.Key)
		i := slices.IndexFunc(p.waiters, func(w lock.Waiter) bool { return uint64(w.Ticket) == q.Ticket })
		if i < 0 {
			return nil, &profilev1.Refusal{Reason: profilev1.Reason_REASON_NOT_WAITING}
		}
		p.waiters = slices.Delete(p.waiters, i, i+1)
		return &profilev1.CancelResponse{}, nil
	})
}

func (n *fakeNode) Save(ctx context.Context, q *profilev1.SaveRequest) (*profilev1.SaveResponse, error) {
	said := metadata.ValueFromIncomingContext(ctx, profilev1.BytesKey)
	if len(q.Data) > profilev1.UnannouncedBytes && !slices.Equal(said, []string{strconv.Itoa(len(q.Data))}) {
		return nil, status.Errorf(codes.InvalidArgument, "%d bytes were announced as %v", len(q.Data), said)
	}
	return apply(n.town, "Save", q.Request, func() (*profilev1.SaveResponse, *profilev1.Refusal) {
		p := n.town.profile(q.Store, q.Key)
		if p.owner != q.Request.Incarnation || p.token != q.Token {
			return nil, &profilev1.Refusal{Reason: profilev1.Reason_REASON_FENCED}
		}
		if p.revision != q.Base {
			return nil, &profilev1.Refusal{Reason: profilev1.Reason_REASON_REVISION_DIFFERS, Revision: p.revision}
		}
		for _, id := range q.ClearMessages {
			if !slices.ContainsFunc(p.messages, func(m *profilev1.Message) bool { return m.Id == id }) {
				return nil, &profilev1.Refusal{Reason: profilev1.Reason_REASON_NO_MESSAGE}
			}
		}
		p.messages = slices.DeleteFunc(slices.Clone(p.messages), func(m *profilev1.Message) bool { return slices.Contains(q.ClearMessages, m.Id) })
		p.revision++
		p.data, p.codec, p.exists = q.Data, q.Codec, true
		if q.End {
			n.town.free(q.Store, q.Key, p)
		}
		return &profilev1.SaveResponse{Stands: &profilev1.Stands{Revision: p.revision, Token: q.Token}}, nil
	})
}

func (n *fakeNode) Release(_ context.Context, q *profilev1.ReleaseRequest) (*profilev1.ReleaseResponse, error) {
	return apply(n.town, "Release", q.Request, func() (*profilev1.ReleaseResponse, *profilev1.Refusal) {
		p := n.town.profile(q.Store, q.Key)
		if p.owner != q.Request.Incarnation || p.token != q.Token {
			return nil, &profilev1.Refusal{Reason: profilev1.Reason_REASON_FENCED}
		}
		for _, panicked := range q.Panics {
			for _, m := range p.messages {
				if m.Id == panicked.Message {
					m.Panics++
					m.PanicText = panicked.Text
				}
			}
		}
		n.town.free(q.Store, q.Key, p)
		return &profilev1.ReleaseResponse{}, nil
	})
}

func (town *town) free(store, key string, p *fakeProfile) {
	p.owner = 0
	if len(p.waiters) > 0 {
		next := p.waiters[0]
		p.waiters = p.waiters[1:]
		p.owner, p.token = uint64(next.Server), town.index
		p.loads++
		town.tell(p.owner, &profilev1.Event{What: &profilev1.Event_Granted{Granted: &profilev1.Granted{Store: store, Key: key, Token: p.token, Ticket: uint64(next.Ticket)}}})
	}
}

func (n *fakeNode) Send(_ context.Context, q *profilev1.SendRequest) (*profilev1.SendResponse, error) {
	return apply(n.town, "Send", q.Request, func() (*profilev1.SendResponse, *profilev1.Refusal) {
		p := n.town.profile(q.Store, q.Key)
		p.lastMessage++
		p.messages = append(slices.Clone(p.messages), &profilev1.Message{Id: p.lastMessage, Body: q.Body, Kind: q.Kind})
		n.town.tell(p.owner, &profilev1.Event{What: &profilev1.Event_Message{Message: &profilev1.MessageWaits{Store: q.Store, Key: q.Key, Id: p.lastMessage}}})
		return &profilev1.SendResponse{Id: p.lastMessage}, nil
	})
}

func (n *fakeNode) Messages(_ context.Context, q *profilev1.MessagesRequest) (*profilev1.MessagesResponse, error) {
	n.town.mu.Lock()
	defer n.town.mu.Unlock()
	answer := &profilev1.MessagesResponse{}
	for _, m := range n.town.profile(q.Store, q.Key).messages {
		if m.Id > q.After {
			answer.Messages = append(answer.Messages, m)
		}
	}
	return answer, nil
}

func (n *fakeNode) Get(_ context.Context, q *profilev1.GetRequest) (*profilev1.GetResponse, error) {
	n.town.mu.Lock()
	defer n.town.mu.Unlock()
	p := n.town.profile(q.Store, q.Key)
	return &profilev1.GetResponse{
		Stands: &profilev1.Stands{Token: p.token, Revision: p.revision}, Profile: n.town.wire(q.Store, q.Key, p),
		Owner: n.town.owner(p.owner), Messages: uint64(len(p.messages)), LoadCount: p.loads,
	}, nil
}
