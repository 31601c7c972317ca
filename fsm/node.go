package fsm

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/profilenode/profilenode/lock"
)

// Node holds the addresses of a node. These rows, and not gossip, say where clients find the leader.
type Node struct {
	ID      string
	Address string // host:port for nodes
	Client  string // host:port for clients
	Gossip  string

	ServerGossip string // host:port in the game servers' pool
}

func (n Node) encode() []byte {
	w := newRowWriter(96)
	w.writeString(n.Address)
	w.writeString(n.Client)
	w.writeString(n.Gossip)
	if n.ServerGossip != "" { // a row without it has the same bytes as in builds that did not know it
		w.writeString(n.ServerGossip)
	}
	return w
}

func decodeNode(id string, row []byte) (Node, error) {
	f := newRowReader(row)
	n := Node{ID: id, Address: f.readString(), Client: f.readString(), Gossip: f.readString()}
	if len(f.rest) > 0 {
		n.ServerGossip = f.readString()
		if n.ServerGossip == "" {
			f.markDamaged() // encode leaves an empty one out
		}
	}
	return n, f.finishRow(tableNode)
}

func nodeKey(id string) []byte { return appendText([]byte{tableNode}, id) }

// nodeTable holds the addresses of the nodes, and those that further nodes may join from.
type nodeTable struct {
	*tableWriter
	audits *auditTable
}

func (t *nodeTable) setNode(c *SetNode) Result {
	if CheckKey(c.Id) != nil || max(len(c.Address), len(c.Client), len(c.Gossip), len(c.ServerGossip)) > MaxWhere {
		return Result{Code: Invalid}
	}
	row := Node{Address: c.Address, Client: c.Client, Gossip: c.Gossip, ServerGossip: c.ServerGossip}.encode()
	if old, known := t.getRow(nodeKey(c.Id)); !known || !bytes.Equal(old, row) { // a node states its addresses at each start
		t.putRow(nodeKey(c.Id), row)
		t.audits.addAudit(AuditSetNode, 0, 0, Audit{Reason: c.Id + " at " + c.Address})
	}
	return Result{}
}

func (t *nodeTable) removeNode(c *RemoveNode) Result {
	if CheckKey(c.Id) != nil {
		return Result{Code: Invalid}
	}
	if t.hasRow(nodeKey(c.Id)) {
		t.deleteRow(nodeKey(c.Id))
		t.audits.addAudit(AuditRemoveNode, 0, 0, Audit{Reason: c.Id})
	}
	return Result{}
}

func expectedKey(address string) []byte { return appendText([]byte{tableExpected}, address) }

// CheckNodeAddress reports in one sentence why an address is invalid for a node that is expected to join.
func CheckNodeAddress(address string) error {
	colon := strings.LastIndexByte(address, ':')
	port, err := strconv.ParseUint(address[colon+1:], 10, 16)
	if colon < 1 || err != nil || port == 0 {
		return fmt.Errorf("a node's address is host:port, such as 10.0.0.4:7401, not %q", address)
	}
	if len(address) > MaxWhere {
		return fmt.Errorf("a node's address has at most %d bytes, this one has %d", MaxWhere, len(address))
	}
	return CheckKey(address)
}

// expectNodeAt lets a node join from an address.
func (t *nodeTable) expectNodeAt(by lock.Incarnation, c *ExpectNode) Result {
	if CheckNodeAddress(c.Address) != nil {
		return Result{Code: Invalid}
	}
	if _, known := t.getRow(expectedKey(c.Address)); known {
		return Result{}
	}
	kept := 0
	t.scanRows([]byte{tableExpected}, []byte{tableExpected + 1}, func(_, _ []byte) bool { kept++; return true })
	if kept >= MaxExpected {
		return Result{Code: TooLarge, Limit: MaxExpected}
	}
	t.putRow(expectedKey(c.Address), nil)
	t.audits.addAudit(AuditExpectNode, by, 0, Audit{Reason: c.Address})
	return Result{}
}

// ExpectedNodes lists the addresses that nodes may join from, beside those that are configured, in order.
func (v *View) ExpectedNodes() ([]string, error) {
	r := v.tableReader()
	var list []string
	r.scanRows([]byte{tableExpected}, []byte{tableExpected + 1}, func(key, _ []byte) bool {
		address, _ := splitTextPart(key[1:])
		list = append(list, address)
		return true
	})
	return list, r.err
}
