package server

import (
	"context"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
)

// TimingClasses lists the timing classes by name.
func (s operator) TimingClasses(ctx context.Context, q *profilev1.TimingClassesRequest) (*profilev1.TimingClassesResponse, error) {
	if err := shaped(0, checkMode(q.GetMode())); err != nil {
		return nil, err
	}
	view, err := s.view(ctx, q.GetMode())
	if err != nil {
		return nil, err
	}
	defer func() { _ = view.Close() }()
	classes, err := view.TimingClasses()
	if err != nil {
		return nil, s.broken(0, err)
	}
	reply := &profilev1.TimingClassesResponse{Stands: readAt(view, q.GetMode(), 0, 0)}
	for _, c := range classes {
		reply.Classes = append(reply.Classes, timing(c))
	}
	return reply, nil
}

// SetTimingClass makes a timing class, or changes it for later registrations.
func (s operator) SetTimingClass(ctx context.Context, q *profilev1.SetTimingClassRequest) (*profilev1.SetTimingClassResponse, error) {
	t := q.GetTiming()
	class := &fsm.SetTimingClass{
		Name: t.GetName(), RenewMs: t.GetRenewMs(), DoubtMs: t.GetDoubtMs(), EvidenceMs: t.GetEvidenceMs(), LeaseMs: t.GetLeaseMs(),
		HandOffMs: t.GetHandOffMs(),
	}
	if err := shaped(q.GetRequest().GetNumber(), checkRequest(q.GetRequest()), checkClass(class)); err != nil {
		return nil, err
	}
	result, err := s.change(ctx, q.GetRequest(), class)
	if err != nil {
		return nil, err
	}
	return &profilev1.SetTimingClassResponse{Stands: stands(q.GetRequest(), result)}, nil
}

func checkClass(c *fsm.SetTimingClass) error {
	if err := fsm.CheckClassName(c.GetName()); err != nil {
		return err
	}
	return fsm.CheckClass(c)
}
