package server

import (
	"context"
	"strconv"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/tap"

	"github.com/profilenode/profilenode/api/profilev1"
)

// admitCall lets a call that brings data begin only while there is room for its announced size; else it is refused before its
// data is here. The room is the call's until it ends. gRPC asks with a lock held: it must not wait.
func (s *Server) admitCall(ctx context.Context, call *tap.Info) (context.Context, error) {
	need := int64(0)
	if bringsData(call.FullMethodName) {
		need = announcedBytes(call.Header)
		if !s.received.takeIfFree(need) {
			return nil, refusalError(&profilev1.Refusal{Reason: profilev1.Reason_REASON_BUSY}, "")
		}
	}
	if _, conn := peerOf(ctx); conn != nil && conn.metered != nil {
		return conn.metered.calls.beginCall(ctx, conn.metered.began, call.FullMethodName, need), nil
	}
	context.AfterFunc(ctx, func() { s.received.giveBack(need) })
	return ctx, nil
}

// bringsData says whether the calls of a method bring a profile's data.
func bringsData(method string) bool {
	return method == profilev1.Profiles_Save_FullMethodName || method == profilev1.Profiles_Set_FullMethodName
}

// announcedBytes is the announced size, between the size that needs no announcement and the most that a call can bring.
func announcedBytes(header metadata.MD) int64 {
	said := header.Get(profilev1.BytesKey)
	if len(said) == 0 {
		return profilev1.UnannouncedBytes
	}
	n, err := strconv.ParseInt(said[0], 10, 64)
	if err != nil {
		return maxRequestBytes
	}
	return min(max(n, profilev1.UnannouncedBytes), maxRequestBytes)
}

// checkAnnounced refuses a call that is larger than it announced: room was made for the announced size.
func checkAnnounced(ctx context.Context, data []byte) error {
	header, _ := metadata.FromIncomingContext(ctx)
	if len(header.Get(profilev1.BytesKey)) > 0 && int64(len(data)) > announcedBytes(header) {
		return invalidField("the call announced %d bytes and brought %d: put the length of its data into %s, or leave that out", announcedBytes(header), len(data), profilev1.BytesKey)
	}
	return nil
}
