package client_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// The release of a session says why the session ended, as far as the cluster cannot know it by itself.
func TestAReleaseSaysItsCause(t *testing.T) {
	for _, test := range []struct {
		name string
		want profilev1.Cause
		end  func(t *testing.T, town *town, c *client.Client, p *client.Profile[player]) error
	}{
		{"the game ends it", profilev1.Cause_CAUSE_ENDED, func(t *testing.T, _ *town, _ *client.Client, p *client.Profile[player]) error {
			return p.EndSession(t.Context())
		}},
		{"another waits", profilev1.Cause_CAUSE_HANDED_OFF, func(t *testing.T, town *town, _ *client.Client, p *client.Profile[player]) error {
			store := clienttest.Store(t, town.open(t, town.config("b")), "players", player{})
			_, err := store.StartSession(t.Context(), "ann")
			return err
		}},
		{"another waits, and the game holds the lock", profilev1.Cause_CAUSE_HANDED_OFF, func(t *testing.T, town *town, _ *client.Client, p *client.Profile[player]) error {
			store := clienttest.Store(t, town.open(t, town.config("b")), "players", player{})
			p.Read(func(*player) {
				if _, err := store.StartSession(t.Context(), "ann"); err != nil {
					t.Error(err)
				}
			})
			return nil
		}},
		{"the client closes", profilev1.Cause_CAUSE_SHUT_DOWN, func(_ *testing.T, _ *town, c *client.Client, _ *client.Profile[player]) error {
			return c.Close()
		}},
		{"the limit for doubt", profilev1.Cause_CAUSE_OUT_OF_REACH, func(_ *testing.T, town *town, _ *client.Client, p *client.Profile[player]) error {
			town.Lead("")
			<-p.Done()
			town.Lead("n1:7400")
			time.Sleep(5 * time.Second)
			return nil
		}},
		{"data that cannot be stored", profilev1.Cause_CAUSE_ENDED, func(t *testing.T, _ *town, _ *client.Client, p *client.Profile[player]) error {
			if err := p.Update(func(d *player) { d.Items = []string{"\xff"} }); err != nil {
				return err
			}
			if err := p.EndSession(t.Context()); !errors.Is(err, client.ErrInvalid) {
				t.Errorf("end: got %v, want ErrInvalid", err)
			}
			return nil
		}},
		{"the cluster takes it", profilev1.Cause_CAUSE_UNSPECIFIED, func(t *testing.T, town *town, _ *client.Client, _ *client.Profile[player]) error {
			store := clienttest.Store(t, town.open(t, town.config("b")), "players", player{})
			_, err := store.StartSession(t.Context(), "ann", client.IfOwnedSteal)
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				town := newTown(t, "n1:7400")
				config := town.config("a")
				config.DoubtLimit = 20 * time.Second
				c := town.open(t, config)
				p, err := clienttest.Store(t, c, "players", player{}).StartSession(t.Context(), "ann")
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Save(t.Context()); err != nil { // so that the end has nothing to store
					t.Fatal(err)
				}
				time.Sleep(1500 * time.Millisecond) // a list of grants that is on its way would have it released once more
				var causes []profilev1.Cause
				town.Set(func() {
					town.Before = func(_, _ string, request proto.Message) error {
						if q, ok := request.(*profilev1.ReleaseRequest); ok {
							town.Set(func() { causes = append(causes, q.Cause) })
						}
						return nil
					}
				})
				if err := test.end(t, town, c, p); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if len(causes) != 1 || causes[0] != test.want {
					t.Errorf("causes of the releases: got %v, want one of %v", causes, test.want)
				}
			})
		})
	}
}
