package peerwire

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// Conn keeps one connection to one node and asks one question at a time. After a failure the next question dials again.
type Conn struct {
	port    *Port
	address string
	target  string // node id; "": any node that answers there

	turn chan struct{} // holds one token while no question is asked
	conn net.Conn      // nil: not connected; belongs to the goroutine that has the turn
}

// ConnTo returns a Conn to the node with the given id, or with "" to any node at the address. It dials with the first
// question.
func (p *Port) ConnTo(address, target string) *Conn {
	a := &Conn{port: p, address: address, target: target, turn: make(chan struct{}, 1)}
	a.turn <- struct{}{}
	return a
}

// ask returns the payload of the answer. It gives up when ctx ends, which must have a deadline.
func (a *Conn) ask(ctx context.Context, about questionKind, question []byte) ([]byte, error) {
	select {
	case <-a.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { a.turn <- struct{}{} }()
	if a.conn == nil {
		o := openingFrame{kind: kindPeer, target: a.target}
		if a.target != "" {
			o.cluster = a.port.clusterID()
		}
		c, err := a.port.dialNode(ctx, a.address, o)
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
	if got != about {
		return nil, errWireFormat
	}
	return answer, nil
}

func (a *Conn) askJSON(ctx context.Context, about questionKind, question, answer any) error {
	text, err := json.Marshal(question)
	if err != nil {
		return err
	}
	if text, err = a.ask(ctx, about, text); err != nil {
		return err
	}
	return json.Unmarshal(text, answer)
}

// AskNonce asks for the node's present term and clock.
func (a *Conn) AskNonce(ctx context.Context, nonce uint64) (NonceAnswer, error) {
	answer, err := a.ask(ctx, questionNonce, binary.BigEndian.AppendUint64(nil, nonce))
	if err != nil {
		return NonceAnswer{}, err
	}
	if len(answer) != 24 || binary.BigEndian.Uint64(answer) != nonce {
		a.Close()
		return NonceAnswer{}, fmt.Errorf("ask node at %s: %w", a.address, errWireFormat)
	}
	return NonceAnswer{
		Term:   binary.BigEndian.Uint64(answer[8:]),
		WallMS: int64(binary.BigEndian.Uint64(answer[16:])),
	}, nil
}

// AskHello asks for the node's identity and state.
func (a *Conn) AskHello(ctx context.Context, q HelloQuestion) (Hello, error) {
	var h Hello
	err := a.askJSON(ctx, questionHello, q, &h)
	return h, err
}

// AskJoin asks the node to take another one into its cluster.
func (a *Conn) AskJoin(ctx context.Context, q JoinQuestion) (JoinAnswer, error) {
	var j JoinAnswer
	err := a.askJSON(ctx, questionJoin, q, &j)
	return j, err
}

// AskReach has the node call ping ports of game servers.
func (a *Conn) AskReach(ctx context.Context, q ReachQuestion) (ReachAnswer, error) {
	var r ReachAnswer
	err := a.askJSON(ctx, questionReach, q, &r)
	return r, err
}

// Close waits for the question under way, and closes the connection. A later question dials again.
func (a *Conn) Close() {
	<-a.turn
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
	a.turn <- struct{}{}
}
