package servertest

import (
	"errors"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Message is one that waits for a profile.
type Message = fsm.Message

// Row is a profile as the tables have it.
type Row struct {
	Revision uint64
	Token    uint64
	Owner    lock.Incarnation // 0: none in force
	Data     []byte
	Messages []Message // those that are not set aside
	Loads    uint64    // sessions that were granted
}

func (l *Log) read(read func(v *fsm.View) error) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	v, err := l.machine.View()
	if err == nil {
		err = errors.Join(read(v), v.Close())
	}
	if err != nil {
		l.t.Errorf("read the tables: %v", err)
	}
}

// Profile reads a profile.
func (l *Log) Profile(store, key string) (row Row) {
	l.t.Helper()
	l.read(func(v *fsm.View) error {
		grant, err := v.Grant(store, key)
		if err != nil {
			return err
		}
		row.Token, row.Loads = uint64(grant.Token), grant.Loads
		if grant.Owner != 0 {
			s, ok, err := v.Server(grant.Owner)
			if err != nil {
				return err
			}
			if ok && s.Alive {
				row.Owner = grant.Owner
			}
		}
		profile, _, err := v.Profile(store, key)
		if err != nil {
			return err
		}
		row.Revision = profile.Revision
		if row.Data, _, err = v.Data(store, key, profile.Revision); err != nil {
			return err
		}
		row.Messages, err = v.Messages(store, key, 0, 100)
		return err
	})
	return row
}

func (l *Log) servers() (list []fsm.Server) {
	l.t.Helper()
	l.read(func(v *fsm.View) (err error) {
		list, err = v.Servers()
		return err
	})
	return list
}

// Alive is the living incarnation of the game server with this name, or 0.
func (l *Log) Alive(name string) lock.Incarnation {
	l.t.Helper()
	for _, s := range l.servers() {
		if s.Alive && s.Name == name {
			return s.Incarnation
		}
	}
	return 0
}

// Expire ends an incarnation, as after a lease of silence, and grants its profiles to those that wait for them.
func (l *Log) Expire(id lock.Incarnation) {
	l.t.Helper()
	for _, s := range l.servers() {
		if s.Incarnation == id {
			verdict := &fsm.Expiry{Incarnation: uint64(id), Last: uint64(s.Last), Ground: uint32(lock.Silence)}
			l.Do(&fsm.ExpireServers{Term: 1, Expiries: []*fsm.Expiry{verdict}})
			l.Do(&fsm.GrantToWaiters{Incarnation: uint64(id), Limit: fsm.MaxStep})
		}
	}
}

// Revoke takes the grant of a profile from its owner, as when a hand-off took too long.
func (l *Log) Revoke(store, key string) {
	l.t.Helper()
	l.Do(&fsm.Revoke{Store: store, Key: key, Token: l.Profile(store, key).Token})
}

// Lapse lets a revoked grant end without its owner's acknowledgement, as after the evidence time.
func (l *Log) Lapse(store, key string) {
	l.t.Helper()
	l.Do(&fsm.Lapse{Term: 1, Store: store, Key: key, Token: l.Profile(store, key).Token})
}

// Owned lists the profiles that have an owner, as "store/key".
func (l *Log) Owned() (list []string) {
	l.t.Helper()
	for _, s := range l.servers() {
		if !s.Alive {
			continue
		}
		l.read(func(v *fsm.View) error {
			grants, err := v.GrantsOf(s.Incarnation)
			for _, g := range grants {
				if g.Owner == s.Incarnation {
					list = append(list, g.Store+"/"+g.Key)
				}
			}
			return err
		})
	}
	return list
}

// Clear drops the messages that wait for a profile, as an operator does.
func (l *Log) Clear(store, key string) {
	l.t.Helper()
	nonce := []byte("operator's nonce")
	operator := l.Do(&fsm.Register{Name: "operator", Kind: 1, Nonce: nonce, Cluster: l.cluster})
	for i, m := range l.Profile(store, key).Messages {
		request := &fsm.Request{Incarnation: uint64(operator.Token), Number: uint64(i) + 1, Hash: 1, Registration: lock.Registration(nonce)}
		result, err := l.Apply(fsm.NewCommand(request, &fsm.ClearMessage{Store: store, Key: key, Id: m.ID}))
		if err != nil || result.Code != fsm.OK {
			l.t.Errorf("clear message %d of %s/%s: %v, %v", m.ID, store, key, result.Code, err)
		}
	}
}

// Grant grants a profile to the living game server with this name, which has not asked for it.
func (l *Log) Grant(name, store, key string) {
	l.t.Helper()
	for _, s := range l.servers() {
		if s.Alive && s.Name == name {
			// A number that its client does not come to.
			request := &fsm.Request{Incarnation: uint64(s.Incarnation), Number: s.Settled + 1000, Hash: 1, Registration: lock.Registration(s.Nonce)}
			if result, err := l.Apply(fsm.NewCommand(request, &fsm.StartSession{Store: store, Key: key})); err != nil || result.Code != fsm.OK {
				l.t.Errorf("grant %s/%s: %v, %v", store, key, result.Code, err)
			}
		}
	}
}

// TellLost pushes the event that the owner of a profile has lost it, which it has not.
func (l *Log) TellLost(store, key string) {
	l.t.Helper()
	row := l.Profile(store, key)
	l.Tell(fsm.Event{Kind: fsm.Lost, Server: row.Owner, Store: store, Key: key, Token: lock.Token(row.Token)})
}

// TellMessage pushes a message to the owner in a row.
func (l *Log) TellMessage(store, key string, row Row, id, after uint64, body string) {
	l.Tell(fsm.Event{
		Kind: fsm.MessageWait, Server: row.Owner, Store: store, Key: key, Token: lock.Token(row.Token), Message: id, After: after, Body: body,
	})
}
