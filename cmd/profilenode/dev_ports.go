package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// checkPorts looks whether every port is free, since a node's own error would come from a log.
func (o devOptions) checkPorts() error {
	for node := 1; node <= o.nodes; node++ {
		for port := clientsPort; port <= serverGossipPort; port++ {
			address := o.nodeAddress(node, port)
			err := tryListen(address, port == gossipPort || port == serverGossipPort)
			if err == nil {
				continue
			}
			_, number, _ := net.SplitHostPort(address)
			if errors.Is(err, syscall.EADDRINUSE) {
				err = errors.New("it is taken")
			}
			return &hintedError{fmt.Errorf("port %s (%s of node %d) cannot be used: %w", number, port, node, err),
				fmt.Sprintf("stop what listens there, or use other ports: --base-port %d --data %s-%d", o.findFreeBase(), o.data, o.findFreeBase())}
		}
	}
	return nil
}

func (o devOptions) findFreeBase() int {
	if o.base > 60000 {
		return o.base - 1000
	}
	return o.base + 1000
}

func tryListen(address string, alsoUDP bool) error {
	stream, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer stream.Close()
	if !alsoUDP {
		return nil
	}
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	return packets.Close()
}
