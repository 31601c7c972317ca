package lock

// Cause says why a session ended. Its numbers are stored in the log and sent on the wire: they are never reused.
type Cause uint8

const (
	NoCause            Cause = 0  // it is not known, or the session has not ended
	Late               Cause = 1  // the owner was asked to let go, and did not in time
	Stolen             Cause = 2  // a game server stole it, and is granted the profile next
	ReleasedByOperator Cause = 3  // an operator released it
	Overwritten        Cause = 4  // the profile was set by force
	Expired            Cause = 5  // the owner's incarnation ended
	Removed            Cause = 6  // the profile was removed by force
	PutOnHold          Cause = 7  // the profile was put on hold
	Panicked           Cause = 8  // the game's own code panicked
	Ended              Cause = 9  // the game ended it
	HandedOff          Cause = 10 // the owner let go for a game server that waited
	ShutDown           Cause = 11 // the game server closed
	OutOfReach         Cause = 12 // the owner could not reach the cluster for longer than the game's limit for doubt
	OtherCluster       Cause = 13 // the cluster is another one now; only an owner's client says so
	RolledBack         Cause = 14 // the cluster lost entries; only an owner's client says so
)

var causeNames = [...]string{
	"none", "late", "stolen", "released_by_operator", "overwritten", "expired", "removed", "put_on_hold", "panicked", "ended", "handed_off",
	"shut_down", "out_of_reach", "other_cluster", "rolled_back",
}

// Causes is how many causes there are; they are numbered from 0.
const Causes = len(causeNames)

func (c Cause) String() string {
	if int(c) < len(causeNames) {
		return causeNames[c]
	}
	return "none"
}

// OfOwner says whether an owner may state this cause when it ends its session. Only the cluster states the others.
func (c Cause) OfOwner() bool {
	switch c {
	case NoCause, Panicked, Ended, HandedOff, ShutDown, OutOfReach:
		return true
	}
	return false
}

// GivesUp says whether an owner that ends its session for this cause does so without its game's request.
func (c Cause) GivesUp() bool { return c == Panicked || c == OutOfReach }
