package client_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// A save without an answer may be stored. As long as nothing has been changed since, each caller is told so, and Close says
// it too: a game that takes it for refused would spend the same coins twice.
func TestASaveThatMayHaveHappenedIsNeverCalledRefused(t *testing.T) {
	for _, closing := range []bool{false, true} {
		t.Run(fmt.Sprint("closing ", closing), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { unanswered(t, closing) })
		})
	}
}

func unanswered(t *testing.T, closing bool) {
	town := newTown(t, "n1:7400")
	config := town.config("a")
	config.DoubtLimit = 5 * time.Second
	c := town.open(t, config)
	p, err := clienttest.Store(t, c, "players", player{}).StartSession(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	lost := func(methods ...string) func(node, method string, request proto.Message) error {
		return func(_, method string, _ proto.Message) error {
			if slices.Contains(methods, method) {
				return errLost
			}
			return nil
		}
	}
	town.Set(func() { town.Before, town.After = lost("Live"), lost("Save", "Settle") })
	if err := p.Update(func(d *player) { d.Coins = 7 }); err != nil {
		t.Fatal(err)
	}
	if closing {
		err := c.Shutdown(t.Context())
		var left *client.CloseError
		if !errors.As(err, &left) || len(left.Unsaved) != 0 || len(left.Unknown) != 1 {
			t.Errorf("close: got %v, want one profile perhaps not saved", err)
		}
		return
	}
	saved := make(chan error, 2)
	go func() { saved <- p.Save(t.Context()) }()
	time.Sleep(time.Second)
	go func() { saved <- p.Save(t.Context()) }() // waits behind the first
	<-p.Done()
	for what, err := range map[string]error{
		"a save": <-saved, "another": <-saved, "a later one": p.Save(t.Context()), "the end": p.EndSession(t.Context()),
	} {
		if !errors.Is(err, client.ErrUnknown) || errors.Is(err, client.ErrSessionOver) {
			t.Errorf("%s: got %v, want ErrUnknown alone", what, err)
		}
	}
	_ = c.Close() // gives up the copy that was kept
	if err := p.Save(t.Context()); !errors.Is(err, client.ErrUnknown) || errors.Is(err, client.ErrSessionOver) {
		t.Errorf("a save after Close: got %v, want ErrUnknown alone", err)
	}
}
