package server

import (
	"context"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Audit lists what operators, game servers and the cluster did, of one ring or of both.
func (s operatorService) Audit(ctx context.Context, q *profilev1.AuditRequest) (*profilev1.AuditResponse, error) {
	if err := checkFieldErrors(0, checkMode(q.GetMode()), checkRing(q.GetRing()),
		checkAfter("key", q.GetKey()), checkStores(q.GetStore())); err != nil {
		return nil, err
	}
	view, err := s.openView(ctx, q.GetMode())
	if err != nil {
		return nil, err
	}
	defer func() { _ = view.Close() }()
	rows, more, err := view.Audit(fsm.AuditFilter{
		Ring: fsm.AuditRing(q.GetRing()), Store: q.GetStore(), Key: q.GetKey(), SinceMS: q.GetSinceMs(), Before: q.GetBefore(),
	}, checkPage(q.GetLimit()))
	if err != nil {
		return nil, s.refusals.brokenError(0, err)
	}
	reply := &profilev1.AuditResponse{Header: readHeader(view, q.GetMode(), 0, 0), More: more}
	for _, row := range rows {
		audit := &profilev1.AuditRecord{
			Number: row.Number, StampMs: row.StampMS, Action: row.Kind.String(), Store: row.Store, Key: row.Key,
			By: partyToWire(row.By), From: partyToWire(row.From), Reason: row.Reason, Token: uint64(row.Token),
			Cause: profilev1.Cause(row.Cause), Ring: profilev1.AuditRing(row.Ring), Revision: row.Revision, Dropped: row.Dropped,
		}
		if row.Ground != lock.Living {
			audit.Ground = row.Ground.String()
		}
		reply.Records = append(reply.Records, audit)
	}
	return reply, nil
}

func partyToWire(p fsm.Party) *profilev1.Owner {
	if p.Incarnation == 0 {
		return nil
	}
	return &profilev1.Owner{Incarnation: uint64(p.Incarnation), Name: p.Name, Where: p.Where}
}
