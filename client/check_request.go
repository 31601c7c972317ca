package client

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// requestRoom is the number of bytes that the rest of a request may take beside the data, in the largest frame.
const requestRoom = 32 << 10

// checkBeforeSending refuses a change that can never happen, before it has a number: one that cannot leave this process, or
// is beyond the cluster's hard limits. It returns the change's hash. Tighter limits, those of a store, are the cluster's to
// check.
func (ch *change) checkBeforeSending() (hash uint64, err error) {
	if err := checkText(ch.act, ch.ref, messageKindIn(ch.request)); err != nil {
		return 0, err
	}
	limits := ch.incarnation.limits
	for _, part := range []struct {
		name  string
		size  int
		limit uint64
	}{
		{"the store's name", len(ch.ref.Store), limits.GetStoreBytes()},
		{"the key", len(ch.ref.Key), limits.GetKeyBytes()},
		{"the data", dataSize(ch.request), limits.GetDataBytes()},
		{"the message", bodySize(ch.request), limits.GetMessageBytes()},
		{"the message's kind", len(messageKindIn(ch.request)), limits.GetKindBytes()},
		{"the request", proto.Size(ch.request), wire.MaxFrame - requestRoom},
	} {
		if part.limit > 0 && uint64(part.size) > part.limit {
			return 0, &Error{
				Act: ch.act, Ref: ch.ref, Kind: ErrInvalid, Code: CodeTooLarge, Limit: part.limit,
				Sentence: fmt.Sprintf("%s has %d bytes, at most %d are allowed", part.name, part.size, part.limit),
			}
		}
	}
	hash, err = wire.HashRequest(ch.request)
	if err != nil {
		return 0, &Error{Act: ch.act, Ref: ch.ref, Kind: ErrInvalid, Sentence: "the request cannot be encoded", Cause: err}
	}
	return hash, nil
}

func dataSize(request any) int {
	if r, ok := request.(interface{ GetData() []byte }); ok {
		return len(r.GetData())
	}
	return 0
}

func bodySize(request any) int {
	if r, ok := request.(interface{ GetBody() []byte }); ok {
		return len(r.GetBody())
	}
	return 0
}

func messageKindIn(request any) string {
	if r, ok := request.(*profilev1.SendRequest); ok {
		return r.GetKind()
	}
	return ""
}

// checkText refuses names that the wire cannot carry: its strings are UTF-8.
func checkText(act string, ref Ref, kind string) error {
	for _, part := range []struct{ name, text string }{{"store's name", ref.Store}, {"key", ref.Key}, {"message's kind", kind}} {
		if !utf8.ValidString(part.text) {
			return &Error{
				Act: act, Ref: ref, Kind: ErrInvalid,
				Sentence: fmt.Sprintf("the %s %q is not UTF-8: convert it, or use an id of the player instead of a name", part.name, part.text),
			}
		}
	}
	return nil
}
