package raftlog

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// slowPeer is a peer that applies an entry only once goOn is closed.
type slowPeer struct {
	*peer
	began chan struct{} // gets a token when an apply begins
	goOn  chan struct{}
}

func (p slowPeer) Apply(l *raft.Log) any {
	select {
	case p.began <- struct{}{}:
	default:
	}
	<-p.goOn
	return nil
}

// Raft never answers the proposals that are committed but not applied when it is shut down. So each wait for such an
// answer must have another end.
func TestRaftAloneForgetsToAnswerWhenItGoesDown(t *testing.T) {
	for range 20 { // raft chooses at random between the next entry and its end
		log := raft.NewInmemStore()
		p := slowPeer{newPeer(t, "a", 1, log), make(chan struct{}, 1), make(chan struct{})}
		mustStore(t, log, configuredEntries(1, servers("a")))
		p.startWith(p)
		for p.raft.State() != raft.Leader {
			time.Sleep(time.Millisecond)
		}
		var answers []chan error
		for range 20 {
			f, answer := p.raft.Apply([]byte("x"), 0), make(chan error, 1)
			answers = append(answers, answer)
			go func() { answer <- f.Error() }()
			if len(answers) == 1 {
				<-p.began
			}
		}
		down := p.raft.Shutdown()
		close(p.goOn)
		if err := down.Error(); err != nil {
			t.Fatal(err)
		}
		for _, answer := range answers {
			select {
			case <-answer:
			case <-time.After(100 * time.Millisecond): // all goroutines of raft have ended: no answer will come
				return
			}
		}
	}
	t.Error("raft has answered all proposals: the waits no longer need another end")
}
