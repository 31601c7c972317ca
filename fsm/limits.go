package fsm

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Hard limits. Those that apply checks are part of the format: a build that changes one needs a new level.
const (
	MaxData       = 4 << 20   // bytes of a profile's data
	MaxWhole      = 512 << 10 // bytes of data inside its command; more data is sent in parts
	PartBytes     = 512 << 10 // bytes of a part, the last one may be shorter
	MaxEntryBytes = 1 << 20   // bytes of an entry of the log
	MaxStore      = 64        // bytes of a store's name
	MaxKey        = 256       // bytes of a key
	MaxName       = 128       // bytes of a game server's name
	MaxWhere      = 256       // bytes of a game server's stated place, and of each of its addresses
	MaxMessage    = 64 << 10  // bytes of a message
	MaxKind       = 64        // bytes of a message's kind
	MaxPanics     = 3         // panics of its handlers after which a message is set aside
	MaxPanicText  = 1024      // bytes of the text of a handler's panic
	MaxCounted    = 16        // panics that one release counts
	MaxTags       = 32        // tags of a profile
	MaxTagBytes   = 4096      // bytes of all its tags
	MaxMarks      = 1024      // messages that one save clears
	MaxClaims     = 256       // sessions that one command reclaims
	MaxReason     = 256       // bytes of an operator's reason
	MaxAudits     = 10_000    // audits that each ring keeps, the newest
	MaxExpiries   = 1024      // expiries of one command
	MaxStep       = 1024      // profiles or incarnations of one step of GrantToWaiters or ForgetEnded, whatever it asks for
	MaxClasses    = 64        // timing classes
	MaxAlarms     = 64        // alarms that are kept
	MaxAlarmCode  = 64        // bytes of an alarm's code
	MaxAlarmText  = 1024      // bytes of an alarm's text
	MaxExpected   = 256       // addresses that nodes are expected at
	NonceBytes    = 16        // bytes of a registration's nonce
	Window        = 1024      // unsettled numbers of an incarnation
	maxRowKey     = 1024      // bytes of a row's key, which holds a store and a key at most
	maxParts      = 2 * MaxData
)

// MaxAuditAge is how long an audit is kept. It is part of the format too.
const MaxAuditAge = 90 * 24 * time.Hour

// CheckStore reports in one sentence why a store's name is invalid.
func CheckStore(store string) error {
	if store == "" || len(store) > MaxStore {
		return fmt.Errorf("a store's name has 1 to %d characters, this one has %d", MaxStore, len(store))
	}
	for _, c := range []byte(store) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '_' && c != '-' && c != '.' {
			return fmt.Errorf("a store's name is made of letters, digits, '_', '-' and '.', not %q", c)
		}
	}
	return nil
}

// CheckKey reports in one sentence why a key is invalid.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("a key has 1 to %d bytes, this one has %d", MaxKey, len(key))
	}
	if !utf8.ValidString(key) {
		return fmt.Errorf("a key is text in UTF-8, %q is not", key)
	}
	if strings.ContainsFunc(key, isControl) {
		return fmt.Errorf("a key holds no control characters, %q does", key)
	}
	return nil
}

// CheckKind reports in one sentence why a message's kind is invalid.
func CheckKind(kind string) error {
	if len(kind) > MaxKind {
		return fmt.Errorf("a message's kind has at most %d bytes, this one has %d", MaxKind, len(kind))
	}
	if !utf8.ValidString(kind) {
		return fmt.Errorf("a message's kind is text in UTF-8, %q is not", kind)
	}
	if strings.ContainsFunc(kind, isControl) {
		return fmt.Errorf("a message's kind holds no control characters, %q does", kind)
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

func isValidName(store, key string) bool { return CheckStore(store) == nil && CheckKey(key) == nil }

func sizeOfTags(tags map[string]string) int {
	n := 0
	for name, value := range tags {
		n += len(name) + len(value)
	}
	return n
}
