package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/internal/issuer"
)

func certClusterCommand(p process) *cobra.Command {
	var c certFlags
	var nodes, clients []string
	command := &cobra.Command{
		Use:   "cluster --node NAME=HOST,... --client NAME...",
		Short: "make every certificate of a cluster that is not there yet",
		Long: `cluster makes the authority and the certificates of the nodes and clients that are named, as cert ca, cert node and cert client do, and
leaves alone what is there. It may run at each start.`,
		Example: `  profilenode cert cluster --node node1=node1,127.0.0.1 --node node2=node2,127.0.0.1 --client game --client operator`,
		Args:    cobra.NoArgs,
	}
	c.add(command.Flags(), certificateDays)
	command.Flags().StringArrayVar(&nodes, "node", nil, "`name=hosts` of a node; may be given more than once")
	command.Flags().StringArrayVar(&clients, "client", nil, "`name` of a client; may be given more than once")
	command.RunE = runAct(func(context.Context, []string) error {
		folder, lasts, err := c.open()
		if err != nil {
			return err
		}
		requests, err := parseCertRequests(nodes, clients)
		if err != nil {
			return &usageError{err}
		}
		if !certificateExists(c.folder, "ca") {
			made, err := folder.MakeAuthority(authorityDays * aDay)
			if err := printMade(p, made, err, ""); err != nil {
				return err
			}
		}
		for _, request := range requests {
			if certificateExists(c.folder, request.Name) {
				continue
			}
			request.Lasts = lasts
			made, err := folder.Issue(request)
			if err := printMade(p, made, err, ""); err != nil {
				return fmt.Errorf("%s: %w", request.Name, err)
			}
		}
		return nil
	})
	return command
}

func parseCertRequests(nodes, clients []string) (requests []issuer.Request, err error) {
	for _, node := range nodes {
		name, hosts, ok := strings.Cut(node, "=")
		if !ok {
			return nil, fmt.Errorf("--node %q is not of the form name=host,host", node)
		}
		requests = append(requests, issuer.Request{Name: name, Node: true, Hosts: splitCommaList(hosts)})
	}
	for _, client := range clients {
		requests = append(requests, issuer.Request{Name: client})
	}
	seen := make(map[string]bool)
	for _, request := range requests {
		if seen[request.Name] {
			return nil, fmt.Errorf("%q is named twice: give every node and client a name of its own", request.Name)
		}
		seen[request.Name] = true
	}
	return requests, nil
}

func certificateExists(folder, name string) bool {
	_, err := os.Lstat(filepath.Join(folder, name+".crt"))
	return !errors.Is(err, os.ErrNotExist)
}
