package server

import "context"

// HoldReads takes all the bytes that may be read for answers at once.
func (s *Server) HoldReads() (giveBack func()) {
	taken, err := s.reads.takeBytes(context.Background(), s.limits.ReadBytes)
	if err != nil {
		panic(err)
	}
	return func() { s.reads.giveBack(taken) }
}

// ReadsHeld is how many bytes answers hold.
func (s *Server) ReadsHeld() int64 {
	s.reads.mu.Lock()
	defer s.reads.mu.Unlock()
	return s.reads.total - s.reads.free
}

// ReceivedHeld is how many bytes calls hold that have not ended.
func (s *Server) ReceivedHeld() int64 {
	s.received.mu.Lock()
	defer s.received.mu.Unlock()
	return s.received.total - s.received.free
}
