package client_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
	"github.com/profilenode/profilenode/internal/server/servertest"
)

// paged is a game server with sessions on p00, p01, ..., whose cluster lists three grants in a page.
func paged(t *testing.T, sessions int) (*town, *client.Store[player], []*client.Profile[player]) {
	t.Helper()
	town := &town{servertest.NewPagedCluster(t, 3, "n1:7400")}
	store := clienttest.Store(t, town.open(t, town.config("a")), "players", player{})
	var held []*client.Profile[player]
	for i := range sessions {
		p, err := store.StartSession(t.Context(), fmt.Sprintf("p%02d", i))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, p)
	}
	time.Sleep(3500 * time.Millisecond) // between two renewals
	return town, store, held
}

// holdPages stops the renewals that ask for a page until the test lets each go on.
func holdPages(town *town) (asked chan *profilev1.Page, goOn chan struct{}) {
	asked, goOn = make(chan *profilev1.Page), make(chan struct{})
	town.Set(func() {
		town.Before = func(_, _ string, request proto.Message) error {
			if q, ok := request.(*profilev1.Renewal); ok && q.Page != nil {
				asked <- q.Page
				<-goOn
			}
			return nil
		}
	})
	return asked, goOn
}

// A session is absent only from a whole list that began after its grant was known: not from the pages before the last, and
// not from a list whose page had passed it when it was granted.
func TestAbsenceCountsOnlyAfterTheLastPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, store, held := paged(t, 13)
		asked, goOn := holdPages(town)
		town.Deafen(true)
		town.Revoke("players", "p00") // its place is on the first page
		town.Lapse("players", "p00")
		town.Deafen(false)
		if page := <-asked; page.AfterKey != "p03" {
			t.Errorf("the second page begins after %s, want p03", page.AfterKey)
		}
		early, err := store.StartSession(t.Context(), "a") // before all that was listed
		if err != nil {
			t.Fatal(err)
		}
		for _, after := range []string{"p06", "p09"} {
			if n := town.Reads(); n != 0 {
				t.Fatalf("%d sessions were looked up before the last page", n)
			}
			if got := held[0].State(); got == client.StateOver {
				t.Fatal("a session is over before the last page")
			}
			goOn <- struct{}{}
			if page := <-asked; page.AfterKey != after {
				t.Fatalf("a page begins after %s, want %s", page.AfterKey, after)
			}
		}
		town.Set(func() { town.Before = nil })
		goOn <- struct{}{}
		until(t, "the session that the list lacks to be over", func() bool { return held[0].State() == client.StateOver })
		time.Sleep(5 * time.Second)
		if n := town.Reads(); n != 1 {
			t.Errorf("%d sessions were looked up, want the one that is not listed", n)
		}
		for _, p := range append(slices.Clone(held[1:]), early) {
			if !p.IsActive() {
				t.Errorf("%s: got %v, %v, want held", p.Key(), p.State(), p.Err())
			}
		}
	})
}

// The pages of a list renew nothing before the last one, which renews as of the renewal that began the list.
func TestPagesRenewOnlyWithTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, _, held := paged(t, 10)
		asked, goOn := holdPages(town)
		town.Deafen(true)
		town.Revoke("players", "p09")
		town.Lapse("players", "p09")
		<-asked
		began := time.Now() // the renewal that began the list was answered just now
		time.Sleep(1100 * time.Millisecond)
		goOn <- struct{}{}
		<-asked
		time.Sleep(1100 * time.Millisecond)
		town.Set(func() {
			town.Before = func(_, method string, _ proto.Message) error {
				if method == "Live" {
					return errUnheard
				}
				return nil
			}
		})
		goOn <- struct{}{} // and the rest of the list does not come
		until(t, "doubt", func() bool { return held[1].State() == client.StateInDoubt })
		if after := time.Since(began); after > 3100*time.Millisecond {
			t.Errorf("in doubt %v after the renewal that began the list, want at most 3 s", after)
		}
	})
}

// All that was revoked comes whole with each confirmed answer, before the first page of a list.
func TestRevokedGrantsComeBeforeThePages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, _, held := paged(t, 12)
		asked, goOn := holdPages(town)
		town.Deafen(true)
		for _, p := range held[2:] {
			town.Revoke("players", p.Key())
		}
		town.Revoke("players", "p00")
		town.Lapse("players", "p00") // so that the held sets differ
		<-asked
		for _, p := range held[2:] {
			if p.IsActive() || p.State() != client.StateOver {
				t.Errorf("%s, which was revoked: got %v while the second page is asked for, want over", p.Key(), p.State())
			}
		}
		town.Set(func() { town.Before = nil })
		goOn <- struct{}{}
		time.Sleep(5 * time.Second)
		if !held[1].IsActive() || held[0].State() != client.StateOver {
			t.Errorf("got %v and %v, want over and held", held[0].State(), held[1].State())
		}
	})
}
