package server_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/status"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
)

// What is malformed is refused with a sentence, and costs no entry of the log.
func TestShapes(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("gs-1")
	proposals := 0
	node.Before = func(*fsm.Command) error { proposals++; return nil }

	invalid, tooLarge := profilev1.Reason_REASON_INVALID, profilev1.Reason_REASON_TOO_LARGE
	request := func() *profilev1.Request {
		return &profilev1.Request{Incarnation: g.id, Number: 5, Settled: 1, Hash: 1}
	}
	save := func(change func(*profilev1.SaveRequest)) func(context.Context) error {
		q := g.saving("p", 9<<16, 0, []byte("data"))
		q.Request = request()
		change(q)
		return func(ctx context.Context) error { _, err := w.profiles.Save(ctx, q); return err }
	}
	release := func(panics ...*profilev1.MessagePanic) func(context.Context) error {
		q := &profilev1.ReleaseRequest{Request: request(), Store: "players", Key: "p", Token: 9 << 16, Panics: panics}
		return func(ctx context.Context) error { _, err := w.profiles.Release(ctx, q); return err }
	}
	register := func(change func(*profilev1.RegisterRequest)) func(context.Context) error {
		q := &profilev1.RegisterRequest{Name: "gs-2", Nonce: bytes.Repeat([]byte{1}, 16)}
		change(q)
		return func(ctx context.Context) error { _, err := w.profiles.Register(ctx, q); return err }
	}
	sized := func(q *profilev1.SaveRequest, n int) {
		q.Data = make([]byte, n)
		hash := sha256.Sum256(q.Data)
		q.Hash = hash[:]
	}
	tags := map[string]string{}
	for i := range fsm.MaxTags + 1 {
		tags[fmt.Sprint(i)] = ""
	}
	for _, c := range []struct {
		name string
		call func(context.Context) error
		want profilev1.Reason
		says string
	}{
		{"no request", save(func(q *profilev1.SaveRequest) { q.Request = nil }), invalid, "binding"},
		{"no incarnation", save(func(q *profilev1.SaveRequest) { q.Request.Incarnation = 0 }), invalid, "incarnation"},
		{"no number", save(func(q *profilev1.SaveRequest) { q.Request.Number = 0 }), invalid, "number"},
		{"settles itself", save(func(q *profilev1.SaveRequest) { q.Request.Settled = 5 }), invalid, "settled"},
		{"no hash of the request", save(func(q *profilev1.SaveRequest) { q.Request.Hash = 0 }), invalid, "hash"},
		{"no store", save(func(q *profilev1.SaveRequest) { q.Store = "" }), invalid, "store"},
		{"bad store", save(func(q *profilev1.SaveRequest) { q.Store = "a/b" }), invalid, "store"},
		{"no key", save(func(q *profilev1.SaveRequest) { q.Key = "" }), invalid, "key"},
		{"bad key", save(func(q *profilev1.SaveRequest) { q.Key = "a\x00b" }), invalid, "key"},
		{"long key", save(func(q *profilev1.SaveRequest) { q.Key = strings.Repeat("k", fsm.MaxKey+1) }), invalid, "key"},
		{"no token", save(func(q *profilev1.SaveRequest) { q.Token = 0 }), invalid, "token"},
		{"short hash", save(func(q *profilev1.SaveRequest) { q.Hash = q.Hash[1:] }), invalid, "SHA-256"},
		{"wrong hash", save(func(q *profilev1.SaveRequest) { q.Data = []byte("datA") }), profilev1.Reason_REASON_DATA_DAMAGED, "SHA-256"},
		{"bad codec", save(func(q *profilev1.SaveRequest) { q.Codec = 256 }), invalid, "codec"},
		{"data too large", save(func(q *profilev1.SaveRequest) { sized(q, fsm.MaxData+1) }), tooLarge, "4194305 bytes"},
		{"too many tags", save(func(q *profilev1.SaveRequest) { q.Tags = tags }), tooLarge, "tags"},
		{"tags too large", save(func(q *profilev1.SaveRequest) { q.Tags = map[string]string{"a": strings.Repeat("b", fsm.MaxTagBytes)} }), tooLarge, "tags"},
		{"tags and keep", save(func(q *profilev1.SaveRequest) { q.Tags, q.KeepTags = map[string]string{"a": "b"}, true }), invalid, "tags"},
		{"a cause without an end", save(func(q *profilev1.SaveRequest) { q.Cause = profilev1.Cause_CAUSE_ENDED }), invalid, "does not end the session"},
		{"a cause of the cluster", save(func(q *profilev1.SaveRequest) { q.End, q.Cause = true, profilev1.Cause_CAUSE_STOLEN }), invalid, "not an owner's"},
		{"no such cause", save(func(q *profilev1.SaveRequest) { q.End, q.Cause = true, 300 }), invalid, "not an owner's"},
		{"too many marks", save(func(q *profilev1.SaveRequest) { q.ClearMessages = make([]uint64, fsm.MaxMarks+1) }), tooLarge, "messages"},
		{"message too large", func(ctx context.Context) error {
			_, err := w.profiles.Send(ctx, &profilev1.SendRequest{Request: request(), Store: "players", Key: "p", Body: make([]byte, fsm.MaxMessage+1)})
			return err
		}, tooLarge, "message"},
		{"kind too long", func(ctx context.Context) error {
			_, err := w.profiles.Send(ctx, &profilev1.SendRequest{Request: request(), Store: "players", Key: "p", Kind: strings.Repeat("k", fsm.MaxKind+1)})
			return err
		}, tooLarge, "kind"},
		{"kind with a line end", func(ctx context.Context) error {
			_, err := w.profiles.Send(ctx, &profilev1.SendRequest{Request: request(), Store: "players", Key: "p", Kind: "gift\n"})
			return err
		}, invalid, "control characters"},
		{"too many panics", release(make([]*profilev1.MessagePanic, fsm.MaxCounted+1)...), tooLarge, "panics"},
		{"text of a panic too long", release(&profilev1.MessagePanic{Message: 1, Text: strings.Repeat("x", fsm.MaxPanicText+1)}), tooLarge, "message 1"},
		{"unknown wish", func(ctx context.Context) error {
			_, err := w.profiles.StartSession(ctx, &profilev1.StartSessionRequest{Request: request(), Store: "players", Key: "p", WhenOwned: 9})
			return err
		}, invalid, "when_owned"},
		{"unknown mode", func(ctx context.Context) error {
			_, err := w.profiles.Get(ctx, &profilev1.GetRequest{Store: "players", Key: "p", Mode: 9})
			return err
		}, invalid, "mode"},
		{"no name", register(func(q *profilev1.RegisterRequest) { q.Name = "" }), invalid, "name"},
		{"long name", register(func(q *profilev1.RegisterRequest) { q.Name = strings.Repeat("n", fsm.MaxName+1) }), tooLarge, "name"},
		{"short nonce", register(func(q *profilev1.RegisterRequest) { q.Nonce = q.Nonce[1:] }), invalid, "nonce"},
		{"unknown kind", register(func(q *profilev1.RegisterRequest) { q.Kind = 7 }), invalid, "kind"},
		{"long place", register(func(q *profilev1.RegisterRequest) { q.Where = strings.Repeat("w", fsm.MaxWhere+1) }), tooLarge, "place"},
		{"bad ping", register(func(q *profilev1.RegisterRequest) { q.Ping = "nowhere" }), invalid, "ping"},
		{"unknown policy", func(ctx context.Context) error {
			_, err := w.cluster.SetPolicy(ctx, &profilev1.SetPolicyRequest{Request: request(), Name: "kindness", Value: 1})
			return err
		}, profilev1.Reason_REASON_UNKNOWN_POLICY, "max_data_bytes"},
		{"bad policy", func(ctx context.Context) error {
			_, err := w.cluster.SetPolicy(ctx, &profilev1.SetPolicyRequest{Request: request(), Name: fsm.PolicyMaxData, Value: -1})
			return err
		}, invalid, "between"},
		{"renewal of nobody", func(ctx context.Context) error {
			_, err := w.profiles.Renew(ctx, &profilev1.Renewal{})
			return err
		}, invalid, "incarnation"},
		{"long prefix", func(ctx context.Context) error {
			_, err := w.profiles.List(ctx, &profilev1.ListRequest{Store: "players", Prefix: strings.Repeat("p", 300)})
			return err
		}, tooLarge, "prefix"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.call(soon(t))
			r := wantReason(t, err, c.want)
			says := status.Convert(err).Message()
			if !strings.Contains(says, c.says) || strings.Contains(says, "\n") {
				t.Errorf("says %q, want a sentence with %q", says, c.says)
			}
			if c.want == tooLarge && r.Limit == 0 {
				t.Error("names no limit")
			}
		})
	}
	if proposals != 0 {
		t.Errorf("%d malformed requests reached the log", proposals)
	}
	if err := save(func(*profilev1.SaveRequest) {})(soon(t)); err == nil || proposals != 1 {
		t.Errorf("the well-formed one: %v after %d proposals, want a refusal of the log's", err, proposals)
	}
}

func TestPolicies(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		tool := w.register("tool")
		set := func(q *profilev1.SetPolicyRequest) error {
			q.Request = tool.next()
			_, err := w.cluster.SetPolicy(soon(t), q)
			return err
		}
		value := func() *profilev1.Policy {
			reply, err := w.cluster.GetPolicy(soon(t), &profilev1.GetPolicyRequest{Store: "players"})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range reply.Policies {
				if p.Name == fsm.PolicyMaxData {
					return p
				}
			}
			t.Fatal("no such policy")
			return nil
		}
		if p := value(); p.Value != fsm.MaxData || !p.Inherited || p.Unit != "bytes" || p.Help == "" {
			t.Errorf("at first: %v", p)
		}
		if err := set(&profilev1.SetPolicyRequest{Store: "players", Name: fsm.PolicyMaxData, Value: 600 << 10}); err != nil {
			t.Fatal(err)
		}
		if p := value(); p.Value != 600<<10 || p.Inherited {
			t.Errorf("set: %v", p)
		}
		token := tool.start("p", wait).Header.Token
		_, err := tool.profiles.Save(soon(t), tool.saving("p", token, 0, make([]byte, 601<<10)))
		if r := wantReason(t, err, profilev1.Reason_REASON_TOO_LARGE); r.Limit != 600<<10 {
			t.Errorf("the limit is %d", r.Limit)
		}
		tool.save("p", token, 0, make([]byte, 600<<10))
		if err := set(&profilev1.SetPolicyRequest{Store: "players", Name: fsm.PolicyMaxData, Inherit: true}); err != nil {
			t.Fatal(err)
		}
		if p := value(); p.Value != fsm.MaxData || !p.Inherited {
			t.Errorf("given back: %v", p)
		}
		wantReason(t, set(&profilev1.SetPolicyRequest{Name: fsm.PolicyMaxData, Inherit: true}), profilev1.Reason_REASON_INVALID)
	})
}
