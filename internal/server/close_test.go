package server_test

import (
	"context"
	"crypto/rand"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
)

// An open stream gets its goodbye and holds nobody up; neither does a watch of the health service.
func TestCloseWithOpenStreams(t *testing.T) {
	w, _ := fake(t, server.Limits{Drain: patience})
	s := w.register("gs-1").live()
	s.renew()
	silent := (&game{world: w}).live()
	watch, err := grpc_health_v1.NewHealthClient(w.conn).Watch(soon(t), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		w.server.Close(context.Background())
	}()
	for _, stream := range []*stream{s, silent} {
		if bye := stream.goodbye(); bye.Leader != "" || bye.ServerGone {
			t.Errorf("told %v", bye) // this node leads: it cannot name itself
		}
	}
	<-closed
	if took := time.Since(began); took > patience/2 {
		t.Errorf("Close took %v", took)
	}
	w.server.Close(context.Background()) // again: nothing
	if _, err := w.profiles.Get(soon(t), &profilev1.GetRequest{Store: "players", Key: "p"}); err == nil {
		t.Error("a closed server answers")
	}
}

// A call that does not end is ended once its time to do so is over.
func TestCloseEndsWhatHangs(t *testing.T) {
	w, node := fake(t, server.Limits{Drain: 20 * time.Millisecond, Call: time.Hour})
	g := w.register("gs-1")
	hanging := make(chan struct{})
	node.Confirm = func(ctx context.Context) error {
		close(hanging)
		<-ctx.Done()
		return ctx.Err()
	}
	answered := make(chan error, 1)
	go func() {
		_, err := g.profiles.Get(soon(t), &profilev1.GetRequest{Store: "players", Key: "p"})
		answered <- err
	}()
	<-hanging
	began := time.Now()
	w.server.Close(context.Background())
	if took := time.Since(began); took > patience/2 {
		t.Errorf("Close took %v", took)
	}
	if err := <-answered; err == nil {
		t.Error("the hanging call was answered")
	}
}

// A stream whose client takes nothing cannot hold Close up.
func TestCloseWithADeafClient(t *testing.T) {
	w, node := fake(t, server.Limits{Drain: 20 * time.Millisecond})
	g := w.register("gs-1")
	s := g.live()
	s.renew()
	// So large that what waits for the stream, however few events that are, is beyond its window.
	event := fsm.Event{Kind: fsm.LetGo, Server: lockID(g.id), Store: "players", Key: strings.Repeat("k", 64<<10)}
	for range 1024 {
		node.Hub.Publish([]fsm.Event{event})
	}
	began := time.Now()
	w.server.Close(context.Background())
	if took := time.Since(began); took > patience/2 {
		t.Errorf("Close took %v", took)
	}
}

// A caller without a deadline gets one.
func TestEveryCallEnds(t *testing.T) {
	w, node := fake(t, server.Limits{Call: 20 * time.Millisecond})
	g := w.register("gs-1")
	node.Confirm = func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	_, err := w.profiles.Get(context.Background(), &profilev1.GetRequest{Store: "players", Key: "p"})
	wantReason(t, err, profilev1.Reason_REASON_UNCONFIRMED)
	_, err = w.cluster.Digest(context.Background(), &profilev1.DigestRequest{Index: 1 << 40})
	if r := wantReason(t, err, profilev1.Reason_REASON_BUSY); r.Index != 1<<40 {
		t.Errorf("waits for index %d", r.Index)
	}
	node.Before = func(*fsm.Command) error { return context.DeadlineExceeded }
	_, err = g.profiles.Save(context.Background(), g.saving("p", 1, 0, nil))
	wantReason(t, err, profilev1.Reason_REASON_UNKNOWN)
}

// A fault that one call meets ends that call and nothing else.
func TestPanic(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("gs-1")
	node.Before = func(*fsm.Command) error { panic("planted") }
	_, err := g.profiles.StartSession(soon(t), &profilev1.StartSessionRequest{Request: g.next(), Store: "players", Key: "p"})
	wantReason(t, err, profilev1.Reason_REASON_FAILED)
	_, err = g.profiles.Save(soon(t), g.saving("p", 1, 0, noise(fsm.MaxData))) // in a goroutine of its own
	wantReason(t, err, profilev1.Reason_REASON_FAILED)
	node.Before = nil
	node.Confirm = func(context.Context) error { panic("planted") }
	s := g.live()
	if err := s.live.Send(s.renewal()); err != nil {
		t.Fatal(err)
	}
	_, err = s.live.Recv()
	wantReason(t, err, profilev1.Reason_REASON_FAILED)
	node.Confirm = nil
	if opened := g.start("p", wait); opened.Profile == nil {
		t.Errorf("afterwards: %v", opened)
	}
}

// What is not gRPC at all harms only its own connection.
func TestGarbage(t *testing.T) {
	hub := server.NewHub()
	s := server.NewOn(newFake(t, hub), server.Config{Hub: hub, Limits: server.Limits{Connection: 100 * time.Millisecond}})
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	t.Cleanup(func() {
		s.Close(context.Background())
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	noise := make([]byte, 64<<10)
	_, _ = rand.Read(noise)
	preface := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	for _, bytes := range [][]byte{
		noise,
		[]byte("GET / HTTP/1.1\r\nHost: node\r\n\r\n"),
		nil, // nothing: ended by the limit for introductions
		append([]byte(preface), noise...),
		append([]byte(preface), 0, 0, 0, 4, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0, 1, 0, 0, 0, 1), // settings, then a frame of 16 MiB that never comes
	} {
		conn, err := net.Dial("tcp", lis.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = conn.Write(bytes) // it may be cut off in the middle
	}
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A frame that is gRPC, and no message of ours.
	err = conn.Invoke(soon(t), profilev1.Profiles_Get_FullMethodName, "garbage", new(string), grpc.ForceCodec(rawCodec{}))
	if err == nil {
		t.Error("garbage was answered")
	}
	if _, err := profilev1.NewProfilesClient(conn).Get(soon(t), &profilev1.GetRequest{Store: "players", Key: "p", Binding: newStamps(fakeCluster, 1).binding}); err != nil {
		t.Errorf("beside the garbage: %v", err)
	}
}

// rawCodec sends text as it is, under the name of protobuf.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)   { return []byte{0xff, 0xff, v.(string)[0]}, nil }
func (rawCodec) Unmarshal(_ []byte, _ any) error { return nil }
func (rawCodec) Name() string                    { return "proto" }

// The health service says whether a node is of use: it knows a leader, and has not stopped.
func TestHealth(t *testing.T) {
	w, node := fake(t, server.Limits{})
	watch, err := grpc_health_v1.NewHealthClient(w.conn).Watch(soon(t), &grpc_health_v1.HealthCheckRequest{Service: "profilenode.v1.Profiles"})
	if err != nil {
		t.Fatal(err)
	}
	until := func(want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for {
			state, err := watch.Recv()
			if err != nil {
				t.Fatalf("waiting for %v: %v", want, err)
			}
			if state.Status == want {
				return
			}
		}
	}
	until(grpc_health_v1.HealthCheckResponse_SERVING)
	node.Lead("")
	until(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	node.Lead("10.0.0.2:7400")
	until(grpc_health_v1.HealthCheckResponse_SERVING)
	node.Stop()
	until(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
}

// A node that is closing says so as one to leave, not as one whose answers are unknown.
func TestClosingNode(t *testing.T) {
	w, node := fake(t, server.Limits{})
	s := w.register("gs-1").live()
	s.renew()
	node.Confirm = func(context.Context) error { return cluster.ErrClosed }
	if err := s.live.Send(s.renewal()); err != nil {
		t.Fatal(err)
	}
	if bye := s.goodbye(); bye.ServerGone {
		t.Errorf("told %v", bye)
	}
	_, err := w.profiles.Get(soon(t), &profilev1.GetRequest{Store: "players", Key: "p"})
	wantReason(t, err, profilev1.Reason_REASON_NOT_LEADER)
}
