package wire

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
)

// Registration is the registration of a tool: of its requests, each is answered and not repeated, however many copies of it
// are sent. Its requests count as signs of life; a program that holds sessions renews as well.
type Registration struct {
	Identity
	Numbers *Numbers
	nodes   *Nodes
}

// Identity is what each request of a registration states.
type Identity struct {
	Incarnation  uint64
	Binding      uint64 // of the cluster and its epoch
	Registration uint64 // the head of its nonce
}

// RequestHeader binds a request to its cluster and registration, under one of the registration's numbers.
func (i Identity) RequestHeader(numbers *Numbers, number, hash uint64) *profilev1.Request {
	return &profilev1.Request{
		Incarnation: i.Incarnation, Number: number, Settled: numbers.SettledMark(), Hash: hash,
		Binding: i.Binding, Registration: i.Registration,
	}
}

// Register registers, and gives the request a nonce if it has none.
func (n *Nodes) Register(ctx context.Context, request *profilev1.RegisterRequest) (*Registration, *profilev1.RegisterResponse, error) {
	if len(request.Nonce) == 0 {
		request.Nonce = make([]byte, 16)
		_, _ = rand.Read(request.Nonce) // never fails
	}
	answer := &profilev1.RegisterResponse{}
	if err := n.Call(ctx, profilev1.Profiles_Register_FullMethodName, request, answer); err != nil {
		return nil, nil, err
	}
	return &Registration{
		Identity: Identity{answer.GetIncarnation(), answer.GetBinding(), binary.BigEndian.Uint64(request.Nonce)},
		Numbers:  NewNumbers(), nodes: n,
	}, answer, nil
}

// Change makes a change: it takes a number, writes the header into the request and calls until that is answered. If the
// *CallError says that the request may have happened, Settle tells; until then its number is not settled.
func (r *Registration) Change(ctx context.Context, method string, request, answer proto.Message) error {
	hash, err := HashRequest(request)
	if err != nil {
		return err
	}
	number, ok := r.Numbers.TakeNumber(ctx, nil)
	if !ok {
		return context.Cause(ctx)
	}
	SetRequestHeader(request, r.RequestHeader(r.Numbers, number, hash))
	err = r.nodes.Call(ctx, method, request, answer)
	var failed *CallError
	if !errors.As(err, &failed) || failed.Fate != MayHaveHappened {
		r.Numbers.SettleNumber(number)
	}
	return err
}

// Settle asks for the outcome of a change whose answer was lost: with a nil error the change has happened, or it never will.
// No copy of it may be sent from here on.
func (r *Registration) Settle(ctx context.Context, change interface{ GetRequest() *profilev1.Request }) (*profilev1.SettleResponse, error) {
	defer r.Numbers.SettleNumber(change.GetRequest().GetNumber())
	answer := &profilev1.SettleResponse{}
	err := r.nodes.Call(ctx, profilev1.Profiles_Settle_FullMethodName, &profilev1.SettleRequest{Request: change.GetRequest()}, answer)
	return answer, err
}

// End ends the incarnation: the outcome of its unanswered requests is then final.
func (r *Registration) End(ctx context.Context) error {
	return r.Change(ctx, profilev1.Profiles_EndServer_FullMethodName, &profilev1.EndServerRequest{}, &profilev1.EndServerResponse{})
}
