package server

import (
	"context"
	"errors"
)

// errRolledBack says, confirmed, that the cluster has lost entries that the caller was told of.
var errRolledBack = errors.New("the log ends before what the caller was told of")

// checkNotRolledBack is asked before a registration. What was told under another epoch says nothing: indexes begin elsewhere
// there.
func (s *Server) checkNotRolledBack(ctx context.Context, epoch, seen uint64) error {
	if seen == 0 {
		return nil
	}
	if _, err := s.node.ConfirmLeadership(ctx); err != nil {
		return err
	}
	view, err := s.node.View()
	if err != nil {
		return err
	}
	now := view.Position().Epoch
	if err := view.Close(); err != nil {
		return err
	}
	if epoch != now {
		return nil
	}
	return s.checkLogReaches(ctx, seen)
}

// checkLogReaches is called once this node has confirmed that it led after the caller's message came. What the caller was told is
// committed, so it lies in the log of every such leader, unless old disks were put back under a majority. It is the log that
// is asked: the tables of a sound leader may be an entry behind the index that a follower told.
func (s *Server) checkLogReaches(ctx context.Context, seen uint64) error {
	last := s.node.LastIndex()
	if seen <= last {
		return nil
	}
	s.log.Error("the cluster was rolled back: a game server was told of an entry that the log does not reach", "told", seen, "last", last)
	if err := s.node.RaiseRolledBack(ctx, seen); err != nil {
		return err // until the alarm stands the caller is told nothing, and asks again
	}
	return errRolledBack
}
