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
	w := newRow(96)
	w.string(n.Address)
	w.string(n.Client)
	w.string(n.Gossip)
	if n.ServerGossip != "" { // rows without it are as they always were
		w.string(n.ServerGossip)
	}
	return w
}

func decodeNode(id string, row []byte) (Node, error) {
	f := readRow(row)
	n := Node{ID: id, Address: f.string(), Client: f.string(), Gossip: f.string()}
	if len(f.rest) > 0 {
		n.ServerGossip = f.string()
		if n.ServerGossip == "" {
			f.fail() // nobody writes it empty
		}
	}
	return n, f.done(tableNode)
}

func nodeKey(id string) []byte { return appendText([]byte{tableNode}, id) }

func (t *tx) setNode(c *SetNode) Result {
	if CheckKey(c.Id) != nil || max(len(c.Address), len(c.Client), len(c.Gossip), len(c.ServerGossip)) > MaxWhere {
		return Result{Code: Invalid}
	}
	t.put(nodeKey(c.Id), Node{Address: c.Address, Client: c.Client, Gossip: c.Gossip, ServerGossip: c.ServerGossip}.encode())
	return Result{}
}

func (t *tx) removeNode(c *RemoveNode) Result {
	if CheckKey(c.Id) != nil {
		return Result{Code: Invalid}
	}
	t.delete(nodeKey(c.Id))
	return Result{}
}
