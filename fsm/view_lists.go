package fsm

import "bytes"

// maxListed is the count of records that one List reads: those of removed profiles are passed over.
const maxListed = 10_000

// List lists existing profiles of a store whose keys begin with prefix and come after a key, without data. next is the key
// after which to go on; "" says that there are no more.
func (v *View) List(store, prefix, from string, limit int) (list []Profile, next string, err error) {
	r := v.tableReader()
	head := appendText([]byte{tableRecord}, store)
	begin := append(bytes.Clone(head), prefix...)
	end := keyAfterPrefix(begin)
	if after := append(append(bytes.Clone(head), from...), 1); from != "" && bytes.Compare(after, begin) > 0 {
		begin = after
	}
	last, passed, more := "", 0, false
	r.scanRows(begin, end, func(key, row []byte) bool {
		name, _ := splitTextPart(key[len(head):])
		p, err := decodeProfile(store, name, row)
		r.noteError(err)
		if more = passed == maxListed || p.Exists && len(list) == limit; more {
			return false
		}
		last, passed = name, passed+1
		if p.Exists {
			list = append(list, p)
		}
		return true
	})
	if more {
		next = last
	}
	return list, next, r.err
}

// ListedInbox is the inbox of a profile, in a list.
type ListedInbox struct {
	Key string
	Inbox
	NeverSaved, Removed bool
}

// Inboxes lists the profiles of a store that come after a key and have messages, or, with neverSaved, those of them that were never
// saved. next is the key after which to go on; "" says that there are no more.
func (v *View) Inboxes(store, from string, neverSaved bool, limit int) (list []ListedInbox, next string, err error) {
	r := v.tableReader()
	head := appendText([]byte{tableInbox}, store)
	begin := head
	if from != "" {
		begin = append(append(bytes.Clone(head), from...), 1)
	}
	last, passed, more := "", 0, false
	r.scanRows(begin, keyAfterPrefix(head), func(key, row []byte) bool {
		if more = passed == maxListed || len(list) == limit; more {
			return false
		}
		name, _ := splitTextPart(key[len(head):])
		last, passed = name, passed+1
		box, err := decodeInbox(row)
		r.noteError(err)
		if box.Waiting+box.SetAside == 0 {
			return true
		}
		p := r.readRecord(store, name)
		if found := (ListedInbox{name, box, p.Revision == 0, p.Revision > 0 && !p.Exists}); found.NeverSaved || !neverSaved {
			list = append(list, found)
		}
		return true
	})
	if more {
		next = last
	}
	return list, next, r.err
}

// Stores lists the stores that have profiles.
func (v *View) Stores() ([]string, error) {
	r := v.tableReader()
	var list []string
	from := []byte{tableRecord}
	for r.err == nil {
		found := false
		r.scanRows(from, []byte{tableRecord + 1}, func(key, _ []byte) bool {
			store, _ := splitTextPart(key[1:])
			list = append(list, store)
			from = keyAfterPrefix(appendText([]byte{tableRecord}, store))
			found = true
			return false
		})
		if !found {
			break
		}
	}
	return list, r.err
}
