// Package profilev1 is the public wire. All of it is generated from profile.proto but what a call says of itself in its
// metadata, which is in this file.
package profilev1

import (
	"context"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

const (
	// BytesKey is the metadata in which a call says how many bytes of data it brings. gRPC takes a message in whole before
	// anybody sees it; so a node knows beforehand, and can refuse what it has no room for. It may be left out.
	BytesKey = "profile-bytes"
	// UnannouncedBytes is up to how many bytes nobody needs to say so. As many are counted for a call that says nothing.
	UnannouncedBytes = 64 << 10
)

// Announce is a client's interceptor that says it.
func Announce(ctx context.Context, method string, in, out any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if brings, ok := in.(interface{ GetData() []byte }); ok {
		if n := len(brings.GetData()); n > UnannouncedBytes {
			ctx = metadata.AppendToOutgoingContext(ctx, BytesKey, strconv.Itoa(n))
		}
	}
	return invoke(ctx, method, in, out, conn, options...)
}
