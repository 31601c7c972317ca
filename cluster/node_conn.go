package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// nodeConn keeps one connection to one node and asks one question at a time. A connection that failed is dialled again by
// the next question.
type nodeConn struct {
	transport *transport
	address   string
	target    string // "": any node that answers there

	turn chan struct{} // holds one token while no question is asked
	conn net.Conn      // nil: not connected; belongs to the goroutine that has the turn
}

func (t *transport) connTo(address, target string) *nodeConn {
	a := &nodeConn{transport: t, address: address, target: target, turn: make(chan struct{}, 1)}
	a.turn <- struct{}{}
	return a
}

// ask returns the payload of the answer. It gives up when ctx ends, which must have a deadline.
func (a *nodeConn) ask(ctx context.Context, about questionKind, question []byte) ([]byte, error) {
	select {
	case <-a.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { a.turn <- struct{}{} }()
	if a.conn == nil {
		o := openingFrame{kind: kindPeer, target: a.target}
		if a.target != "" {
			o.cluster = a.transport.clusterID()
		}
		c, err := a.transport.dialNode(ctx, a.address, o)
		if err != nil {
			return nil, err
		}
		a.conn = c
	}
	c := a.conn
	// A deadline in the past makes reads and writes return at once.
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	answer, err := exchangeMessages(c, about, question)
	if !stop() || err != nil {
		c.Close()
		a.conn = nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask node at %s: %w", a.address, err)
	}
	return answer, nil
}

func exchangeMessages(c net.Conn, about questionKind, question []byte) ([]byte, error) {
	if err := writeMessage(c, about, question); err != nil {
		return nil, err
	}
	got, answer, err := readMessage(c, maxMessageBytes)
	if err != nil {
		return nil, err
	}
	if got == answerRefused {
		return nil, fmt.Errorf("it refused: %s", answer)
	}
	if got != about {
		return nil, errWireFormat
	}
	return answer, nil
}

func (a *nodeConn) askJSON(ctx context.Context, about questionKind, question, answer any) error {
	text, err := json.Marshal(question)
	if err != nil {
		return err
	}
	if text, err = a.ask(ctx, about, text); err != nil {
		return err
	}
	return json.Unmarshal(text, answer)
}

// close waits for the question under way.
func (a *nodeConn) close() {
	<-a.turn
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
	a.turn <- struct{}{}
}

// nodeConns are those of the other members, by address.
type nodeConns map[raft.ServerAddress]*nodeConn

// askEach asks the members but n itself, all at the same time, and closes connections to former members.
func (as nodeConns) askEach(n *Node, members []raft.Server, ask func(raft.Server, *nodeConn)) {
	var asking sync.WaitGroup
	current := map[raft.ServerAddress]bool{}
	for _, s := range members {
		if string(s.ID) == n.ID() {
			continue
		}
		current[s.Address] = true
		a := as[s.Address]
		if a == nil {
			a = n.transport.connTo(hostPort(s.Address), string(s.ID))
			as[s.Address] = a
		}
		asking.Go(func() { ask(s, a) })
	}
	asking.Wait()
	maps.DeleteFunc(as, func(address raft.ServerAddress, a *nodeConn) bool {
		if !current[address] {
			a.close()
		}
		return !current[address]
	})
}

func (as nodeConns) close() {
	for _, a := range as {
		a.close()
	}
}
