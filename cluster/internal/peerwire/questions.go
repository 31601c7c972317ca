package peerwire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"time"

	"github.com/profilenode/profilenode/lock"
)

// questionKind is a question of one node to another, and the type of its answer.
type questionKind byte

const (
	questionNonce questionKind = 1 // the node's term and clock, read after the question arrived
	questionHello questionKind = 2 // the node's identity and state
	questionJoin  questionKind = 3 // to be taken into the cluster
	questionReach questionKind = 4 // which ping ports of game servers it reaches
)

// NonceAnswer is the answer to a nonce, made after the question arrived.
type NonceAnswer struct {
	Term   uint64 // of the running raft instance
	WallMS int64  // the node's wall clock, Unix milliseconds
}

// Peer is a node of a cluster as raft's configuration names it.
type Peer struct {
	ID      string `json:"id"`
	Address string `json:"address"` // host:port for nodes
	Voter   bool   `json:"voter"`
}

// HelloQuestion asks for a node's identity and state.
type HelloQuestion struct {
	DigestAt uint64 `json:"digest_at,omitempty"` // index of an entry after which the digest of the tables is asked for; 0: none
}

// Hello is the identity and state of a node.
type Hello struct {
	ID           string   `json:"id"`
	ProcessID    string   `json:"process,omitempty"` // random, of this process
	Cluster      string   `json:"cluster,omitempty"` // hex
	Member       bool     `json:"member,omitempty"`  // its raft runs: it belongs to Cluster
	Address      string   `json:"address"`           // advertised, for nodes
	Client       string   `json:"client,omitempty"`  // its address for clients
	Gossip       string   `json:"gossip,omitempty"`
	ServerGossip string   `json:"server_gossip,omitempty"` // its address in the game servers' gossip
	Level        uint32   `json:"level"`                   // highest that it can apply
	Version      string   `json:"version,omitempty"`
	Nodes        []string `json:"nodes,omitempty"`   // as configured
	Members      []Peer   `json:"members,omitempty"` // the configuration as it knows it
	Leader       string   `json:"leader,omitempty"`  // host:port for nodes
	Term         uint64   `json:"term,omitempty"`
	LastIndex    uint64   `json:"last,omitempty"`          // of its log
	Applied      uint64   `json:"applied,omitempty"`       // of its tables
	FreeBytes    uint64   `json:"free,omitempty"`          // on its disk; 0: not known
	BelowReserve bool     `json:"below_reserve,omitempty"` // FreeBytes is below its reserve
	DiskHangs    bool     `json:"hangs,omitempty"`         // an operation of its disk has not returned for long

	DigestAt uint64 `json:"digest_at,omitempty"` // as in the question; 0: it has no digest for that index
	Digest   uint64 `json:"digest,omitempty"`    // of its tables after entry DigestAt

	ScrubbedAt uint64 `json:"scrubbed_at,omitempty"` // index of the entry that had rows compared last; 0: none
	ScrubSum   uint64 `json:"scrub_sum,omitempty"`   // of these rows

	Detector lock.Detector `json:"detector"` // its tick and ping settings
}

// JoinQuestion asks a leader to take a node into its cluster, or to note the new address of a member.
type JoinQuestion struct {
	ID        string `json:"id"`
	Address   string `json:"address"`
	Level     uint32 `json:"level"`
	ProcessID string `json:"process,omitempty"` // as in its Hello
	Cluster   string `json:"cluster,omitempty"` // hex; of a member that has moved; "": in none yet
}

// JoinAnswer is the answer to a JoinQuestion.
type JoinAnswer struct {
	Cluster string `json:"cluster,omitempty"` // the node is in this cluster now
	Leader  string `json:"leader,omitempty"`  // address of the leader, to be asked instead
	Refused string `json:"refused,omitempty"` // reason of the refusal
}

// MaxReachPorts is how many ping ports a ReachQuestion names at most.
const MaxReachPorts = 16

// ReachQuestion has a node call the ping ports of game servers.
type ReachQuestion struct {
	Ports []ReachPort `json:"ports"`
}

// ReachPort is the ping port of an incarnation of a game server.
type ReachPort struct {
	Incarnation uint64 `json:"incarnation"`
	Address     string `json:"address"`
}

// ReachAnswer is the answer to a ReachQuestion, after at most about a second.
type ReachAnswer struct {
	Reached int `json:"reached"` // ports that answered as their incarnation
}

// Answers holds a node's answers to the questions of other nodes. Nonce and Reach are asked only on connections that named this
// cluster and this node. After an error the connection is closed.
type Answers struct {
	Nonce func() (NonceAnswer, error)
	Hello func(HelloQuestion) Hello
	Join  func(JoinQuestion) JoinAnswer
	Reach func(ReachQuestion) ReachAnswer
}

// ErrNoAnswer is returned by a node that cannot speak for a cluster at the moment.
var ErrNoAnswer = errors.New("this node gives no answer")

// serveConn answers questions until the connection ends. strict says that the connection named this cluster and this node.
func (a Answers) serveConn(c net.Conn, strict bool) {
	for {
		about, question, err := readMessage(c, maxQuestionBytes)
		if err != nil {
			return
		}
		answer, err := a.answerQuestion(about, question, strict)
		if err != nil {
			return
		}
		c.SetWriteDeadline(time.Now().Add(progressLimit))
		if err := writeMessage(c, about, answer); err != nil {
			return
		}
	}
}

func (a Answers) answerQuestion(about questionKind, question []byte, strict bool) ([]byte, error) {
	switch {
	case about == questionNonce && strict && len(question) == 8:
		answer, err := a.Nonce()
		if err != nil {
			return nil, err
		}
		frame := binary.BigEndian.AppendUint64(append(make([]byte, 0, 24), question...), answer.Term)
		return binary.BigEndian.AppendUint64(frame, uint64(answer.WallMS)), nil
	case about == questionHello:
		var q HelloQuestion
		if err := json.Unmarshal(question, &q); err != nil {
			return nil, errWireFormat
		}
		return json.Marshal(a.Hello(q))
	case about == questionReach && strict:
		var q ReachQuestion
		if err := json.Unmarshal(question, &q); err != nil || len(q.Ports) > MaxReachPorts {
			return nil, errWireFormat
		}
		return json.Marshal(a.Reach(q))
	case about == questionJoin:
		var q JoinQuestion
		if err := json.Unmarshal(question, &q); err != nil {
			return nil, errWireFormat
		}
		return json.Marshal(a.Join(q))
	}
	return nil, errWireFormat
}
