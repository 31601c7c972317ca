package server_test

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
	"github.com/profilenode/profilenode/lock"
)

// call is one call of the wire with an empty request.
type call struct {
	method  string
	in, out proto.Message
}

// calls are all of the wire's but the stream.
func calls(t *testing.T) (all []call) {
	t.Helper()
	services := profilev1.File_api_profilev1_profile_proto.Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			m := methods.Get(j)
			if m.IsStreamingClient() {
				continue
			}
			made := func(of protoreflect.MessageDescriptor) proto.Message {
				kind, err := protoregistry.GlobalTypes.FindMessageByName(of.FullName())
				if err != nil {
					t.Fatal(err)
				}
				return kind.New().Interface()
			}
			all = append(all, call{fmt.Sprintf("/%s/%s", services.Get(i).FullName(), m.Name()), made(m.Input()), made(m.Output())})
		}
	}
	return all
}

// as makes a request of a process out of an empty one.
func (c call) as(asks *profilev1.Request) call {
	in := c.in.ProtoReflect()
	fields := in.Descriptor().Fields()
	if renewal, ok := c.in.(*profilev1.Renewal); ok {
		renewal.Incarnation, renewal.Binding, renewal.Registration = asks.Incarnation, asks.Binding, asks.Registration
	} else if field := fields.ByName("request"); field != nil {
		in.Set(field, protoreflect.ValueOfMessage(proto.CloneOf(asks).ProtoReflect()))
	} else if field := fields.ByName("binding"); field != nil && asks.Binding != 0 {
		in.Set(field, protoreflect.ValueOfUint64(asks.Binding))
	}
	return c
}

// plain is a connection that adds nothing.
func (w *world) plain() *grpc.ClientConn {
	was := w.stamps
	w.stamps = &stamps{registrations: map[uint64]uint64{}}
	defer func() { w.stamps = was }()
	return w.dial()
}

// invoke calls over a connection that adds nothing, also no binding of 0.
func (w *world) invoke(conn *grpc.ClientConn, c call) error {
	return conn.Invoke(soon(w.t), c.method, c.in, c.out)
}

// countProposals counts what reaches the log.
func countProposals(n *fakeNode) (count func() int) {
	reached := 0
	n.Before = func(*fsm.Command) error { reached++; return nil }
	return func() int { return reached }
}

// Everything but Register and Status is refused without the cluster's binding, by every node and before it looks into the
// request. So a new call cannot be added without.
func TestEveryCallIsBoundToItsCluster(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("gs-1")
	conn, reached := w.plain(), countProposals(node)
	for _, leads := range []bool{true, false} {
		if !leads {
			node.Lead("10.0.0.2:7400")
		}
		for _, c := range calls(t) {
			if c.method == profilev1.Profiles_Register_FullMethodName || c.method == profilev1.Cluster_Status_FullMethodName {
				continue
			}
			asks := g.next()
			asks.Binding = 0
			if r := wantReason(t, w.invoke(conn, c.as(asks)), profilev1.Reason_REASON_INVALID); r.Index != 0 {
				t.Errorf("%s without a binding reached the log", c.method)
			}
			asks.Binding = lock.Binding(fakeCluster, 2)
			r := wantReason(t, w.invoke(conn, c.as(asks)), profilev1.Reason_REASON_OTHER_CLUSTER)
			if string(r.Cluster) != string(fakeCluster) || r.Epoch != 1 {
				t.Errorf("%s is refused by cluster %x, epoch %d", c.method, r.Cluster, r.Epoch)
			}
		}
	}
	if n := reached(); n != 0 {
		t.Errorf("%d commands reached the log", n)
	}
}

// Registrations name the cluster that they know, and a follower says at once that it is of another.
func TestARegistrationGoesToItsOwnCluster(t *testing.T) {
	w, node := fake(t, server.Limits{})
	node.Lead("10.0.0.2:7400")
	nonce := []byte("0123456789abcdef")
	for _, q := range []*profilev1.RegisterRequest{
		{Name: "a", Nonce: nonce, Cluster: []byte("another cluster!")},
		{Name: "a", Nonce: nonce, Cluster: fakeCluster, Epoch: 2},
	} {
		_, err := w.profiles.Register(soon(t), q)
		if r := wantReason(t, err, profilev1.Reason_REASON_OTHER_CLUSTER); string(r.Cluster) != string(fakeCluster) || r.Epoch != 1 {
			t.Errorf("it is refused by cluster %x, epoch %d", r.Cluster, r.Epoch)
		}
	}
	_, err := w.profiles.Register(soon(t), &profilev1.RegisterRequest{Name: "a", Nonce: nonce, Cluster: fakeCluster, Epoch: 1})
	wantReason(t, err, profilev1.Reason_REASON_NOT_LEADER)
}

// Incarnations and tokens are positions in a log: in a cluster that was made anew the same numbers are somebody else's.
func TestAnOldClustersGameServerHurtsNobodyInANewOne(t *testing.T) {
	before, _ := fake(t, server.Limits{})
	old := before.register("old")
	oldToken := old.start("p", wait).Header.Token
	old.save("p", oldToken, 0, []byte("old"))

	hub := server.NewHub()
	node := newFakeOf(t, hub, []byte("the next cluster"))
	w := serve(t, server.NewOn(node, server.Config{Hub: hub}), []byte("the next cluster"))
	owner := w.register("owner")
	token := owner.start("p", wait).Header.Token
	if owner.id != old.id || token != oldToken {
		t.Fatalf("incarnation %d and token %d are not those of the old cluster, %d and %d", owner.id, token, old.id, oldToken)
	}
	owner.save("p", token, 0, []byte("new"))
	stream := owner.live()
	stream.held = []uint64{token}
	stream.renew()

	old.world = w // it finds the new nodes at the old addresses
	save := old.saving("p", oldToken, 1, []byte("from before"))
	save.Request.Binding, save.Request.Registration = before.stamps.binding, before.stamps.registration(old.id)
	release := &profilev1.ReleaseRequest{Request: save.Request, Store: "players", Key: "p", Token: oldToken}
	renewal := &profilev1.Renewal{Incarnation: old.id, Sequence: 1, Binding: save.Request.Binding, Registration: save.Request.Registration}
	reached := countProposals(node)
	for what, call := range map[string]func() error{
		"save":    func() error { _, err := w.profiles.Save(soon(t), save); return err },
		"release": func() error { _, err := w.profiles.Release(soon(t), release); return err },
		"settle": func() error {
			_, err := w.profiles.Settle(soon(t), &profilev1.SettleRequest{Request: save.Request})
			return err
		},
		"goodbye": func() error {
			_, err := w.profiles.EndServer(soon(t), &profilev1.EndServerRequest{Request: save.Request})
			return err
		},
		"renewal":  func() error { _, err := w.profiles.Renew(soon(t), renewal); return err },
		"streamed": func() error { return w.streams(renewal) },
	} {
		if r := wantReason(t, call(), profilev1.Reason_REASON_OTHER_CLUSTER); r.Index != 0 {
			t.Errorf("the old game server's %s reached the log: %v", what, r)
		}
	}
	if reached() != 0 || node.Renewals() != 1 {
		t.Errorf("%d commands and %d renewals reached the node", reached(), node.Renewals())
	}
	if got := w.get("p"); string(got.Profile.Data) != "new" || got.Owner.GetIncarnation() != owner.id || !got.Owner.InForce {
		t.Errorf("the profile is %v of %v", got.Profile, got.Owner)
	}
	if r, _ := stream.renew(); r.ConfirmedTerm == 0 || r.Differs {
		t.Errorf("the owner's next renewal is answered %v", r)
	}
}

// streams sends a first renewal, and says how the stream ends.
func (w *world) streams(first *profilev1.Renewal) error {
	stream, err := w.profiles.Live(soon(w.t))
	if err == nil {
		err = stream.Send(first)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	return err
}

// A process of another registration that has come to the number of an incarnation changes nothing, and ends neither the
// rightful owner, whose number it used with another hash, nor its stream.
func TestAnotherRegistrationHurtsNoIncarnation(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		owner := w.register("owner")
		token := owner.start("p", wait).Header.Token
		owner.save("p", token, 0, []byte("one"))
		stream := owner.live()
		stream.held = []uint64{token}
		stream.renew()

		stranger := func() *profilev1.Request {
			return &profilev1.Request{Incarnation: owner.id, Number: 2, Settled: 1, Hash: 77, Binding: w.stamps.binding, Registration: 12345}
		}
		save := owner.saving("p", token, 1, []byte("two"))
		save.Request = stranger()
		large := owner.saving("p", token, 1, make([]byte, fsm.MaxWhole+1))
		large.Request = stranger()
		renewal := &profilev1.Renewal{Incarnation: owner.id, Sequence: 9, Binding: w.stamps.binding, Registration: 12345}
		for what, call := range map[string]func() error{
			"save":  func() error { _, err := w.profiles.Save(soon(t), save); return err },
			"parts": func() error { _, err := w.profiles.Save(soon(t), large); return err },
			"settle": func() error {
				_, err := w.profiles.Settle(soon(t), &profilev1.SettleRequest{Request: stranger()})
				return err
			},
			"goodbye": func() error {
				_, err := w.profiles.EndServer(soon(t), &profilev1.EndServerRequest{Request: stranger()})
				return err
			},
			"renewal":  func() error { _, err := w.profiles.Renew(soon(t), renewal); return err },
			"streamed": func() error { return w.streams(renewal) },
		} {
			r := wantReason(t, call(), profilev1.Reason_REASON_OTHER_REGISTRATION)
			if len(r.Cluster) == 0 || r.Epoch != 1 {
				t.Errorf("the stranger's %s is refused by cluster %x, epoch %d", what, r.Cluster, r.Epoch)
			}
		}
		if r, _ := stream.renew(); r.ConfirmedTerm == 0 || r.Differs {
			t.Errorf("the owner's next renewal, over the same stream, is answered %v", r)
		}
		owner.last = 2
		if r := owner.save("p", token, 1, []byte("two")); r.Header.Revision != 2 {
			t.Errorf("the owner's next save makes revision %d", r.Header.Revision)
		}
	})
}

// A later renewal of a stream may not speak for another process than the first one did.
func TestARenewalOfAnotherRegistrationEndsTheStream(t *testing.T) {
	w, node := fake(t, server.Limits{})
	owner := w.register("owner")
	stream := owner.live()
	stream.renew()
	if err := stream.live.Send(&profilev1.Renewal{Incarnation: owner.id, Sequence: 2, Binding: w.stamps.binding, Registration: 12345}); err != nil {
		t.Fatal(err)
	}
	var err error
	for err == nil {
		_, err = stream.live.Recv()
	}
	wantReason(t, err, profilev1.Reason_REASON_INVALID)
	if n := node.Renewals(); n != 1 {
		t.Errorf("%d renewals were confirmed, want the first alone", n)
	}
}

// A node of an epoch that was restored since says so; until then an open stream goes on.
func TestANewEpochRefusesAnOldStream(t *testing.T) {
	w, node := fake(t, server.Limits{})
	owner := w.register("owner")
	stream := owner.live()
	stream.renew()
	node.SetEpoch(2)
	if err := stream.live.Send(&profilev1.Renewal{Incarnation: owner.id, Sequence: 2}); err != nil {
		t.Fatal(err)
	}
	var err error
	for err == nil {
		_, err = stream.live.Recv()
	}
	if r := wantReason(t, err, profilev1.Reason_REASON_OTHER_CLUSTER); r.Epoch != 2 {
		t.Errorf("the refusal is of epoch %d", r.Epoch)
	}
}

// A node that is in no cluster yet knows nothing of a profile, also for a reader that takes old answers.
func TestANodeInNoClusterAnswersNothing(t *testing.T) {
	node := newFakeOf(t, server.NewHub(), nil)
	w := serve(t, server.NewOn(node, server.Config{}), fakeCluster)
	_, err := w.profiles.Get(soon(t), &profilev1.GetRequest{Store: "players", Key: "p", Mode: stale})
	wantReason(t, err, profilev1.Reason_REASON_NOT_LEADER)
	status, err := w.cluster.Status(soon(t), &profilev1.StatusRequest{})
	if err != nil || status.Binding != 0 {
		t.Errorf("its status has binding %#x, %v", status.GetBinding(), err)
	}
}

// unknown adds a field of a build to come to a message.
func unknown[M proto.Message](m M) M {
	m.ProtoReflect().SetUnknown(append(m.ProtoReflect().GetUnknown(), 0xf8, 0x7f, 1)) // field 2047: 1
	return m
}

// A newer client's request that this node would carry out by half is not carried out at all.
func TestUnknownFieldsAreRefusedWithoutEffect(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("gs-1")
	token := g.start("p", wait).Header.Token
	stream := g.live()
	stream.held = []uint64{token}
	stream.renew()
	reached := countProposals(node)

	save := unknown(g.saving("p", token, 0, []byte("one")))
	nested := g.saving("p", token, 0, []byte("one"))
	unknown(nested.Request)
	reclaim := &profilev1.ReclaimRequest{Request: g.next(), Claims: []*profilev1.Claim{
		{Store: "players", Key: "q", Token: 1}, unknown(&profilev1.Claim{Store: "players", Key: "r", Token: 1}),
	}}
	settle := &profilev1.SettleRequest{Request: unknown(g.next())}
	for what, call := range map[string]func() error{
		"save":             func() error { _, err := w.profiles.Save(soon(t), save); return err },
		"nested":           func() error { _, err := w.profiles.Save(soon(t), nested); return err },
		"nested in a list": func() error { _, err := w.profiles.Reclaim(soon(t), reclaim); return err },
		"settle":           func() error { _, err := w.profiles.Settle(soon(t), settle); return err },
		"get": func() error {
			_, err := w.profiles.Get(soon(t), unknown(&profilev1.GetRequest{Store: "players", Key: "p"}))
			return err
		},
	} {
		if r := wantReason(t, call(), profilev1.Reason_REASON_UNKNOWN_FIELDS); r.Index != 0 {
			t.Errorf("%s reached the log", what)
		}
	}
	if reached() != 0 {
		t.Errorf("%d commands reached the log", reached())
	}
	node.Before = nil

	// Where level and features are learned, what is unknown is ignored.
	if _, err := w.profiles.Register(soon(t), unknown(&profilev1.RegisterRequest{Name: "b", Nonce: []byte("0123456789abcdef")})); err != nil {
		t.Errorf("register: %v", err)
	}
	if _, err := w.cluster.Status(soon(t), unknown(&profilev1.StatusRequest{})); err != nil {
		t.Errorf("status: %v", err)
	}
	if _, err := w.profiles.Renew(soon(t), unknown(&profilev1.Renewal{Incarnation: g.id, Sequence: 1})); err != nil {
		t.Errorf("renew: %v", err)
	}
	first := g.live()
	if err := first.live.Send(unknown(&profilev1.Renewal{Incarnation: g.id, Sequence: 1})); err != nil {
		t.Fatal(err)
	}
	if event, err := first.live.Recv(); err != nil || event.GetRenewed().GetConfirmedTerm() == 0 && event.GetStreamEnd() != nil {
		t.Errorf("the first renewal of a stream is answered %v, %v", event, err)
	}
	wantReason(t, w.streamsOn(first.live, unknown(&profilev1.Renewal{Incarnation: g.id, Sequence: 2})), profilev1.Reason_REASON_UNKNOWN_FIELDS)
}

// streamsOn sends one more renewal, and says how the stream ends.
func (w *world) streamsOn(stream profilev1.Profiles_LiveClient, next *profilev1.Renewal) error {
	err := stream.Send(next)
	for err == nil {
		_, err = stream.Recv()
	}
	return err
}

// A feature is announced once the level that contains it is in force, by a registration, by the status, and by the next
// renewal; and no node carries out what needs it before.
func TestAFeatureIsAnnouncedWithItsLevel(t *testing.T) {
	hub := server.NewHub()
	node := newFake(t, hub)
	w := serve(t, server.NewOn(node, server.Config{
		Hub: hub, Fields: profilev1.FieldFeatures{"profilenode.v1.SendRequest.body": "letters"},
		Features: func(level uint32) []string {
			if level < fsm.Level+1 {
				return nil
			}
			return []string{"letters"}
		},
	}), fakeCluster)
	g := w.register("gs-1")
	stream := g.live()
	first, _ := stream.renew()
	second, _ := stream.renew()
	if first.Level != fsm.Level || len(first.Features) != 0 || second.Level != 0 {
		t.Errorf("the first renewal tells level %d with %v, the second %d", first.Level, first.Features, second.Level)
	}
	send := func() error {
		_, err := w.profiles.Send(soon(t), &profilev1.SendRequest{Request: g.next(), Store: "players", Key: "p", Body: []byte("x")})
		return err
	}
	wantReason(t, send(), profilev1.Reason_REASON_UNKNOWN_FIELDS)

	if _, err := node.Apply(fsm.NewCommand(nil, &fsm.RaiseLevel{Level: fsm.Level + 1})); err != nil {
		t.Fatal(err)
	}
	has := func(what string, level uint32, features []string) {
		t.Helper()
		if level != fsm.Level+1 || len(features) != 1 || features[0] != "letters" {
			t.Errorf("%s tells level %d with %v", what, level, features)
		}
	}
	third, _ := stream.renew()
	has("the renewal after", third.Level, third.Features)
	if fourth, _ := stream.renew(); fourth.Level != 0 {
		t.Errorf("the next one tells level %d again", fourth.Level)
	}
	renewed, err := w.profiles.Renew(soon(t), &profilev1.Renewal{Incarnation: g.id, Sequence: 1})
	if err != nil {
		t.Fatal(err)
	}
	has("a renewal without a stream", renewed.Level, renewed.Features)
	registered, err := w.profiles.Register(context.Background(), &profilev1.RegisterRequest{Name: "b", Nonce: []byte("0123456789abcdef")})
	if err != nil {
		t.Fatal(err)
	}
	has("a registration", registered.Level, registered.Features)
	if err := send(); err != nil {
		t.Errorf("with the feature: %v", err)
	}
}
