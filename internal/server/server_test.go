package server_test

import (
	"context"
	"crypto/sha256"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/internal/server"
)

// patience bounds every wait of these tests for something that must come.
const patience = 20 * time.Second

const maxReply = 40 << 20

// world is a server with a client's connection to it.
type world struct {
	t        testing.TB
	server   *server.Server
	conn     *grpc.ClientConn
	profiles profilev1.ProfilesClient
	cluster  profilev1.ClusterClient
	lis      *bufconn.Listener
	stamps   *stamps
}

// serve starts a server of a cluster in its first epoch, and connects to it.
func serve(t testing.TB, s *server.Server, cluster []byte) *world {
	t.Helper()
	w := &world{t: t, server: s, lis: bufconn.Listen(1 << 20), stamps: newStamps(cluster, 1)}
	served := make(chan error, 1)
	go func() { served <- w.server.Serve(w.lis) }()
	t.Cleanup(func() {
		w.server.Close(context.Background())
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	w.conn = w.dial()
	w.profiles, w.cluster = profilev1.NewProfilesClient(w.conn), profilev1.NewClusterClient(w.conn)
	return w
}

func (w *world) dial() *grpc.ClientConn {
	w.t.Helper()
	return w.dialOver(func(ctx context.Context, _ string) (net.Conn, error) { return w.lis.DialContext(ctx) })
}

func (w *world) dialOver(dial func(ctx context.Context, _ string) (net.Conn, error)) *grpc.ClientConn {
	w.t.Helper()
	conn, err := grpc.NewClient("passthrough:///node",
		grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainUnaryInterceptor(w.stamps.call), grpc.WithChainStreamInterceptor(w.stamps.stream),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply), grpc.MaxCallSendMsgSize(maxReply)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// fake is a server on a fake node.
func fake(t testing.TB, limits server.Limits) (*world, *fakeNode) {
	t.Helper()
	hub := server.NewHub()
	node := newFake(t, hub)
	return serve(t, server.NewOn(node, server.Config{Hub: hub, Limits: limits}), fakeCluster), node
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// game is a registered game server that numbers its requests.
type game struct {
	*world
	id   uint64
	last uint64
}

func (w *world) register(name string) *game {
	w.t.Helper()
	nonce := sha256.Sum256([]byte(name))
	reply, err := w.profiles.Register(soon(w.t), &profilev1.RegisterRequest{Name: name, Nonce: nonce[:16], Where: "rack of " + name})
	if err != nil {
		w.t.Fatalf("register %s: %v", name, err)
	}
	return &game{world: w, id: reply.Incarnation}
}

// next is the header of a new request.
func (g *game) next() *profilev1.Request {
	g.last++
	return &profilev1.Request{
		Incarnation: g.id, Number: g.last, Hash: 1000 + g.last, Binding: g.stamps.binding, Registration: g.stamps.registration(g.id),
	}
}

func (g *game) start(key string, when profilev1.WhenOwned) *profilev1.StartSessionResponse {
	g.t.Helper()
	reply, err := g.profiles.StartSession(soon(g.t), &profilev1.StartSessionRequest{Request: g.next(), Store: "players", Key: key, WhenOwned: when})
	if err != nil {
		g.t.Fatalf("start a session on %s: %v", key, err)
	}
	return reply
}

func (g *game) saving(key string, token, base uint64, data []byte) *profilev1.SaveRequest {
	hash := sha256.Sum256(data)
	return &profilev1.SaveRequest{Request: g.next(), Store: "players", Key: key, Token: token, Base: base, Codec: 1, Data: data, Hash: hash[:]}
}

func (g *game) save(key string, token, base uint64, data []byte) *profilev1.SaveResponse {
	g.t.Helper()
	reply, err := g.profiles.Save(soon(g.t), g.saving(key, token, base, data))
	if err != nil {
		g.t.Fatalf("save %s: %v", key, err)
	}
	return reply
}

func (w *world) get(key string) *profilev1.GetResponse {
	w.t.Helper()
	reply, err := w.profiles.Get(soon(w.t), &profilev1.GetRequest{Store: "players", Key: key})
	if err != nil {
		w.t.Fatalf("get %s: %v", key, err)
	}
	return reply
}

// refusal is the detail of an error, which must have one.
func refusal(t testing.TB, err error) *profilev1.Refusal {
	t.Helper()
	if err == nil {
		t.Fatal("it was done, want a refusal")
	}
	for _, detail := range status.Convert(err).Details() {
		if r, ok := detail.(*profilev1.Refusal); ok {
			return r
		}
	}
	t.Fatalf("%v carries no Refusal", err)
	return nil
}

func wantReason(t testing.TB, err error, want profilev1.Reason) *profilev1.Refusal {
	t.Helper()
	r := refusal(t, err)
	if r.Reason != want {
		t.Fatalf("refused as %v (%v), want %v", r.Reason, err, want)
	}
	return r
}

// onEach runs a test against the tables alone, and against a real cluster of one.
func onEach(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("tables", func(t *testing.T) {
		w, _ := fake(t, server.Limits{})
		test(t, w)
	})
	t.Run("cluster", func(t *testing.T) {
		test(t, single(t))
	})
}

// single is a server on a node that is a cluster of one in memory.
func single(t testing.TB) *world {
	t.Helper()
	hub := server.NewHub()
	c := cluster.DefaultConfig()
	c.Memory, c.Bind, c.Client, c.OnEvents = true, "127.0.0.1:0", "127.0.0.1:7400", hub.Publish
	node, err := cluster.Open(soon(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(context.Background()); err != nil {
			t.Errorf("close the node: %v", err)
		}
	})
	select {
	case <-node.Ready():
	case <-soon(t).Done():
		t.Fatal("the node is not ready")
	}
	return serve(t, server.New(server.Config{Node: node, Hub: hub, Version: "test"}), node.Position().Cluster)
}
