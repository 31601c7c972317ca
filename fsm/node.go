package fsm

// Node is where a node is reached. These rows, and not gossip, say where the leader's clients go.
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
	if n.ServerGossip != "" { // rows without it are as they always were
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
			f.markDamaged() // nobody writes it empty
		}
	}
	return n, f.finishRow(tableNode)
}

func nodeKey(id string) []byte { return appendText([]byte{tableNode}, id) }

func (t *transaction) setNode(c *SetNode) Result {
	if CheckKey(c.Id) != nil || max(len(c.Address), len(c.Client), len(c.Gossip), len(c.ServerGossip)) > MaxWhere {
		return Result{Code: Invalid}
	}
	t.putRow(nodeKey(c.Id), Node{Address: c.Address, Client: c.Client, Gossip: c.Gossip, ServerGossip: c.ServerGossip}.encode())
	return Result{}
}

func (t *transaction) removeNode(c *RemoveNode) Result {
	if CheckKey(c.Id) != nil {
		return Result{Code: Invalid}
	}
	t.deleteRow(nodeKey(c.Id))
	return Result{}
}
