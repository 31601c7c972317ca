package client_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// The request that ends a session says why it ended, as far as the cluster cannot know it by itself: a release if everything
// was stored before, else the last save.
func TestTheRequestThatEndsASessionSaysItsCause(t *testing.T) {
	for _, test := range []struct {
		name string
		want profilev1.Cause
		// The session ends with a release, whether or not it has unsaved changes.
		releases bool
		end      func(t *testing.T, town *town, c *client.Client, p *client.Profile[player]) error
	}{
		{"the game ends it", profilev1.Cause_CAUSE_ENDED, false, func(t *testing.T, _ *town, _ *client.Client, p *client.Profile[player]) error {
			return p.EndSession(t.Context())
		}},
		{"another waits", profilev1.Cause_CAUSE_HANDED_OFF, false, func(t *testing.T, town *town, _ *client.Client, p *client.Profile[player]) error {
			store := clienttest.Store(t, town.open(t, town.config("b")), "players", player{})
			_, err := store.StartSession(t.Context(), "ann")
			return err
		}},
		{"another waits, and the game holds the lock", profilev1.Cause_CAUSE_HANDED_OFF, true, func(t *testing.T, town *town, _ *client.Client, p *client.Profile[player]) error {
			store := clienttest.Store(t, town.open(t, town.config("b")), "players", player{})
			p.Read(func(*player) {
				if _, err := store.StartSession(t.Context(), "ann"); err != nil {
					t.Error(err)
				}
			})
			return nil
		}},
		{"the client closes", profilev1.Cause_CAUSE_SHUT_DOWN, false, func(_ *testing.T, _ *town, c *client.Client, _ *client.Profile[player]) error {
			return c.Close()
		}},
		{"the limit for doubt", profilev1.Cause_CAUSE_OUT_OF_REACH, false, func(_ *testing.T, town *town, _ *client.Client, p *client.Profile[player]) error {
			town.Lead("")
			<-p.Done()
			town.Lead("n1:7400")
			time.Sleep(5 * time.Second)
			return nil
		}},
		{"data that cannot be stored", profilev1.Cause_CAUSE_ENDED, true, func(t *testing.T, _ *town, _ *client.Client, p *client.Profile[player]) error {
			if err := p.Update(func(d *player) { d.Items = []string{"\xff"} }); err != nil {
				return err
			}
			if err := p.EndSession(t.Context()); !errors.Is(err, client.ErrInvalid) {
				t.Errorf("end: got %v, want ErrInvalid", err)
			}
			return nil
		}},
		{"the cluster takes it", profilev1.Cause_CAUSE_UNSPECIFIED, true, func(t *testing.T, town *town, _ *client.Client, _ *client.Profile[player]) error {
			store := clienttest.Store(t, town.open(t, town.config("b")), "players", player{})
			_, err := store.StartSession(t.Context(), "ann", client.IfOwnedSteal)
			return err
		}},
	} {
		for _, end := range []struct {
			of      string
			changed bool
			method  string
		}{{"all is stored", false, "Release"}, {"unsaved changes", true, "Save"}} {
			want := fmt.Sprint(end.method, " ", test.want)
			if test.releases {
				want = fmt.Sprint("Release ", test.want)
			}
			t.Run(test.name+", "+end.of, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					town := newTown(t, "n1:7400")
					config := town.config("a")
					config.DoubtLimit, config.Autosave = 20*time.Second, -1
					c := town.open(t, config)
					p, err := clienttest.Store(t, c, "players", player{}).StartSession(t.Context(), "ann")
					if err != nil {
						t.Fatal(err)
					}
					if err := p.Save(t.Context()); err != nil {
						t.Fatal(err)
					}
					if end.changed {
						if err := p.Update(func(d *player) { d.Coins = 7 }); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(1500 * time.Millisecond) // a list of grants that is on its way would have it released once more
					var ends []string
					town.Set(func() {
						town.Before = func(_, _ string, request proto.Message) error {
							switch q := request.(type) {
							case *profilev1.ReleaseRequest:
								town.Set(func() { ends = append(ends, fmt.Sprint("Release ", q.Cause)) })
							case *profilev1.SaveRequest:
								town.Set(func() { ends = append(ends, fmt.Sprint("Save ", q.Cause)) })
							}
							return nil
						}
					})
					if err := test.end(t, town, c, p); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					if !slices.Equal(slices.Compact(ends), []string{want}) { // copies of one request are refused while no node leads
						t.Errorf("it ended with %q, want %q alone", ends, want)
					}
				})
			})
		}
	}
}

// A save that ends no session states no cause: a node refuses one that does.
func TestASaveThatEndsNothingStatesNoCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		p, err := clienttest.Store(t, town.open(t, town.config("a")), "players", player{}).StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		town.Set(func() {
			town.Before = func(_, _ string, request proto.Message) error {
				if q, ok := request.(*profilev1.SaveRequest); ok && (q.End || q.Cause != profilev1.Cause_CAUSE_UNSPECIFIED) {
					t.Errorf("sent %v", q)
				}
				return nil
			}
		})
		for coins := range 3 {
			if err := p.Update(func(d *player) { d.Coins = coins }); err != nil {
				t.Fatal(err)
			}
			if err := p.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		town.Set(func() { town.Before = nil })
	})
}
