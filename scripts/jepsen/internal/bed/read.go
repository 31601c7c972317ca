package bed

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/game"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

const readLimit = 20 * time.Second

// ReadFinal reads every profile that a game server named, linearizable, with the messages that wait in it.
func (b *Bed) ReadFinal(ctx context.Context) error {
	keys := map[string]struct{}{}
	for _, g := range b.GameServers {
		g.mu.Lock()
		maps.Copy(keys, g.keys)
		g.mu.Unlock()
	}
	nodes := wire.NewNodes(wire.NodesConfig{LinkConfig: wire.BoundLinks(), Seeds: b.ClientAddresses()})
	defer nodes.Close()
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if err := b.readFinal(ctx, nodes, key); err != nil {
			return fmt.Errorf("final read of %s: %w", key, err)
		}
	}
	return nil
}

func (b *Bed) readFinal(ctx context.Context, nodes *wire.Nodes, key string) error {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	got := &pb.GetResponse{}
	if err := nodes.Call(ctx, pb.Profiles_Get_FullMethodName, &pb.GetRequest{Store: game.Store, Key: key}, got); err != nil {
		return err
	}
	e := history.Event{Process: "reader", Action: history.Final, Key: key, Revision: int64(got.GetProfile().GetRevision()), Loads: got.GetLoadCount(), Doc: &history.Doc{}}
	if data := got.GetProfile().GetData(); len(data) > 0 {
		if err := json.Unmarshal(data, e.Doc); err != nil {
			return err
		}
		e.Doc.Bulk = ""
	}
	if got.GetMessages() > 0 {
		waiting, err := readWaiting(ctx, nodes, key)
		if err != nil {
			return err
		}
		list, err := json.Marshal(waiting)
		if err != nil {
			return err
		}
		e.Detail = string(list)
	}
	return b.Note(e)
}

func readWaiting(ctx context.Context, nodes *wire.Nodes, key string) (bodies []string, err error) {
	for request := (&pb.MessagesRequest{Store: game.Store, Key: key}); ; {
		page := &pb.MessagesResponse{}
		if err := nodes.Call(ctx, pb.Profiles_Messages_FullMethodName, request, page); err != nil {
			return nil, err
		}
		for _, m := range page.GetMessages() {
			var body string
			if err := json.Unmarshal(m.GetBody(), &body); err != nil {
				return nil, err
			}
			bodies = append(bodies, body)
			request.After = m.GetId()
		}
		if len(page.GetMessages()) == 0 {
			return bodies, nil
		}
	}
}
