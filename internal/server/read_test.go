package server_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/server"
)

const (
	linearizable = profilev1.ReadMode_READ_MODE_LINEARIZABLE
	stale        = profilev1.ReadMode_READ_MODE_STALE
)

// Every read names its mode and index; only a stale one is served without the lead.
func TestReadModes(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("gs-1")
	token := g.start("p", wait).Header.Token
	saved := g.save("p", token, 0, []byte("one"))
	reads := map[string]func(profilev1.ReadMode) (*profilev1.ReplyHeader, error){
		"get": func(mode profilev1.ReadMode) (*profilev1.ReplyHeader, error) {
			r, err := w.profiles.Get(soon(t), &profilev1.GetRequest{Store: "players", Key: "p", Mode: mode})
			return r.GetHeader(), err
		},
		"list": func(mode profilev1.ReadMode) (*profilev1.ReplyHeader, error) {
			r, err := w.profiles.List(soon(t), &profilev1.ListRequest{Store: "players", Mode: mode})
			return r.GetHeader(), err
		},
		"messages": func(mode profilev1.ReadMode) (*profilev1.ReplyHeader, error) {
			r, err := w.profiles.Messages(soon(t), &profilev1.MessagesRequest{Store: "players", Key: "p", Mode: mode})
			return r.GetHeader(), err
		},
		"sessions": func(mode profilev1.ReadMode) (*profilev1.ReplyHeader, error) {
			r, err := w.cluster.Sessions(soon(t), &profilev1.SessionsRequest{Mode: mode})
			return r.GetHeader(), err
		},
		"servers": func(mode profilev1.ReadMode) (*profilev1.ReplyHeader, error) {
			r, err := w.cluster.Servers(soon(t), &profilev1.ServersRequest{Mode: mode})
			return r.GetHeader(), err
		},
		"policies": func(mode profilev1.ReadMode) (*profilev1.ReplyHeader, error) {
			r, err := w.cluster.GetPolicy(soon(t), &profilev1.GetPolicyRequest{Mode: mode})
			return r.GetHeader(), err
		},
	}
	for name, read := range reads {
		for _, mode := range []profilev1.ReadMode{linearizable, stale} {
			if s, err := read(mode); err != nil || s.GetMode() != mode || s.GetIndex() < saved.Header.Index {
				t.Errorf("%s, %v, stands on %v, %v", name, mode, s, err)
			}
		}
	}
	node.Lead("10.0.0.2:7400")
	for name, read := range reads {
		_, err := read(linearizable)
		if r := wantReason(t, err, profilev1.Reason_REASON_NOT_LEADER); r.Leader != "10.0.0.2:7400" {
			t.Errorf("%s is sent to %q", name, r.Leader)
		}
		if s, err := read(stale); err != nil || s.GetMode() != stale || s.GetIndex() < saved.Header.Index {
			t.Errorf("%s at a follower stands on %v, %v", name, s, err)
		}
	}
}

func TestGetOfNothing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		got := w.get("nobody")
		if got.Profile.GetExists() || got.Profile.GetRevision() != 0 || got.Owner != nil || got.Profile.GetKey() != "nobody" || len(got.Profile.GetHash()) != 0 {
			t.Errorf("a profile that never was: %v", got)
		}
	})
}

func TestGetWithoutData(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		g := w.register("gs-1")
		g.save("p", g.start("p", wait).Header.Token, 0, []byte("one"))
		got, err := w.profiles.Get(soon(t), &profilev1.GetRequest{Store: "players", Key: "p", WithoutData: true})
		if err != nil || !got.Profile.GetExists() || len(got.Profile.GetData()) != 0 || len(got.Profile.GetHash()) != 32 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestList(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		g := w.register("gs-1")
		for i := range 5 {
			key := fmt.Sprintf("p%d", i)
			g.save(key, g.start(key, wait).Header.Token, 0, []byte(key))
		}
		var keys []string
		after := ""
		for {
			page, err := w.profiles.List(soon(t), &profilev1.ListRequest{Store: "players", Prefix: "p", After: after, Limit: 2})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range page.Profiles {
				keys = append(keys, p.Key)
				if after = p.Key; len(p.Data) != 0 || p.Revision != 1 {
					t.Errorf("listed %v", p)
				}
			}
			if !page.More {
				break
			}
		}
		if want := []string{"p0", "p1", "p2", "p3", "p4"}; !slices.Equal(keys, want) {
			t.Errorf("listed %v, want %v", keys, want)
		}
		stores, err := w.profiles.List(soon(t), &profilev1.ListRequest{})
		if err != nil || !slices.Equal(stores.Stores, []string{"players"}) {
			t.Errorf("stores %v, %v", stores, err)
		}
	})
}

func TestOperatorsView(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		a, b := w.register("a"), w.register("b")
		for _, key := range []string{"p", "q", "r"} {
			a.start(key, wait)
		}
		b.start("q", wait)
		var keys []string
		q := &profilev1.SessionsRequest{Limit: 2}
		for {
			page, err := w.cluster.Sessions(soon(t), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range page.Sessions {
				keys = append(keys, s.Key)
				q.AfterOwner, q.AfterStore, q.AfterKey = s.Owner.GetIncarnation(), s.Store, s.Key
				asked := s.Key == "q"
				if s.Owner.GetName() != "a" || s.LetGo != asked || asked && (len(s.Waiters) != 1 || s.Waiters[0].Name != "b") {
					t.Errorf("session %v", s)
				}
			}
			if !page.More {
				break
			}
		}
		if want := []string{"p", "q", "r"}; !slices.Equal(keys, want) {
			t.Errorf("sessions %v, want %v", keys, want)
		}
		servers, err := w.cluster.Servers(soon(t), &profilev1.ServersRequest{})
		if err != nil || len(servers.Servers) != 2 {
			t.Fatalf("servers %v, %v", servers, err)
		}
		if s := servers.Servers[0]; s.Name != "a" || !s.Alive || s.Sessions != 3 || s.SilentMs < -1 {
			t.Errorf("server %v", s)
		}
		st, err := w.cluster.Status(soon(t), &profilev1.StatusRequest{})
		if err != nil || st.Id == "" {
			t.Errorf("status %v, %v", st, err)
		}
		digest, err := w.cluster.Digest(soon(t), &profilev1.DigestRequest{Index: servers.Header.Index})
		if err != nil || digest.Index < servers.Header.Index || digest.Digest == 0 || digest.Id != st.Id {
			t.Errorf("digest %v, %v", digest, err)
		}
	})
}

// Game servers come in pages, those that ended only if they are asked for.
func TestServersInPages(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		ended := w.register("ended")
		for _, name := range []string{"a", "b", "c"} {
			w.register(name)
		}
		if _, err := w.profiles.EndServer(soon(t), &profilev1.EndServerRequest{Request: ended.next()}); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			ended bool
			want  []string
		}{{false, []string{"a", "b", "c"}}, {true, []string{"ended", "a", "b", "c"}}} {
			for limit := uint32(1); limit < 6; limit++ {
				var names []string
				q := &profilev1.ServersRequest{Ended: test.ended, Limit: limit}
				for more := true; more; {
					page, err := w.cluster.Servers(soon(t), q)
					if err != nil || len(page.Servers) > int(limit) {
						t.Fatalf("a page of %d: %v, %v", limit, page, err)
					}
					for _, s := range page.Servers {
						names, q.After = append(names, s.Name), s.Incarnation
					}
					more = page.More
				}
				if !slices.Equal(names, test.want) {
					t.Errorf("pages of %d, ended ones %t: %v, want %v", limit, test.ended, names, test.want)
				}
			}
		}
	})
}
