package client

// Code names the cause of an error more exactly than its kind. A program branches on kinds; codes are for its logs and for
// the few cases in which more is needed. There may be others than these in later versions.
type Code string

// Codes of nodes. Those that only a client itself can do something about are not listed.
const (
	CodeOwned           Code = "OWNED"            // another game server owns the profile: Error.Owner
	CodeNameHeld        Code = "NAME_HELD"        // a living game server has this client's name: Error.Owner
	CodeFenced          Code = "FENCED"           // the session is over: the profile has been granted, or was taken away, since
	CodeServerGone      Code = "SERVER_GONE"      // the cluster took this game server for gone
	CodeCloned          Code = "CLONED"           // two processes used one registration: a copied machine, most likely
	CodeRevisionDiffers Code = "REVISION_DIFFERS" // the profile is at Error.Revision
	CodeNoProfile       Code = "NO_PROFILE"       // there is no such profile
	CodeNotOwned        Code = "NOT_OWNED"        // no game server owns the profile
	CodeInvalid         Code = "INVALID"          // malformed; the sentence says in which way
	CodeTooLarge        Code = "TOO_LARGE"        // over Error.Limit
	CodeQueueFull       Code = "QUEUE_FULL"       // too many game servers wait for the profile: Error.Limit
	CodeInboxFull       Code = "INBOX_FULL"       // too many messages wait in the profile: Error.Limit
	CodeMessagesWait    Code = "MESSAGES_WAIT"    // Error.Limit messages wait in the profile that is to be removed
	CodeOtherCluster    Code = "OTHER_CLUSTER"    // a node belongs to another cluster, or to another epoch of it
	CodeUnauthorized    Code = "UNAUTHORIZED"     // this client may not do that
	CodeUnsupported     Code = "UNSUPPORTED"      // not every node can do that yet
	CodeNoSpace         Code = "NO_SPACE"         // the nodes are short of disk space, and take only last saves
	CodeForgotten       Code = "FORGOTTEN"        // it is too long ago: the outcome is not known any more
	CodeGivenUp         Code = "GIVEN_UP"         // it was given up: it did not happen and never will
)

// Codes of this package.
const (
	CodeLockHeld     Code = "LOCK_HELD"          // the game's code holds a profile's lock for more than a second
	CodeDoubtBegins  Code = "DOUBT_BEGINS"       // the cluster was not heard for too long: sessions are in doubt
	CodeDoubtEnds    Code = "DOUBT_ENDS"         // the sessions that are left are held again
	CodeSessionLost  Code = "SESSION_LOST"       // a session is over, not by the game's doing
	CodePanicked     Code = "PANICKED"           // a handler of the game, or its code within Update, panicked
	CodeUnreadable   Code = "UNREADABLE_MESSAGE" // the body of a message does not decode into its handler's type
	CodeNotEncodable Code = "NOT_ENCODABLE"      // the data cannot be stored as it is; the sentence says where
)
