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
	"github.com/profilenode/profilenode/client/clienttest"
	"github.com/profilenode/profilenode/internal/clienthooks"
	"github.com/profilenode/profilenode/lock"
)

// town is a cluster as a client sees it, with faults that a real one cannot be asked for. It knows just enough of the
// rules: numbers, grants, revisions, messages. It has no log.
type town struct {
	nodes map[string]*fakeNode

	mu           sync.Mutex
	leader       string
	restores     uint64            // how often the cluster was restored from a backup
	features     []string          // that it announces with the next renewals, if there are any
	unconfirmed  bool              // the leader cannot confirm its leadership
	unlisted     bool              // the leader's lists of grants are empty
	timing       *profilev1.Timing // nil: the default
	index        uint64
	incarnations map[uint64]*fakeIncarnation
	profiles     map[client.Ref]*fakeProfile
	// before is asked before a call reaches the rules, after when its answer leaves; an error is the answer instead.
	before, after func(node, method string, request proto.Message) error
	differed      int // renewals with another held set than the town's
	streams       []profilev1.Profiles_LiveServer
	calls         []string // methods that reached the rules, in order
}

type fakeIncarnation struct {
	name    string
	alive   bool
	nonce   []byte
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
}

func newTown(t testing.TB, addrs ...string) *town {
	town := &town{nodes: map[string]*fakeNode{}, incarnations: map[uint64]*fakeIncarnation{}, profiles: map[client.Ref]*fakeProfile{}, leader: addrs[0], index: 100}
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
	config := client.Config{Seeds: slices.Sorted(maps.Keys(town.nodes)), Name: name, Insecure: true, Autosave: -1}
	clienthooks.Of(&config).Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		n := town.nodes[addr]
		if n == nil {
			return nil, fmt.Errorf("no node at %s", addr)
		}
		return n.lis.DialContext(ctx)
	}
	return config
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
		_ = c.Shutdown(ctx)
	})
	return c
}

// playing is a town in which the game server "a" has a session of ann's profile.
func playing(t testing.TB, addrs ...string) (*town, *client.Store[player], *client.Profile[player]) {
	t.Helper()
	town := newTown(t, addrs...)
	store := clienttest.Store(t, town.open(t, town.config("a")), "players", player{})
	p, err := store.StartSession(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	return town, store, p
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
	var err error
	switch q := request.(type) {
	case *profilev1.RegisterRequest:
	case interface{ GetRequest() *profilev1.Request }:
		err = n.town.foreign(q.GetRequest().GetBinding())
	default:
		err = n.town.foreign(q.(interface{ GetBinding() uint64 }).GetBinding())
	}
	if err != nil {
		return nil, err
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

// foreign refuses a request that was meant for another cluster or epoch.
func (town *town) foreign(binding uint64) error {
	town.mu.Lock()
	defer town.mu.Unlock()
	if binding == lock.Binding([]byte("town"), 1+town.restores) {
		return nil
	}
	return refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_OTHER_CLUSTER, Cluster: []byte("town"), Epoch: 1 + town.restores})
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
	life := town.incarnations[asks.Incarnation]
	if life != nil && asks.Registration != lock.Registration(life.nonce) {
		return none, refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_OTHER_REGISTRATION, Index: town.index})
	}
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
	if headed, ok := any(answer).(interface{ GetStands() *profilev1.Stands }); ok && headed.GetStands() != nil {
		headed.GetStands().Index = town.index
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
	if p.owner != 0 && !town.incarnations[p.owner].alive {
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
	return &profilev1.Owner{Incarnation: id, Name: town.incarnations[id].name, InForce: true}
}

// tell is called under mu. A stream without a reader would block it; these streams have one.
func (town *town) tell(id uint64, event *profilev1.Event) {
	if l := town.incarnations[id]; l != nil && l.stream != nil {
		_ = l.stream.Send(event)
	}
}

func (n *fakeNode) Register(_ context.Context, q *profilev1.RegisterRequest) (*profilev1.RegisterResponse, error) {
	n.town.mu.Lock()
	defer n.town.mu.Unlock()
	n.town.index++
	for _, l := range n.town.incarnations {
		if l.alive && l.name == q.Name {
			return nil, refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_NAME_HELD, Index: n.town.index, Owner: &profilev1.Owner{Incarnation: 1, Name: q.Name}})
		}
	}
	id := n.town.index
	n.town.incarnations[id] = &fakeIncarnation{name: q.Name, alive: true, nonce: q.Nonce, answers: map[uint64]fakeAnswer{}}
	return &profilev1.RegisterResponse{Incarnation: id, Cluster: []byte("town"), Epoch: 1 + n.town.restores, Binding: lock.Binding([]byte("town"), 1+n.town.restores), Stands: &profilev1.Stands{Index: id}, Timing: n.town.timing, Nodes: slices.Sorted(maps.Keys(n.town.nodes))}, nil
}

func (n *fakeNode) Live(stream profilev1.Profiles_LiveServer) error {
	n.town.set(func() { n.town.streams = append(n.town.streams, stream) })
	for {
		renewal, err := stream.Recv()
		if err != nil {
			return err
		}
		n.town.mu.Lock()
		before, leader, life := n.town.before, n.town.leader, n.town.incarnations[renewal.Incarnation]
		n.town.mu.Unlock()
		if before != nil {
			if err := before(n.addr, "Live", renewal); err != nil {
				return err
			}
		}
		if err := n.town.foreign(renewal.Binding); err != nil {
			return err
		}
		if life != nil && renewal.Registration != lock.Registration(life.nonce) {
			return refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_OTHER_REGISTRATION})
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
		if n.town.features != nil {
			answer.Level, answer.Features = 2, n.town.features
		}
		count, hash := uint64(0), uint64(0)
		for ref, p := range n.town.profiles {
			if p.owner == renewal.Incarnation && !n.town.unlisted {
				count++
				hash = lock.HeldHash(hash, ref.Store, ref.Key, lock.Token(p.token))
				answer.Grants = append(answer.Grants, &profilev1.Granted{Store: ref.Store, Key: ref.Key, Token: p.token, Ticket: p.token})
			}
		}
		if answer.Differs = count != renewal.HeldCount || hash != renewal.HeldHash; !answer.Differs {
			answer.Grants = nil
		}
		if answer.Differs {
			n.town.differed++
		}
		if n.town.unconfirmed {
			answer = &profilev1.Renewed{Sequence: renewal.Sequence} // as a node that has not looked at its tables
		}
		err = stream.Send(&profilev1.Event{What: &profilev1.Event_Renewed{Renewed: answer}})
		n.town.mu.Unlock()
		if err != nil {
			return err
		}
	}
}
