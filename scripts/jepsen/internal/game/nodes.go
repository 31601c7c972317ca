package game

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"google.golang.org/grpc/status"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// directLinks are connections to nodes that nothing but direct reads uses.
type directLinks struct {
	mu  sync.Mutex
	all map[string]*wire.Link
}

func (l *directLinks) linkTo(address string) (*wire.Link, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found := l.all[address]; found != nil {
		return found, nil
	}
	made, err := wire.Connect(address, wire.BoundLinks())
	if err != nil {
		return nil, err
	}
	if l.all == nil {
		l.all = map[string]*wire.Link{}
	}
	l.all[address] = made
	return made, nil
}

// playNodes reads a profile at one node, without being redirected: a node that does not lead refuses a linearizable read, and every
// node answers a stale one. Some workers write meanwhile.
func playNodes(ctx context.Context, w *worker) {
	if w.roll(30) {
		playRegister(ctx, w)
		return
	}
	addresses := w.game.settings.Seeds
	w.readAt(ctx, addresses[w.random.IntN(len(addresses))], "r-"+w.chooseKey(), w.roll(50))
	w.pause(ctx, thinkTime/8)
}

func (w *worker) readAt(ctx context.Context, address, key string, stale bool) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	link, err := w.game.direct.linkTo(address)
	if err != nil {
		return
	}
	e := history.Event{Process: w.name, Action: history.Get, Key: key, Node: address, Stale: stale}
	request := &profilev1.GetRequest{Store: Store, Key: key}
	if stale {
		request.Mode = profilev1.ReadMode_READ_MODE_STALE
	}
	op := w.game.events.begin(e)
	answer := &profilev1.GetResponse{}
	if _, err := link.Invoke(ctx, profilev1.Profiles_Get_FullMethodName, request, answer); err != nil {
		e.Type, e.Error, e.Op = history.Fail, status.Convert(err).Message(), op // a read has no effect
		w.game.events.record(e)
		return
	}
	e.Revision, e.Doc = int64(answer.GetProfile().GetRevision()), &history.Doc{}
	if data := answer.GetProfile().GetData(); len(data) > 0 {
		err = json.Unmarshal(data, e.Doc)
	}
	if mode := answer.GetHeader().GetMode(); err == nil && (mode == profilev1.ReadMode_READ_MODE_STALE) != stale {
		err = fmt.Errorf("asked for a stale read: %t, answered in mode %v", stale, mode)
	}
	if err != nil {
		e.Detail = err.Error()
	}
	e.Doc = copyDoc(e.Doc)
	w.game.events.complete(op, e, nil)
}
