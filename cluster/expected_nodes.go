package cluster

import (
	"fmt"
	"slices"
)

// unexpectedError is the refusal of a node that the cluster does not expect where it is.
type unexpectedError struct{ address string }

func (e *unexpectedError) Error() string {
	return fmt.Sprintf("join: the cluster does not expect a node at %s: run profilenode members add %s, or correct what that node advertises", e.address, e.address)
}

// checkExpected is an error unless the cluster expects a node at an address: this leader's configuration lists it, or an
// operator has said so. Without that, any process that reaches the nodes' port would soon vote.
func (n *Node) checkExpected(address string) error {
	if slices.Contains(n.config.Nodes, address) {
		return nil
	}
	view, err := n.tables.openView()
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	defer view.Close()
	added, err := view.ExpectedNodes()
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if !slices.Contains(added, address) {
		return &unexpectedError{address}
	}
	return nil
}
