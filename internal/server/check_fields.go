package server

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Shapes are checked here, before anything is proposed, so that a faulty caller costs no entry of the log and gets a
// sentence. Only limits that never change are checked: a limit that an operator can move is left to the tables, which
// ask first whether the request was answered before.

// fieldError is a fault in the shape of a request.
type fieldError struct {
	reason profilev1.Reason
	limit  uint64
	says   string
}

func (f *fieldError) Error() string { return f.says }

func invalidField(format string, args ...any) error {
	return &fieldError{reason: profilev1.Reason_REASON_INVALID, says: fmt.Sprintf(format, args...)}
}

func tooLargeField(limit int, format string, args ...any) error {
	return &fieldError{reason: profilev1.Reason_REASON_TOO_LARGE, limit: uint64(limit), says: fmt.Sprintf(format, args...)}
}

// checkFieldErrors is the status of the first fault among the checks, nil when there is none.
func checkFieldErrors(number uint64, checks ...error) error {
	for _, err := range checks {
		switch f := err.(type) {
		case nil:
		case *fieldError:
			return refusalError(&profilev1.Refusal{Reason: f.reason, Number: number, Limit: f.limit}, f.says)
		default:
			return refusalError(&profilev1.Refusal{Reason: profilev1.Reason_REASON_INVALID, Number: number}, err.Error())
		}
	}
	return nil
}

func checkRequest(q *profilev1.Request) error {
	switch {
	case q.GetIncarnation() == 0:
		return invalidField("the request names no incarnation: register, and send the incarnation with every change")
	case q.GetNumber() == 0:
		return invalidField("the request has no number: number the changes of an incarnation from 1")
	case q.GetSettled() >= q.GetNumber():
		return invalidField("the request is number %d and calls %d settled: only numbers below its own can be", q.GetNumber(), q.GetSettled())
	case q.GetHash() == 0:
		return invalidField("the request has no hash: send one of what is asked, so that a retry can be told from another request")
	case q.GetRegistration() == 0:
		return invalidField("the request has no registration: send the first eight bytes, big-endian, of the nonce that this process registered with")
	}
	return nil
}

func checkProfile(store, key string) error {
	if err := checkStoreName(store); err != nil {
		return err
	}
	if err := fsm.CheckKey(key); err != nil {
		return invalidField("%v", err)
	}
	return nil
}

func checkStoreName(store string) error {
	if err := fsm.CheckStore(store); err != nil {
		return invalidField("%v", err)
	}
	return nil
}

func checkMode(mode profilev1.ReadMode) error {
	if mode != profilev1.ReadMode_READ_MODE_LINEARIZABLE && mode != profilev1.ReadMode_READ_MODE_STALE {
		return invalidField("read mode %d is unknown: ask for linearizable or stale", mode)
	}
	return nil
}

func checkRing(ring profilev1.AuditRing) error {
	if ring < profilev1.AuditRing_AUDIT_RING_UNSPECIFIED || ring > profilev1.AuditRing_AUDIT_RING_GAME_SERVERS {
		return invalidField("ring %d of the audit is unknown: ask for the operators', the game servers', or both", ring)
	}
	return nil
}

func checkWhenOwned(when profilev1.WhenOwned) error {
	if when < profilev1.WhenOwned_WHEN_OWNED_WAIT || when > profilev1.WhenOwned_WHEN_OWNED_STEAL {
		return invalidField("when_owned %d is unknown: ask to wait, to be refused or to steal", when)
	}
	return nil
}

func checkToken(token uint64) error {
	if token == 0 {
		return invalidField("the request names no token: send that of the session")
	}
	return nil
}

// checkCause is of a cause that an owner gives for the end of its session.
func checkCause(cause profilev1.Cause) error {
	if cause < 0 || int(cause) >= lock.Causes || !lock.Cause(cause).OfOwner() {
		return invalidField("cause %v is not an owner's: a game server ends its session as ended, handed off, shut down, panicked or out of reach", cause)
	}
	return nil
}

// checkSaveCause is of the cause that comes with a save.
func checkSaveCause(end bool, cause profilev1.Cause) error {
	if !end && cause != profilev1.Cause_CAUSE_UNSPECIFIED {
		return invalidField("the save does not end the session and gives the cause %v: send a cause with end alone", cause)
	}
	return checkCause(cause)
}

// checkData also computes the hash that the tables would compute, so that damaged data costs no entry.
func checkData(data, hash []byte, codec uint32) error {
	if len(data) > fsm.MaxData {
		return tooLargeField(fsm.MaxData, "the data has %d bytes and a profile holds at most %d: keep less in one profile, or split it", len(data), fsm.MaxData)
	}
	if codec > 255 {
		return invalidField("codec %d is unknown: it is a number up to 255", codec)
	}
	if len(hash) != sha256.Size {
		return invalidField("the hash has %d bytes: send the %d bytes of the data's SHA-256", len(hash), sha256.Size)
	}
	if sum := sha256.Sum256(data); !bytes.Equal(sum[:], hash) {
		return &fieldError{reason: profilev1.Reason_REASON_DATA_DAMAGED, says: errorRowOf(profilev1.Reason_REASON_DATA_DAMAGED).Says}
	}
	return nil
}

func checkTags(tags map[string]string, keep bool) error {
	if keep && len(tags) > 0 {
		return invalidField("the request brings tags and says to keep the old ones: do one of the two")
	}
	if len(tags) > fsm.MaxTags {
		return tooLargeField(fsm.MaxTags, "the profile would have %d tags and may have %d: use fewer", len(tags), fsm.MaxTags)
	}
	size := 0
	for name, value := range tags {
		size += len(name) + len(value)
	}
	if size > fsm.MaxTagBytes {
		return tooLargeField(fsm.MaxTagBytes, "the profile's tags would take %d bytes and may take %d: shorten them", size, fsm.MaxTagBytes)
	}
	return nil
}

func checkClears(ids []uint64) error {
	if len(ids) > fsm.MaxMarks {
		return tooLargeField(fsm.MaxMarks, "the save clears %d messages and may clear %d: spread them over several saves", len(ids), fsm.MaxMarks)
	}
	return nil
}

func checkBody(body []byte) error {
	if len(body) > fsm.MaxMessage {
		return tooLargeField(fsm.MaxMessage, "the message has %d bytes and may have %d: send less, or several", len(body), fsm.MaxMessage)
	}
	return nil
}

func checkRegister(q *profilev1.RegisterRequest) error {
	switch {
	case q.GetName() == "":
		return invalidField("the game server has no name: give it one that no other living one has")
	case len(q.GetName()) > fsm.MaxName:
		return tooLargeField(fsm.MaxName, "the name has %d bytes and may have %d: shorten it", len(q.GetName()), fsm.MaxName)
	case len(q.GetNonce()) != fsm.NonceBytes:
		return invalidField("the nonce has %d bytes: draw %d random ones for each registration", len(q.GetNonce()), fsm.NonceBytes)
	case lock.Registration(q.GetNonce()) == 0:
		return invalidField("the nonce begins with eight zeros: draw %d random bytes for each registration", fsm.NonceBytes)
	case q.GetKind() != profilev1.ServerKind_SERVER_KIND_GAME_SERVER && q.GetKind() != profilev1.ServerKind_SERVER_KIND_TOOL:
		return invalidField("kind %d is unknown: register a game server or a tool", q.GetKind())
	case len(q.GetWhere()) > fsm.MaxWhere:
		return tooLargeField(fsm.MaxWhere, "the place has %d bytes and may have %d: shorten it", len(q.GetWhere()), fsm.MaxWhere)
	case len(q.GetPing()) > fsm.MaxWhere:
		return tooLargeField(fsm.MaxWhere, "the ping address has %d bytes and may have %d: shorten it", len(q.GetPing()), fsm.MaxWhere)
	}
	if q.GetPing() != "" {
		if _, _, err := net.SplitHostPort(q.GetPing()); err != nil {
			return invalidField("the ping address %q is not host:port: give one that this process holds open, or none", q.GetPing())
		}
	}
	return nil
}

func checkKind(kind string) error {
	if len(kind) > fsm.MaxKind {
		return tooLargeField(fsm.MaxKind, "the message's kind has %d bytes and may have %d: shorten it", len(kind), fsm.MaxKind)
	}
	if err := fsm.CheckKind(kind); err != nil {
		return invalidField("%v", err)
	}
	return nil
}

func checkPanics(panics []*profilev1.MessagePanic) error {
	if len(panics) > fsm.MaxCounted {
		return tooLargeField(fsm.MaxCounted, "the release counts %d panics and may count %d: a panic ends its session", len(panics), fsm.MaxCounted)
	}
	for _, p := range panics {
		if len(p.GetText()) > fsm.MaxPanicText {
			return tooLargeField(fsm.MaxPanicText, "the text of the panic over message %d has %d bytes and may have %d: cut it", p.GetMessage(), len(p.GetText()), fsm.MaxPanicText)
		}
	}
	return nil
}

func checkReason(reason string) error {
	if len(reason) > fsm.MaxReason {
		return tooLargeField(fsm.MaxReason, "the reason has %d bytes and may have %d: shorten it", len(reason), fsm.MaxReason)
	}
	return nil
}

// checkPage is the number of rows of a page.
func checkPage(limit uint32) int {
	const most = 1000
	if limit == 0 || limit > most {
		return most
	}
	return int(limit)
}

// checkStores takes an empty one for every store, or for none.
func checkStores(stores ...string) error {
	for _, store := range stores {
		if store == "" {
			continue
		}
		if err := fsm.CheckStore(store); err != nil {
			return err
		}
	}
	return nil
}

func checkAfter(name, value string) error {
	if len(value) > fsm.MaxKey {
		return tooLargeField(fsm.MaxKey, "%s has %d bytes and may have %d: no key is longer", name, len(value), fsm.MaxKey)
	}
	return nil
}
