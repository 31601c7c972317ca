package server

import "context"

// HoldReads takes all the bytes that may be read for answers at once.
func (s *Server) HoldReads() (giveBack func()) {
	giveBack, err := s.reads.take(context.Background(), int(s.limits.ReadBytes))
	if err != nil {
		panic(err)
	}
	return giveBack
}
