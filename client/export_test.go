package client

import (
	"google.golang.org/grpc"

	"github.com/profilenode/profilenode/api/profilev1"
)

// ListenBeside is how a ping port is made.
var ListenBeside = listenBeside

// WithDialOptions lets a test stand between a client and its nodes.
func (c Config) WithDialOptions(options ...grpc.DialOption) Config {
	c.hooks.DialOptions = options
	return c
}

// KindOf is the table of errors.
func KindOf(reason profilev1.Reason) error { return errorForReason(reason) }
