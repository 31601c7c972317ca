package server

import (
	"context"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
)

// TimingClasses lists the timing classes by name.
func (s operatorService) TimingClasses(ctx context.Context, q *profilev1.TimingClassesRequest) (*profilev1.TimingClassesResponse, error) {
	if err := checkFieldErrors(0, checkMode(q.GetMode())); err != nil {
		return nil, err
	}
	view, err := s.openView(ctx, q.GetMode())
	if err != nil {
		return nil, err
	}
	defer func() { _ = view.Close() }()
	classes, err := view.TimingClasses()
	if err != nil {
		return nil, s.refusals.brokenError(0, err)
	}
	reply := &profilev1.TimingClassesResponse{Header: readHeader(view, q.GetMode(), 0, 0)}
	for _, c := range classes {
		reply.Classes = append(reply.Classes, timingToWire(c))
	}
	return reply, nil
}

// SetTimingClass makes a timing class, or changes it for later registrations.
func (s operatorService) SetTimingClass(ctx context.Context, q *profilev1.SetTimingClassRequest) (*profilev1.SetTimingClassResponse, error) {
	t := q.GetTiming()
	class := &fsm.SetTimingClass{
		Name: t.GetName(), RenewMs: t.GetRenewMs(), DoubtMs: t.GetDoubtMs(), EvidenceMs: t.GetEvidenceMs(), LeaseMs: t.GetLeaseMs(),
		HandOffMs: t.GetHandOffMs(),
	}
	if err := checkFieldErrors(q.GetRequest().GetNumber(), checkRequest(q.GetRequest()), checkClass(class)); err != nil {
		return nil, err
	}
	result, err := s.proposeChange(ctx, q.GetRequest(), class)
	if err != nil {
		return nil, err
	}
	return &profilev1.SetTimingClassResponse{Header: replyHeader(q.GetRequest(), result)}, nil
}

func checkClass(c *fsm.SetTimingClass) error {
	if err := fsm.CheckClassName(c.GetName()); err != nil {
		return err
	}
	return fsm.CheckClass(c)
}
