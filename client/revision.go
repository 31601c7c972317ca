package client

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/profilenode/profilenode/api/profilev1"
)

// Revision is the revision that Set and Remove expect a profile to have. The zero value is that of a profile that was
// never saved.
type Revision struct {
	number uint64
	any    bool
}

// AtRevision expects exactly this revision: Snapshot.Revision, from Get, or 0 for a profile that was never saved.
func AtRevision(number uint64) Revision { return Revision{number: number} }

// AnyRevision expects nothing: whatever the profile holds by then is replaced, unseen.
func AnyRevision() Revision { return Revision{any: true} }

func (r Revision) String() string {
	if r.any {
		return "any revision"
	}
	return fmt.Sprintf("revision %d", r.number)
}

// WriteOption changes what Set and Remove may end or drop: Force, and for Remove DropMessages.
type WriteOption func(*writeOptions)

type writeOptions struct{ force, dropMessages bool }

// DropMessages removes a profile together with its messages. Without it Remove is refused while messages wait, also those
// that were set aside: each was acknowledged to its sender. Set ignores it.
func DropMessages() WriteOption { return func(o *writeOptions) { o.dropMessages = true } }

// Force ends the session of the profile's owner, with its unsaved changes. Without it an owned profile is refused.
func Force() WriteOption { return func(o *writeOptions) { o.force = true } }

// Set overwrites a profile without a session, and returns its new revision.
//
// ErrConflict: it is at Error.Revision. ErrOwned: by Error.Owner. ErrInvalid: too large, or cannot be encoded.
// ErrUnavailable: it did not happen. ErrUnknown: it may have happened or may happen yet, so a Get does not tell;
// Client.Outcome does.
func (s *Store[T]) Set(ctx context.Context, key string, data T, expected Revision, options ...WriteOption) (revision uint64, err error) {
	encoded, err := s.template.encodeValue(&data)
	if err != nil {
		return 0, &Error{Act: "set", Ref: Ref{s.name, key}, Kind: ErrInvalid, Sentence: "the data cannot be stored", Cause: err}
	}
	hash := sha256.Sum256(encoded)
	ctx, cancel := s.client.life.whileOpen(ctx)
	defer cancel()
	answer := &profilev1.SetResponse{}
	err = s.client.sendAcrossIncarnations(ctx, &change{
		act: "set", ref: Ref{s.name, key}, method: profilev1.Profiles_Set_FullMethodName,
		request: &profilev1.SetRequest{
			Store: s.name, Key: key, Expected: expected.number, AnyRevision: expected.any, Codec: uint32(s.template.codec.ID()), Data: encoded, Hash: hash[:],
			KeepTags: true, Force: chosenOptions(options).force,
		},
		answer: answer,
	})
	return answer.Header.GetRevision(), err
}

// Remove removes a profile without a session. If the profile is ever created again its revisions continue from there.
//
// Errors as Set; ErrConflict also if there is no such profile, and, without DropMessages, if messages wait in it:
// CodeMessagesWait.
func (s *Store[T]) Remove(ctx context.Context, key string, expected Revision, options ...WriteOption) error {
	ctx, cancel := s.client.life.whileOpen(ctx)
	defer cancel()
	return s.client.sendAcrossIncarnations(ctx, &change{
		act: "remove", ref: Ref{s.name, key}, method: profilev1.Profiles_Remove_FullMethodName,
		request: &profilev1.RemoveRequest{
			Store: s.name, Key: key, Expected: expected.number, AnyRevision: expected.any, Force: chosenOptions(options).force,
			DropMessages: chosenOptions(options).dropMessages,
		},
		answer: &profilev1.RemoveResponse{},
	})
}

func chosenOptions(options []WriteOption) (o writeOptions) {
	for _, option := range options {
		option(&o)
	}
	return o
}
