package fsm

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/profilenode/profilenode/lock"
)

// View is a read snapshot of the tables at one index. Reads of absent rows return ok = false; an error means that the disk
// failed or a row is damaged.
type View struct {
	snapshot pebble.Reader
	position Position
}

// View takes a consistent view. It must be closed before the Machine is.
func (m *Machine) View() (*View, error) {
	v := &View{snapshot: m.db.NewSnapshot()}
	r := v.tableReader()
	if v.position = r.readPosition(); r.err != nil {
		_ = v.snapshot.Close()
		return nil, r.err
	}
	return v, nil
}

// Close releases the snapshot.
func (v *View) Close() error { return v.snapshot.Close() }

// Position returns the position of the view.
func (v *View) Position() Position { return v.position }

func (v *View) tableReader() *tableReader { return &tableReader{from: v.snapshot} }

// Profile returns a profile without its data; ok is true also for a removed one.
func (v *View) Profile(store, key string) (Profile, bool, error) {
	r := v.tableReader()
	p := r.readRecord(store, key)
	return p, p.Revision > 0, r.err
}

// Data returns the data of a revision, if it is still kept.
func (v *View) Data(store, key string, revision uint64) ([]byte, bool, error) {
	r := v.tableReader()
	row, ok := r.getRow(profileKeyAt(store, key, revision))
	if !ok {
		return nil, false, r.err
	}
	_, data, err := decodeData(revision, row)
	r.noteError(err)
	return data, r.err == nil, r.err
}

// History lists the revisions that are kept, oldest first.
func (v *View) History(store, key string) ([]Revision, error) {
	r := v.tableReader()
	var list []Revision
	prefix := profileKey(tableData, store, key)
	r.scanRows(prefix, keyAfterPrefix(prefix), func(key, row []byte) bool {
		h, _, err := decodeData(messageID(key), row)
		r.noteError(err)
		list = append(list, h)
		return true
	})
	return list, r.err
}

// Grant returns a profile's grant; zero if it never had an owner. It is in force only while its owner is alive.
func (v *View) Grant(store, key string) (GrantRow, error) {
	r := v.tableReader()
	return r.readGrant(store, key), r.err
}

// SessionPlace is a place in the order of all sessions: by owner, store and key.
type SessionPlace struct {
	Owner      lock.Incarnation
	Store, Key string
}

// Sessions lists grants in force or revoked, of one store or of all, after a place in their order. It reads the grants of the
// living owners, and none of the profiles that have no owner.
func (v *View) Sessions(store string, after SessionPlace, limit int) (list []OwnedGrant, more bool, err error) {
	r := v.tableReader()
	for _, owner := range r.readLiving() {
		if owner < after.Owner || r.readActivity(owner).Owned == 0 {
			continue
		}
		prefix := serverKey(tableOwned, owner)
		head := len(prefix)
		if store != "" {
			prefix = appendText(prefix, store)
		}
		from, to := prefix, keyAfterPrefix(prefix)
		if next := append(ownedKey(tableOwned, owner, after.Store, after.Key), 0); owner == after.Owner && bytes.Compare(next, from) > 0 {
			from = next
		}
		if bytes.Compare(from, to) >= 0 {
			continue
		}
		r.scanRows(from, to, func(row, _ []byte) bool {
			if more = len(list) == limit; more {
				return false
			}
			s, k, _ := splitProfileKey(row[head:])
			list = append(list, OwnedGrant{Store: s, Key: k})
			return true
		})
		if more {
			break
		}
	}
	for i := range list {
		list[i].GrantRow = r.readGrant(list[i].Store, list[i].Key)
	}
	return list, more, r.err
}

// GrantsOf lists an incarnation's grants, revoked ones too.
func (v *View) GrantsOf(id lock.Incarnation) ([]OwnedGrant, error) {
	return v.grantsByIndex(serverKey(tableOwned, id), 0)
}

// OwnedToken is a grant as the table of its owner's grants has it.
type OwnedToken struct {
	Store, Key    string
	Token, Ticket lock.Token
}

// TokensAfter lists an incarnation's grants after a profile, in order of store and key, revoked ones too; more says that
// further ones follow. It reads no row of a grant: after a leader change the held sets of a million sessions may be compared.
func (v *View) TokensAfter(id lock.Incarnation, store, key string, limit int) (list []OwnedToken, more bool, err error) {
	r := v.tableReader()
	prefix := serverKey(tableOwned, id)
	from := prefix
	if store != "" {
		from = append(ownedKey(tableOwned, id, store, key), 0)
	}
	r.scanRows(from, keyAfterPrefix(prefix), func(key, row []byte) bool {
		if more = len(list) == limit; more {
			return false
		}
		f := newRowReader(row)
		g := OwnedToken{Token: lock.Token(f.readUint()), Ticket: lock.Token(f.readUint())}
		r.noteError(f.finishRow(tableOwned))
		g.Store, g.Key, _ = splitProfileKey(key[len(prefix):])
		list = append(list, g)
		return true
	})
	return list, more, r.err
}

// OwnedInbox is a profile that has messages which are offered to its owner.
type OwnedInbox struct {
	OwnedGrant
	Inbox
}

// OwnedInboxes lists an incarnation's profiles with messages, at most limit of them. It reads none of the messages.
func (v *View) OwnedInboxes(id lock.Incarnation, limit int) ([]OwnedInbox, error) {
	r := v.tableReader()
	var list []OwnedInbox
	prefix := serverKey(tableOwnedInbox, id)
	r.scanRows(prefix, keyAfterPrefix(prefix), func(row, _ []byte) bool {
		s, k, _ := splitProfileKey(row[len(prefix):])
		list = append(list, OwnedInbox{OwnedGrant: OwnedGrant{Store: s, Key: k}})
		return len(list) < limit
	})
	for i := range list {
		m := &list[i]
		m.GrantRow, m.Inbox = r.readGrant(m.Store, m.Key), r.readInbox(m.Store, m.Key)
	}
	return list, r.err
}

// Contested lists the grants of an incarnation, or for 0 of all, that have waiters or were revoked, at most limit of them, all
// for 0. Grants of ended incarnations are among them until GrantToWaiters has passed them on.
func (v *View) Contested(id lock.Incarnation, limit int) ([]OwnedGrant, error) {
	r := v.tableReader()
	if id != 0 {
		count, known := r.readActivity(id).Contested, r.hasRow(serverKey(tableActivity, id))
		if known && count == 0 || r.err != nil {
			return nil, r.err
		}
		if known && (limit == 0 || count < limit) {
			limit = count
		}
		return v.grantsByIndex(serverKey(tableContested, id), limit)
	}
	var list []OwnedGrant
	for _, member := range r.readMembers(contestedList, limit) {
		store, key, _ := splitProfileKey(member[8:])
		list = append(list, OwnedGrant{Store: store, Key: key, GrantRow: r.readGrant(store, key)})
	}
	return list, r.err
}

// grantsByIndex lists the grants of the profiles that an index lists behind an incarnation, at most limit of them, all for 0.
func (v *View) grantsByIndex(prefix []byte, limit int) ([]OwnedGrant, error) {
	r := v.tableReader()
	var list []OwnedGrant
	r.scanRows(prefix, keyAfterPrefix(prefix), func(key, _ []byte) bool {
		store, name, _ := splitProfileKey(key[len(prefix):])
		list = append(list, OwnedGrant{Store: store, Key: name})
		return limit == 0 || len(list) < limit
	})
	for i := range list {
		list[i].GrantRow = r.readGrant(list[i].Store, list[i].Key)
	}
	return list, r.err
}

// Minute returns the count of minutes that leaders ran.
func (v *View) Minute() (uint64, error) {
	r := v.tableReader()
	return r.readMinute(), r.err
}

// EndedBefore says whether ForgetEnded would find an incarnation: one that ended before a minute, or that left nothing and
// ended before another.
func (v *View) EndedBefore(minute, nothingLeftMinute uint64) (bool, error) {
	r := v.tableReader()
	found := len(r.endedBefore(nothingLeft, nothingLeftMinute, 1))+len(r.endedBefore(somethingLeft, minute, 1)) > 0
	return found, r.err
}

// Messages lists a profile's messages that wait, with ids above one, in order.
func (v *View) Messages(store, name string, from uint64, limit int) ([]Message, error) {
	return v.messagesFrom(store, name, from, limit, false)
}

// AllMessages lists a profile's messages like Messages, those that were set aside included.
func (v *View) AllMessages(store, name string, from uint64, limit int) ([]Message, error) {
	return v.messagesFrom(store, name, from, limit, true)
}

func (v *View) messagesFrom(store, name string, from uint64, limit int, setAside bool) ([]Message, error) {
	r := v.tableReader()
	var list []Message
	prefix := profileKey(tableMessage, store, name)
	r.scanRows(numberedKey(tableMessage, store, name, from+1), keyAfterPrefix(prefix), func(key, row []byte) bool {
		m, err := decodeMessage(messageID(key), row)
		r.noteError(err)
		if m.SetAside() && !setAside {
			return true
		}
		body, ok := r.getRow(numberedKey(tableBody, store, name, m.ID))
		if !ok {
			r.noteError(fmt.Errorf("message %d of %s/%s has no body", m.ID, store, name))
		}
		m.Body = body
		list = append(list, m)
		return limit == 0 || len(list) < limit
	})
	return list, r.err
}

// Inbox counts a profile's messages.
func (v *View) Inbox(store, key string) (Inbox, error) {
	r := v.tableReader()
	return r.readInbox(store, key), r.err
}

// Nodes lists the nodes with their addresses.
func (v *View) Nodes() ([]Node, error) {
	r := v.tableReader()
	var list []Node
	r.scanRows([]byte{tableNode}, []byte{tableNode + 1}, func(key, row []byte) bool {
		id, _ := splitTextPart(key[1:])
		n, err := decodeNode(id, row)
		r.noteError(err)
		list = append(list, n)
		return true
	})
	return list, r.err
}

// Policies lists the policies of a store, or for "" the defaults of every store.
func (v *View) Policies(store string) ([]Policy, error) {
	r := v.tableReader()
	var list []Policy
	prefix := appendText([]byte{tablePolicy}, "")
	r.scanRows(prefix, keyAfterPrefix(prefix), func(key, row []byte) bool {
		name, _ := splitTextPart(key[len(prefix):])
		if store != "" && isOfCluster(name) {
			return true
		}
		p := Policy{Name: name, Value: r.decodePolicyValue(row)}
		if own, ok := r.getRow(policyKey(store, name)); store != "" && ok {
			p.Value = r.decodePolicyValue(own)
		} else {
			p.Inherited = store != ""
		}
		for _, known := range policies {
			if known.name == name {
				p.Unit, p.Help = known.unit, known.help
			}
		}
		list = append(list, p)
		return true
	})
	return list, r.err
}

// DefaultPolicy returns the value of a policy that no store has changed; 0: there is none of that name.
func (v *View) DefaultPolicy(name string) (int64, error) {
	r := v.tableReader()
	row, ok := r.getRow(policyKey("", name))
	if !ok {
		return 0, r.err
	}
	value := r.decodePolicyValue(row)
	return value, r.err
}
