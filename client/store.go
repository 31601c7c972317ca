package client

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"time"
	"unicode/utf8"

	"github.com/profilenode/profilenode/api/profilev1"
)

// Store is the profiles of one kind, with data of type T.
type Store[T any] struct {
	client   *Client
	name     string
	template profileTemplate[T]
}

// StoreOption changes how a store is made: WithCodec, WithCopy.
type StoreOption func(*storeOptions)

type storeOptions struct {
	codec Codec
	copy  any // a func(T) T; nil for the default
}

// WithCodec sets how data becomes bytes. The default is JSON, and for a T of []byte or json.RawMessage the bytes as they
// are.
func WithCodec(codec Codec) StoreOption { return func(o *storeOptions) { o.codec = codec } }

// WithCopy sets how Profile.Try copies the data: f returns a copy that shares no changeable memory with its argument. The
// default encodes and decodes.
func WithCopy[T any](f func(T) T) StoreOption { return func(o *storeOptions) { o.copy = f } }

// NewStore names a store and the Go type of its profiles. A profile that does not exist starts as a copy of the template; in
// one that exists, fields that its data lacks are filled in from the template (ProfileStore calls this reconcile). The
// fields of structs are filled in; a map or slice that the data has is taken as it is, or an item that a player lost would
// come back. If T itself is a map, its keys are filled in, and those of the maps in it. The stored JSON decides which fields
// are missing, so that a zero or null that is there stays (null in a field that has no null counts as missing), and a type
// with its own UnmarshalJSON reads its stored value alone. Maps that are nil are empty after a load.
//
// Fields of the stored JSON that T does not have stay there: a newer version of the game may have written them. They are
// dropped with the value that holds them: with a key of a map or an element of a slice that the game removes, and, with a
// warning in the log, with an element of a slice or a value with its own MarshalJSON that the game changes. Set replaces the
// data whole.
//
// A save refuses a value that would be read back as another one, and names its path: values in fields of an interface type
// (any may hold the types that JSON gives back: nil, bool, string, numbers, map[string]any and []any), and values that
// custom code writes and cannot read. With a codec of its own a game does all of this itself.
//
// The template may not be a nil map, and may have no value in a field with omitempty or omitzero: once emptied, it would be
// filled in again.
//
// ErrInvalid: the name, or the template; the sentence says why.
func NewStore[T any](c *Client, name string, template T, options ...StoreOption) (*Store[T], error) {
	o := storeOptions{codec: codecFor[T]()}
	for _, option := range options {
		option(&o)
	}
	err := checkName("the store's name", name, maxStoreName)
	s := &Store[T]{client: c, name: c.config.hooks.StorePrefix + name}
	if err == nil {
		s.template, err = newProfileTemplate(o, &template)
	}
	if err != nil {
		return nil, &Error{Act: "open store", Ref: Ref{Store: name}, Kind: ErrInvalid, Sentence: err.Error()}
	}
	return s, nil
}

// maxStoreName is how long the name of a store may be, in bytes.
const maxStoreName = 128

// checkName refuses a name that no node would take.
func checkName(what, name string, most int) error {
	switch {
	case name == "":
		return fmt.Errorf("%s is empty", what)
	case len(name) > most:
		return fmt.Errorf("%s has %d bytes, at most %d are allowed", what, len(name), most)
	case !utf8.ValidString(name):
		return fmt.Errorf("%s %q is not UTF-8", what, name)
	}
	return nil
}

// Name is the store's.
func (s *Store[T]) Name() string { return s.name }

// StartOption changes how a session is started: one of IfOwnedWait, IfOwnedRefuse and IfOwnedSteal.
type StartOption interface{ start(*startOptions) }

type startOptions struct{ when IfOwned }

// IfOwned chooses the behaviour of StartSession for a profile that another game server owns. It is a StartOption.
type IfOwned uint8

const (
	IfOwnedWait   IfOwned = iota // ask the owner to let go, and wait in line; the owner saves first. The default
	IfOwnedRefuse                // return ErrOwned, with the owner
	IfOwnedSteal                 // end the owner's session without its last save, and go before those that wait: for broken owners
)

func (w IfOwned) start(o *startOptions) { o.when = w }

// StartSession makes this game server the owner of a profile, and returns its data as of that moment. A profile that
// does not exist yet is made of the template, and stored with its first save. If another game server owns it, that one
// is asked to let go, and this waits until it has or ctx ends.
//
// ErrOwned: with IfOwnedRefuse, another owns it. ErrAlreadyOpen: this client has a session of it. ErrFull: too many
// game servers wait for it. ErrInvalid: the key, or the
// stored data cannot be decoded. ErrUnavailable, ErrUnknown: ctx ended; whatever may come of it is given back in the
// background. ErrSessionOver: it was granted and lost again meanwhile; try again.
func (s *Store[T]) StartSession(ctx context.Context, key string, options ...StartOption) (*Profile[T], error) {
	var o startOptions
	for _, option := range options {
		option.start(&o)
	}
	session, from, err := s.client.startSession(ctx, Ref{s.name, key}, profilev1.WhenOwned(o.when))
	if err != nil {
		return nil, err
	}
	p := &Profile[T]{s: session, template: s.template}
	returned := false
	defer func() {
		if !returned { // the game's codec panics, and its caller is told; the profile must not stay owned
			session.loseSession(endError(session.ref, EndPanicked, nil, nil))
		}
	}()
	err = p.loadStored(from.profile)
	returned = true
	if err == nil {
		err = session.beginWith(p)
	}
	if err != nil {
		session.loseSession(err)
		return nil, err
	}
	return p, nil
}

// loadStored makes the value from the loaded data, and notes the stored data. Data that was only filled in from the template
// counts as unchanged; data that does not exist yet as changed.
func (p *Profile[T]) loadStored(stored *profilev1.Profile) error {
	if !stored.GetExists() {
		var err error
		if p.value, p.document, err = p.template.startDocument(); err != nil {
			return decodeError("start session", p.s.ref, err)
		}
		return nil
	}
	err := p.template.checkCodec(stored)
	var unchanged []byte
	if err == nil {
		p.value, p.document, unchanged, err = p.template.decodeDocument(stored.Data)
	}
	if err != nil {
		return decodeError("start session", p.s.ref, err)
	}
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.saves.stored = encodedData{known: true, hash: sha256.Sum256(unchanged)}
	return nil
}

// decodeProfile decodes the value of a profile that was read without a session.
func (s *Store[T]) decodeProfile(act, key string, stored *profilev1.Profile) (value T, err error) {
	if !stored.GetExists() {
		value, err = s.template.freshValue()
	} else if err = s.template.checkCodec(stored); err == nil {
		value, err = s.template.decodeSnapshot(stored.Data)
	}
	if err != nil {
		return value, decodeError(act, Ref{s.name, key}, err)
	}
	return value, nil
}

func decodeError(act string, ref Ref, err error) error {
	return &Error{Act: act, Ref: ref, Kind: ErrInvalid, Sentence: err.Error()}
}

// Info describes a profile without its data.
type Info struct {
	Key       string
	Exists    bool   // false: never saved, or removed
	Revision  uint64 // 0: never saved
	CreatedAt time.Time
	SavedAt   time.Time
	Tags      map[string]string
}

func infoFromWire(p *profilev1.Profile) Info {
	info := Info{Key: p.GetKey(), Exists: p.GetExists(), Revision: p.GetRevision(), Tags: p.GetTags()}
	if p.GetCreatedMs() != 0 {
		info.CreatedAt = time.UnixMilli(p.GetCreatedMs())
	}
	if p.GetSavedMs() != 0 {
		info.SavedAt = time.UnixMilli(p.GetSavedMs())
	}
	return info
}

// Snapshot is a profile as it was stored at one moment.
type Snapshot[T any] struct {
	Info
	Data     T      // the template's if it does not exist
	Owner    *Owner // nil: none
	Messages uint64 // that wait
	SetAside uint64 // messages that are kept and offered to no session, since their handlers panicked three times
	Waiters  uint64 // game servers that wait for it
	Loads    uint64 // sessions ever opened on it
}

// Get reads a profile without a session: the data saved last, as of now. An owner's unsaved changes are not in it.
//
// ErrInvalid: the key, or the stored data cannot be decoded. ErrUnavailable: no leader answered before ctx ended.
func (s *Store[T]) Get(ctx context.Context, key string) (*Snapshot[T], error) {
	ctx, cancel := s.client.life.whileOpen(ctx)
	defer cancel()
	answer := &profilev1.GetResponse{}
	err := s.client.link.readUntilAnswered(ctx, "get", Ref{s.name, key}, profilev1.Profiles_Get_FullMethodName,
		&profilev1.GetRequest{Store: s.name, Key: key}, answer, false)
	if err != nil {
		return nil, err
	}
	snapshot := &Snapshot[T]{
		Info: infoFromWire(answer.Profile), Owner: ownerOf(answer.Owner),
		Messages: answer.Messages, SetAside: answer.SetAside, Waiters: answer.Waiters, Loads: answer.LoadCount,
	}
	snapshot.Key = key
	if snapshot.Data, err = s.decodeProfile("get", key, answer.Profile); err != nil {
		return nil, err
	}
	return snapshot, nil
}

// List walks the profiles with keys that begin with prefix, in order of their keys, removed ones left out. It reads page by
// page, each as of its own moment. It ends at the first error: those of Get.
func (s *Store[T]) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		ctx, cancel := s.client.life.whileOpen(ctx)
		defer cancel()
		request := &profilev1.ListRequest{Store: s.name, Prefix: prefix}
		for {
			page := &profilev1.ListResponse{}
			err := s.client.link.readUntilAnswered(ctx, "list", Ref{Store: s.name}, profilev1.Profiles_List_FullMethodName, request, page, false)
			if err != nil {
				yield(Info{}, err)
				return
			}
			for _, p := range page.Profiles {
				if p.Exists && !yield(infoFromWire(p), nil) {
					return
				}
			}
			if !page.More {
				return
			}
			request.After = page.Next
		}
	}
}

// Send queues a message to a profile, owned or not, existing or not, and returns its id once it is in the log. It is there
// exactly once, and messages of this client to one profile keep their order. []byte and json.RawMessage travel as they are,
// everything else as JSON. Kind is the subject of the message, by which Handle chooses.
//
// ErrFull: too many are there already, those included that were set aside. ErrUnavailable: it was not sent. ErrInvalid: too
// large, or the kind is longer than 64 bytes, not UTF-8 or holds control characters. ErrUnknown: ctx ended first; it was
// sent once or never will be, and Client.Outcome says which.
func (s *Store[T]) Send(ctx context.Context, key string, message any, options ...SendOption) (id uint64, err error) {
	var o sendOptions
	for _, option := range options {
		option.send(&o)
	}
	return s.client.sendMessage(ctx, Ref{s.name, key}, message, string(o.kind))
}

// SendOption changes how a message is sent: Kind.
type SendOption interface{ send(*sendOptions) }

type sendOptions struct{ kind Kind }

// Kind names the subject of a message, such as "gift", by which Handle chooses. It is a SendOption; without it a message has
// none. At most 64 bytes.
type Kind string

func (k Kind) send(o *sendOptions) { o.kind = k }
