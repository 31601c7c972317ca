package client_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/lock"
)

// town is a cluster as a client sees it, with faults that a real one cannot be asked for. It knows just enough of the
// rules: numbers, grants, revisions, messages. It has no log.
type town struct {
	nodes map[string]*fakeNode

	mu       sync.Mutex
	leader   string
	timing   *profilev1.Timing // nil: the default
	index    uint64
	lives    map[uint64]*fakeLife
	profiles map[client.Ref]*fakeProfile
	// before is asked before a call reaches the rules, after when its answer leaves; an error is the answer instead.
	before, after func(node, method string, request proto.Message) error
	calls         []string // methods that reached the rules, in order
}

type fakeLife struct {
	name    string
	alive   bool
	answers map[uint64]fakeAnswer
	stream  profilev1.Profiles_LiveServer
}

type fakeAnswer struct {
	hash    uint64
	message proto.Message
	refusal *profilev1.Refusal
}

type fakeProfile struct {
	revision, token, owner, loads uint64
	codec                         uint32
	exists                        bool
	data                          []byte
	waiters                       []lock.Waiter
	messages                      []*profilev1.Message
	lastMessage                   uint64
}

type fakeNode struct {
	profilev1.UnimplementedProfilesServer
	town *town
	addr string
	lis  *bufconn.Listener
	cut  chan struct{} // closed: nothing arrives any more
}

func newTown(t testing.TB, addrs ...string) *town {
	town := &town{nodes: map[string]*fakeNode{}, lives: map[uint64]*fakeLife{}, profiles: map[client.Ref]*fakeProfile{}, leader: addrs[0], index: 100}
	for _, addr := range addrs {
		n := &fakeNode{town: town, addr: addr, lis: bufconn.Listen(1 << 20)}
		town.nodes[addr] = n
		server := grpc.NewServer(grpc.MaxRecvMsgSize(6<<20), grpc.UnaryInterceptor(n.unary))
		profilev1.RegisterProfilesServer(server, n)
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = server.Serve(n.lis)
		}()
		t.Cleanup(func() {
			server.Stop()
			<-served
		})
	}
	return town
}

func (town *town) config(name string) client.Config {
	return client.Config{
		Seeds: slices.Sorted(maps.Keys(town.nodes)), Name: name, Insecure: true, Autosave: -1,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			n := town.nodes[addr]
			if n == nil {
				return nil, fmt.Errorf("no node at %s", addr)
			}
			return n.lis.DialContext(ctx)
		},
	}
}

func (town *town) open(t testing.TB, config client.Config) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Open(ctx, config)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// set changes the town under its lock.
func (town *town) set(f func()) {
	town.mu.Lock()
	defer town.mu.Unlock()
	f()
}

func (town *town) count(method string) int {
	town.mu.Lock()
	defer town.mu.Unlock()
	n := 0
	for _, m := range town.calls {
		if m == method {
			n++
		}
	}
	return n
}

// unary is where every call but Live passes.
func (n *fakeNode) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	method := info.FullMethod[len("/profilenode.v1.Profiles/"):]
	n.town.mu.Lock()
	before, after, leader := n.town.before, n.town.after, n.town.leader
	n.town.mu.Unlock()
	if before != nil {
		if err := before(n.addr, method, request.(proto.Message)); err != nil {
			return nil, err
		}
	}
	if leader != n.addr {
		return nil, refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_NOT_LEADER, Leader: leader})
	}
	answer, err := handle(ctx, request)
	if after != nil {
		if err := after(n.addr, method, request.(proto.Message)); err != nil {
			return nil, err
		}
	}
	return answer, err
}

func refuse(r *profilev1.Refusal) error {
	st, err := status.New(codes.FailedPrecondition, r.Reason.String()).WithDetails(r)
	if err != nil {
		panic(err)
	}
	return st.Err()
}

// apply is the log: it asks the table of answers before the rules.
func apply[A proto.Message](town *town, method string, asks *profilev1.Request, rule func() (A, *profilev1.Refusal)) (A, error) {
	var none A
	town.mu.Lock()
	defer town.mu.Unlock()
	town.calls = append(town.calls, method)
	town.index++
	life := town.lives[asks.Incarnation]
	if life == nil {
		return none, refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_SERVER_GONE, Index: town.index})
	}
	if a, ok := life.answers[asks.Number]; ok {
		if a.hash != asks.Hash {
			return none, refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_CLONED, Index: town.index})
		}
		if a.refusal != nil {
			return none, refuse(a.refusal)
		}
		return a.message.(A), nil
	}
	if !life.alive {
		return none, refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_SERVER_GONE, Index: town.index})
	}
	answer, refusal := rule()
	if refusal != nil {
		refusal.Index = town.index
		life.answers[asks.Number] = fakeAnswer{hash: asks.Hash, refusal: refusal}
		return none, refuse(refusal)
	}
	life.answers[asks.Number] = fakeAnswer{hash: asks.Hash, message: answer}
	return answer, nil
}

func (town *town) profile(store, key string) *fakeProfile {
	p := town.profiles[client.Ref{Store: store, Key: key}]
	if p == nil {
		p = &fakeProfile{}
		town.profiles[client.Ref{Store: store, Key: key}] = p
	}
	if p.owner != 0 && !town.lives[p.owner].alive {
		p.owner = 0
	}
	return p
}

func (town *town) wire(store, key string, p *fakeProfile) *profilev1.Profile {
	hash := sha256.Sum256(p.data)
	return &profilev1.Profile{Store: store, Key: key, Revision: p.revision, Exists: p.exists, Codec: p.codec, Data: p.data, Hash: hash[:]}
}

func (town *town) owner(id uint64) *profilev1.Owner {
	if id == 0 {
		return nil
	}
	return &profilev1.Owner{Incarnation: id, Name: town.lives[id].name, InForce: true}
}

// tell is called under mu. A stream without a reader would block it; these streams have one.
func (town *town) tell(id uint64, event *profilev1.Event) {
	if l := town.lives[id]; l != nil && l.stream != nil {
		_ = l.stream.Send(event)
	}
}

func (n *fakeNode) Register(_ context.Context, q *profilev1.RegisterRequest) (*profilev1.RegisterResponse, error) {
	n.town.mu.Lock()
	defer n.town.mu.Unlock()
	n.town.index++
	for _, l := range n.town.lives {
		if l.alive && l.name == q.Name {
			return nil, refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_NAME_HELD, Index: n.town.index, Owner: &profilev1.Owner{Incarnation: 1, Name: q.Name}})
		}
	}
	id := n.town.index
	n.town.lives[id] = &fakeLife{name: q.Name, alive: true, answers: map[uint64]fakeAnswer{}}
	return &profilev1.RegisterResponse{Incarnation: id, Cluster: []byte("town"), Epoch: 1, Timing: n.town.timing, Nodes: slices.Sorted(maps.Keys(n.town.nodes))}, nil
}

func (n *fakeNode) Live(stream profilev1.Profiles_LiveServer) error {
	for {
		renewal, err := stream.Recv()
		if err != nil {
			return err
		}
		n.town.mu.Lock()
		before, leader, life := n.town.before, n.town.leader, n.town.lives[renewal.Incarnation]
		n.town.mu.Unlock()
		if before != nil {
			if err := before(n.addr, "Live", renewal); err != nil {
				return err
			}
		}
		if leader != n.addr {
			return refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_NOT_LEADER, Leader: leader})
		}
		if life == nil || !life.alive {
			return refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_SERVER_GONE})
		}
		n.town.mu.Lock()
		life.stream = stream
		answer := &profilev1.Renewed{Sequence: renewal.Sequence, ProvedTerm: 1, Index: n.town.index}
		count, hash := uint64(0), uint64(0)
		for ref, p := range n.town.profiles {
			if p.owner == renewal.Incarnation {
				count++
				hash = lock.HeldHash(hash, lock.Token(p.token))
				answer.Grants = append(answer.Grants, &profilev1.Granted{Store: ref.Store, Key: ref.Key, Token: p.token, Ticket: p.token})
			}
		}
		if answer.Differs = count != renewal.HeldCount || hash != renewal.HeldHash; !answer.Differs {
			answer.Grants = nil
		}
		err = stream.Send(&profilev1.Event{What: &profilev1.Event_Renewed{Renewed: answer}})
		n.town.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

func (n *fakeNode) EndServer(_ context.Context, q *profilev1.EndServerRequest) (*profilev1.EndServerResponse, error) {
	return apply(n.town, "EndServer", q.Request, func() (*profilev1.EndServerResponse, *profilev1.Refusal) {
		n.town.lives[q.Request.Incarnation].alive = false
		return &profilev1.EndServerResponse{}, nil
	})
}

func (n *fakeNode) Settle(_ context.Context, q *profilev1.SettleRequest) (*profilev1.SettleResponse, error) {
	n.town.mu.Lock()
	defer n.town.mu.Unlock()
	n.town.calls = append(n.town.calls, "Settle")
	life := n.town.lives[q.Request.Incarnation]
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

func (n *fakeNode) Save(_ context.Context, q *profilev1.SaveRequest) (*profilev1.SaveResponse, error) {
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
		p.messages = append(slices.Clone(p.messages), &profilev1.Message{Id: p.lastMessage, Body: q.Body})
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
