package raftlog

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// slowPeer applies one entry at a time, and slowly.
type slowPeer struct {
	*peer
	began chan struct{}
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

// What was committed and waits to be applied when raft goes down is answered to nobody. A wait for it must end by itself.
func TestRaftAloneForgetsToAnswerWhenItGoesDown(t *testing.T) {
	for range 20 { // the goroutine that applies chooses at random between its next work and its end
		log := raft.NewInmemStore()
		p := slowPeer{newPeer(t, "a", 1, log), make(chan struct{}, 1), make(chan struct{})}
		mustStore(t, log, configured(1, servers("a")))
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
			case <-time.After(100 * time.Millisecond): // raft's goroutines have all ended: nobody is left to answer
				return
			}
		}
	}
	t.Error("raft answered everything: the cure is not needed any more")
}
