package server_test

import (
	"testing"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
)

// A copy of a claim that comes late is told how things stand by then.
func TestReclaim(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		old := w.register("gs-1")
		kept, set := old.start("kept", wait).Header.Token, old.start("set", wait).Header.Token
		ends(old)
		next, other := w.register("gs-1 anew"), w.register("gs-2")
		q := other.saving("set", 0, 0, []byte("other"))
		if _, err := other.profiles.Set(soon(t), &profilev1.SetRequest{
			Request: q.Request, Store: q.Store, Key: q.Key, Codec: q.Codec, Data: q.Data, Hash: q.Hash,
		}); err != nil {
			t.Fatal(err)
		}
		claims := &profilev1.ReclaimRequest{Request: next.next(), Claims: []*profilev1.Claim{
			{Store: "players", Key: "kept", Token: kept}, {Store: "players", Key: "set", Token: set},
		}}
		answer, err := next.profiles.Reclaim(soon(t), claims)
		if err != nil {
			t.Fatal(err)
		}
		if len(answer.Claims) != 2 || !answer.Claims[0].Held || answer.Claims[1].Held || answer.Claims[1].Owner != nil {
			t.Errorf("the claims came to %v", answer.Claims)
		}
		if got := w.get("kept"); got.Owner.GetIncarnation() != next.id || got.Header.Token != answer.Header.Token || got.LoadCount != 1 {
			t.Errorf("what was reclaimed is %v", got)
		}

		ends(next)
		taken := other.start("kept", no)
		late, err := next.profiles.Reclaim(soon(t), claims)
		if err != nil {
			t.Fatal(err)
		}
		if late.Claims[0].Held || late.Claims[0].Owner.GetName() != "gs-2" || !late.Header.Repeated || taken.Header.Token <= late.Header.Token {
			t.Errorf("a late copy is told %v", late)
		}

		for _, faulty := range [][]*profilev1.Claim{
			nil, make([]*profilev1.Claim, fsm.MaxClaims+1), {{Store: "players", Key: "kept"}}, {{Store: "a/b", Key: "kept", Token: 1}},
		} {
			_, err := other.profiles.Reclaim(soon(t), &profilev1.ReclaimRequest{Request: other.next(), Claims: faulty})
			wantReason(t, err, profilev1.Reason_REASON_INVALID)
		}
	})
}

// ends has the incarnation of a game server ended, as an expiry would.
func ends(g *game) {
	g.t.Helper()
	if _, err := g.profiles.EndServer(soon(g.t), &profilev1.EndServerRequest{Request: g.next()}); err != nil {
		g.t.Fatal(err)
	}
}
