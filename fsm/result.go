package fsm

import "github.com/profilenode/profilenode/lock"

// Code is the outcome of a command. Its numbers are stored in the answer table: they are never reused.
type Code uint8

const (
	OK               Code = 0
	Queued           Code = 1  // Token is a ticket
	Fenced           Code = 2  // the token is not the one in force
	RevisionDiffers  Code = 3  // Revision is the current one
	Owned            Code = 4  // Owner owns it
	ServerGone       Code = 5  // the incarnation has ended, or never was
	Forgotten        Code = 6  // the number is settled, or its answer too old
	AcknowledgeFirst Code = 7  // too many unsettled numbers
	Cloned           Code = 8  // the number was used for something else; the incarnation was ended
	NameHeld         Code = 9  // Owner has the name
	OtherCluster     Code = 10 // cluster id or epoch is not this cluster's
	Invalid          Code = 11 // malformed
	TooLarge         Code = 12 // over Limit
	QueueFull        Code = 13 // over Limit
	InboxFull        Code = 14 // over Limit
	NoMessage        Code = 15 // not there (any more)
	PartsMissing     Code = 16 // some of the data's parts did not arrive
	DataDamaged      Code = 17 // the data does not match its size or hash
	UnknownPolicy    Code = 18 // no policy of that name
	NoProfile        Code = 19 // nothing at this store and key
	NotWaiting       Code = 20 // no such ticket
	GivenUp          Code = 21 // the number was settled before its request came: the request is never executed
	Superseded       Code = 22 // the state that the command was decided on has changed
	NotOwned         Code = 23 // the profile has no owner

	OtherRegistration Code = 24 // the incarnation was registered by another process. Never kept as an answer
	UnknownClass      Code = 25 // no timing class of that name
	MessagesWait      Code = 26 // Limit messages wait in the profile, those set aside too
	TooManyServers    Code = 27 // Limit game servers are registered and alive
	codes                  = 28
)

// Result is the result of a command. keptAnswer says which fields the answer table keeps.
type Result struct {
	Code     Code
	Repeated bool             // answered before; nothing was done now
	Index    uint64           // index of the entry that carried it out
	Token    lock.Token       // token of the grant concerned; a ticket when Queued; the incarnation for Register
	Revision uint64           // the profile's, after it
	Message  uint64           // the id of the message sent
	Owner    lock.Incarnation // with Owned, NameHeld and Queued; with the end of a session by its owner, the one that is granted the profile
	Limit    uint64           // with TooLarge, QueueFull and InboxFull; with MessagesWait, how many; with NameHeld, the lease of Owner in milliseconds
	Place    uint64           // with Queued: place in the queue, from 1
	Loads    uint64           // with a grant: sessions opened on the profile so far
	Granted  uint64           // with GrantToWaiters: count of the profiles that were granted to waiters
	More     bool             // with GrantToWaiters, ForgetEnded and DropDue: there is more to do
}

// EventKind says what an Event tells.
type EventKind uint8

const (
	Granted     EventKind = iota // the profile is granted to Server, under Token, for its Ticket
	LetGo                        // Server is to let go of its profile: a game server waits, or an operator asked
	Lost                         // Server's session under Token was revoked
	MessageWait                  // Server's profile has a new message, Message
	ServerEnded                  // Server has ended
)

// Event is a change that a game server is told of. It is sent once, to the streams that are open on this node at that time.
// It may be lost: renewals compare held sets and find the difference.
type Event struct {
	Kind    EventKind
	Server  lock.Incarnation
	Store   string
	Key     string
	Token   lock.Token
	Ticket  lock.Token
	Message uint64
	Cause   lock.Cause // with Granted, the cause that ended the session before, if its owner did not; with Lost, the cause; with LetGo, ReleasedByOperator if an operator asked

	WantedMS  int64 // with LetGo, GrantRow.WantedMS
	Contested bool  // with ServerEnded: it owned profiles that have waiters, or that were revoked

	// Of the message.
	After       uint64 // id of the newest message before it, 0 if none waited: an owner that has seen it has missed none
	Body        string
	MessageKind string
	Sender      string
	SentMS      int64
}
