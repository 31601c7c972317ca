package client

import (
	"google.golang.org/grpc"

	"github.com/profilenode/profilenode/api/profilev1"
)

// WithDialOptions lets a test stand between a client and its nodes.
func (c Config) WithDialOptions(options ...grpc.DialOption) Config {
	c.dialOptions = options
	return c
}

// Mirror is the table of errors.
func Mirror(reason profilev1.Reason) (final, onlyThisCopy bool, kind error) {
	f, kind := mirror(reason)
	return f == refused, f == passing, kind
}
