package cluster

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/lock"
)

// questionKind is a question of one node to another, and the type of its answer.
type questionKind byte

const (
	questionNonce questionKind = 1 // the term of the node, now
	questionHello questionKind = 2 // the identity of the node
	questionJoin  questionKind = 3 // let me in
	// the digest of the tables after an entry
	questionDigest questionKind = 4
	answerRefused  questionKind = 255 // an error, as text
)

// nonceAnswer is the answer to a nonce: made after the question arrived.
type nonceAnswer struct {
	term   uint64 // of the running raft instance
	wallMS int64
}

// helloAnswer is the identity and state of a node.
type helloAnswer struct {
	ID           string   `json:"id"`
	ProcessID    string   `json:"life,omitempty"`    // random, of this process
	Cluster      string   `json:"cluster,omitempty"` // hex
	Member       bool     `json:"member,omitempty"`  // its raft runs: it belongs to Cluster
	Address      string   `json:"address"`           // advertised, for nodes
	Client       string   `json:"client,omitempty"`
	Gossip       string   `json:"gossip,omitempty"`
	ServerGossip string   `json:"servers,omitempty"` // where it gossips with game servers
	Level        uint32   `json:"level"`             // highest that it can apply
	Version      string   `json:"version,omitempty"`
	Nodes        []string `json:"nodes,omitempty"`   // as configured
	Members      []Peer   `json:"members,omitempty"` // the configuration as it knows it
	Leader       string   `json:"leader,omitempty"`  // host:port for nodes
	Term         uint64   `json:"term,omitempty"`
	LastIndex    uint64   `json:"last,omitempty"`    // of its log
	Applied      uint64   `json:"applied,omitempty"` // of its tables
	FreeBytes    uint64   `json:"free,omitempty"`    // bytes on its disk, if it knows
	BelowReserve bool     `json:"short,omitempty"`   // of space: below its reserve

	Detector lock.Detector `json:"detector"` // its tick and ping settings
}

type joinQuestion struct {
	ID        string `json:"id"`
	Address   string `json:"address"`
	Level     uint32 `json:"level"`
	ProcessID string `json:"life,omitempty"`    // as in its helloAnswer
	Cluster   string `json:"cluster,omitempty"` // hex; of a member that has moved; "": in none yet
}

type joinAnswer struct {
	Cluster string `json:"cluster,omitempty"` // it is in, and this is its cluster
	Leader  string `json:"leader,omitempty"`  // ask there instead
	Refused string `json:"refused,omitempty"`
}

// serveConn answers questions until the connection ends. strict: it named this cluster and this node.
func (n *Node) serveConn(c net.Conn, strict bool) {
	for {
		about, question, err := readMessage(c, maxQuestionBytes)
		if err != nil {
			return
		}
		answer, err := n.answerQuestion(about, question, strict)
		if errors.Is(err, errWireFormat) {
			return
		}
		c.SetWriteDeadline(time.Now().Add(progressLimit))
		if err != nil {
			about, answer = answerRefused, []byte(err.Error())
		}
		if err := writeMessage(c, about, answer); err != nil {
			return
		}
	}
}

func (n *Node) answerQuestion(about questionKind, question []byte, strict bool) ([]byte, error) {
	switch {
	case about == questionNonce && strict:
		return n.answerNonce(question)
	case about == questionDigest && strict:
		return n.answerDigest(question)
	case about == questionHello:
		return json.Marshal(n.helloNow())
	case about == questionJoin:
		var q joinQuestion
		if err := json.Unmarshal(question, &q); err != nil {
			return nil, errWireFormat
		}
		return json.Marshal(n.answerJoin(q))
	}
	return nil, errWireFormat
}

// answerNonce speaks for the running raft instance or not at all: the state on disk may be older than a vote.
func (n *Node) answerNonce(nonce []byte) ([]byte, error) {
	r := n.raftIfRunning()
	if len(nonce) != 8 || r == nil || r.State() == raft.Shutdown {
		return nil, errWireFormat
	}
	answer := append(make([]byte, 0, 24), nonce...)
	answer = binary.BigEndian.AppendUint64(answer, r.CurrentTerm())
	return binary.BigEndian.AppendUint64(answer, uint64(n.config.Now().UnixMilli())), nil
}

func (n *Node) helloNow() helloAnswer {
	r := n.raftIfRunning() // before its identity: a node with a running raft has its cluster's name, and must not say that it has none
	own := n.currentIdentity()
	h := helloAnswer{
		ID: own.ID, ProcessID: n.processID, Address: n.transport.address, Client: n.config.Client, Gossip: n.gossipAddress(), ServerGossip: n.serverGossipAddress(),
		Level: n.config.Level, Version: n.config.Version, Nodes: n.config.Nodes,
		FreeBytes: n.space.freeBytes.Load(), BelowReserve: n.space.belowReserve.Load(),
		Detector: n.config.Detector,
	}
	if r == nil {
		return h
	}
	h.Cluster, h.Member = own.Cluster, true
	h.Members = configuredPeers(r)
	leader, _ := r.LeaderWithID()
	h.Leader = hostPort(leader)
	h.Term, h.LastIndex, h.Applied = r.CurrentTerm(), r.LastIndex(), n.tables.positionNow().Index
	return h
}

// configuredPeers is the latest configuration, committed or not: raft itself counts by it.
func configuredPeers(r *raft.Raft) []Peer {
	var peers []Peer
	for _, s := range r.GetConfiguration().Configuration().Servers {
		peers = append(peers, Peer{ID: string(s.ID), Address: hostPort(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	return peers
}

func (n *Node) answerJoin(q joinQuestion) joinAnswer {
	r := n.raftIfRunning()
	if r == nil {
		return joinAnswer{Refused: "this node is in no cluster yet"}
	}
	l := n.leaderStateNow()
	if l == nil {
		leader, _ := r.LeaderWithID()
		return joinAnswer{Leader: hostPort(leader), Refused: "this node does not lead"}
	}
	ctx, cancel := context.WithTimeout(l.ctx, joinTimeout)
	defer cancel()
	if err := n.admitNode(ctx, q); err != nil {
		if n.joinRefusals.shouldLog(q.Address, time.Now()) {
			n.log.Warn("refused a node that asked to join; it asks again", "node", q.ID, "address", q.Address, "error", err)
		}
		return joinAnswer{Refused: err.Error()}
	}
	return joinAnswer{Cluster: n.currentIdentity().Cluster}
}

// askNonce asks for a term and a clock.
func (a *nodeConn) askNonce(ctx context.Context, nonce uint64) (nonceAnswer, error) {
	answer, err := a.ask(ctx, questionNonce, binary.BigEndian.AppendUint64(nil, nonce))
	if err != nil {
		return nonceAnswer{}, err
	}
	if len(answer) != 24 || binary.BigEndian.Uint64(answer) != nonce {
		a.close()
		return nonceAnswer{}, fmt.Errorf("ask node at %s: %w", a.address, errWireFormat)
	}
	return nonceAnswer{
		term:   binary.BigEndian.Uint64(answer[8:]),
		wallMS: int64(binary.BigEndian.Uint64(answer[16:])),
	}, nil
}

func (a *nodeConn) askHello(ctx context.Context) (helloAnswer, error) {
	var h helloAnswer
	err := a.askJSON(ctx, questionHello, struct{}{}, &h)
	return h, err
}

func (a *nodeConn) askJoin(ctx context.Context, q joinQuestion) (joinAnswer, error) {
	var j joinAnswer
	err := a.askJSON(ctx, questionJoin, q, &j)
	return j, err
}
