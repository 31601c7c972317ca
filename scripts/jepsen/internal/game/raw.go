package game

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/internal/wire"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// rawServer is a game server that speaks the wire without the client: it keeps none of the client's rules, and goes on with tokens that
// it has lost.
type rawServer struct {
	*wire.Registration
	nodes    *wire.Nodes
	ping     net.Listener // nil: none
	renewing context.CancelFunc
}

// startRawServer registers a game server and renews it. With ping it holds a ping port.
func startRawServer(ctx context.Context, w *worker, ping bool) (*rawServer, error) {
	r := &rawServer{nodes: wire.NewNodes(wire.NodesConfig{LinkConfig: wire.BoundLinks(), Seeds: w.game.settings.Seeds})}
	request := &profilev1.RegisterRequest{Name: w.unique("raw"), Kind: profilev1.ServerKind_SERVER_KIND_GAME_SERVER}
	if ping {
		host := w.game.settings.Host
		if host == "" {
			host = "127.0.0.1"
		}
		var err error
		if r.ping, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			r.close()
			return nil, err
		}
		go answerPings(r.ping)
		request.Ping = r.ping.Addr().String()
	}
	registration, answer, err := r.nodes.Register(ctx, request)
	if err != nil {
		r.close()
		return nil, err
	}
	r.Registration = registration
	var renewing context.Context
	renewing, r.renewing = context.WithCancel(ctx)
	go r.renewUntilDone(renewing, time.Duration(answer.GetTiming().GetRenewMs())*time.Millisecond)
	return r, nil
}

// answerPings takes connections and lets them be: an open port says that the process lives.
func answerPings(port net.Listener) {
	for {
		c, err := port.Accept()
		if err != nil {
			return
		}
		_ = c.Close()
	}
}

func (r *rawServer) renewUntilDone(ctx context.Context, every time.Duration) {
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, callLimit)
		_ = r.nodes.Call(try, profilev1.Profiles_Renew_FullMethodName, &profilev1.Renewal{
			Incarnation: r.Incarnation, Binding: r.Binding, Registration: r.Identity.Registration,
		}, &profilev1.Renewed{}) // one that fails is as good as a lost one
		cancel()
		measure.Sleep(ctx, every)
	}
}

// stopRenewing makes it silent; it may still send requests.
func (r *rawServer) stopRenewing() { r.renewing() }

func (r *rawServer) close() {
	if r.renewing != nil {
		r.renewing()
	}
	if r.ping != nil {
		_ = r.ping.Close()
	}
	r.nodes.Close()
}

// rawSession is a session of a raw game server.
type rawSession struct {
	key      string
	token    uint64
	revision uint64
	event    history.Event // Process, Key, Session, Loads
}

// startSession takes a profile that nobody owns; nil: it did not.
func (r *rawServer) startSession(ctx context.Context, w *worker, key string) *rawSession {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	request := &profilev1.StartSessionRequest{Store: Store, Key: key, WhenOwned: profilev1.WhenOwned_WHEN_OWNED_REFUSE}
	answer := &profilev1.StartSessionResponse{}
	e := history.Event{Process: w.name, Action: history.Start, Key: key}
	op := w.game.events.begin(e)
	if err := r.Change(ctx, profilev1.Profiles_StartSession_FullMethodName, request, answer); err != nil || answer.GetQueued() {
		e.Op, e.Type = op, history.Info
		w.game.events.record(e)
		return nil
	}
	e.Loads, e.Revision, e.Doc = answer.GetLoadCount(), int64(answer.GetProfile().GetRevision()), &history.Doc{}
	if data := answer.GetProfile().GetData(); len(data) > 0 {
		if err := json.Unmarshal(data, e.Doc); err != nil {
			e.Detail = err.Error()
		}
		e.Doc = copyDoc(e.Doc)
	}
	e.Session = fmt.Sprintf("raw/%s/%d", key, e.Loads)
	w.game.events.complete(op, e, nil)
	return &rawSession{
		key: key, token: answer.GetHeader().GetToken(), revision: answer.GetProfile().GetRevision(),
		event: history.Event{Process: w.name, Key: key, Session: e.Session, Loads: e.Loads},
	}
}

// saveOnce saves the session for the first time, and returns whether that is known to have happened.
func (r *rawServer) saveOnce(ctx context.Context, w *worker, s *rawSession) bool {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	e := s.event
	e.Action, e.Doc = history.Save, &history.Doc{Writer: e.Session, Seq: 1}
	request, err := makeSave(s.key, s.token, s.revision, *e.Doc)
	if err != nil {
		return false
	}
	answer := &profilev1.SaveResponse{}
	op := w.game.events.begin(e)
	if err := r.Change(ctx, profilev1.Profiles_Save_FullMethodName, request, answer); err != nil {
		e.Op, e.Type = op, history.Info
		w.game.events.record(e)
		return false
	}
	s.revision = answer.GetHeader().GetRevision()
	e.Revision = int64(s.revision)
	w.game.events.complete(op, e, nil)
	return true
}

// makeSave makes a save with a token, on a base.
func makeSave(key string, token, base uint64, doc history.Doc) (*profilev1.SaveRequest, error) {
	data, err := json.Marshal(doc)
	hash := sha256.Sum256(data)
	return &profilev1.SaveRequest{
		Store: Store, Key: key, Token: token, Base: base, Codec: 1, Data: data, Hash: hash[:], KeepTags: true,
	}, err
}

// number writes the header of a change into it, under a number.
func (r *rawServer) number(number uint64, request proto.Message) error {
	hash, err := wire.HashRequest(request)
	if err == nil {
		wire.SetRequestHeader(request, r.RequestHeader(r.Numbers, number, hash))
	}
	return err
}
