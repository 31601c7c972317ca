package fsm

import (
	"fmt"
	"math"
	"slices"

	"github.com/profilenode/profilenode/lock"
)

// Server is one incarnation, alive or ended and not yet forgotten.
func (v *View) Server(id lock.Incarnation) (Server, bool, error) {
	r := v.tableReader()
	s, ok := r.readServer(id)
	s.Activity = r.readActivity(id)
	return s, ok, r.err
}

// Living lists the living incarnations in their order, without their activity.
func (v *View) Living() ([]Server, error) {
	r := v.tableReader()
	var list []Server
	for _, id := range r.readLiving() {
		list = append(list, r.readLivingServer(id))
	}
	return list, r.err
}

// readLivingServer reads the row of an incarnation that is in the list of the living.
func (r *tableReader) readLivingServer(id lock.Incarnation) Server {
	s, ok := r.readServer(id)
	if !ok {
		r.noteError(fmt.Errorf("incarnation %d is listed as alive, and has no row", id))
	}
	return s
}

func (r *tableReader) readLiving() []lock.Incarnation {
	var ids []lock.Incarnation
	for _, member := range r.readMembers(livingList, 0) {
		ids = append(ids, incarnationOf(member))
	}
	slices.Sort(ids)
	return ids
}

// CountLiving counts the living incarnations.
func (v *View) CountLiving() (uint64, error) {
	r := v.tableReader()
	return r.countMembers(livingList), r.err
}

// LivingAfter lists living incarnations after one of them.
func (v *View) LivingAfter(id lock.Incarnation, limit int) (list []Server, more bool, err error) {
	r := v.tableReader()
	for _, next := range r.readLiving() {
		if next <= id {
			continue
		}
		if len(list) == limit {
			return list, true, r.err
		}
		s := r.readLivingServer(next)
		s.Activity = r.readActivity(next)
		list = append(list, s)
	}
	return list, false, r.err
}

// Servers lists every incarnation that is not forgotten.
func (v *View) Servers() ([]Server, error) {
	list, _, err := v.ServersAfter(0, math.MaxInt)
	return list, err
}

// ServersAfter lists incarnations that are not forgotten, ended ones too, after one of them.
func (v *View) ServersAfter(id lock.Incarnation, limit int) (list []Server, more bool, err error) {
	r := v.tableReader()
	r.scanRows(serverKey(tableServer, id+1), []byte{tableServer + 1}, func(key, row []byte) bool {
		if more = len(list) == limit; more {
			return false
		}
		s, err := decodeServer(incarnationOf(key), row)
		r.noteError(err)
		s.Activity = r.readActivity(s.Incarnation)
		list = append(list, s)
		return true
	})
	return list, more, r.err
}

// Registered says that a nonce has been registered, and is not forgotten.
func (v *View) Registered(nonce []byte) (bool, error) {
	r := v.tableReader()
	_, ok := r.getRow(append([]byte{tableNonce}, nonce...))
	return ok, r.err
}

// Held returns the count and the lock.HeldHash of the profiles that an incarnation holds.
func (v *View) Held(id lock.Incarnation) (int, uint64, error) {
	r := v.tableReader()
	a := r.readActivity(id)
	return a.Sessions, a.Held, r.err
}
