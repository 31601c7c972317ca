package client

// sessionState says how far a session has come.
type sessionState uint8

const (
	sessionStarting  sessionState = iota // its StartSession has no grant yet
	sessionAbandoned                     // its StartSession gave up; a grant that still comes is given back
	sessionGranted                       // it has the grant, and its profile is being loaded
	sessionActive                        // the game has its profile
	sessionEnding                        // its last save is encoded and on its way: a change would be lost
	sessionKept                          // it is over, and its last copy is to be saved when the cluster is back
	sessionPanicked                      // it is over since the game's code panicked: a release of its own counts the panics
	sessionFailed                        // it is over, and the game never had its profile
	sessionOver                          // it is over
)

// sessionEvent is an event that changes the state of a session.
type sessionEvent uint8

const (
	startGivenUp    sessionEvent = iota // its StartSession returned without a session
	grantTaken                          // the grant that its StartSession waited for came
	profileLoaded                       // the game gets its profile
	lastSaveEncoded                     // its last save has left the game's code behind
	lastSaveRefused                     // the last save did not happen, and the session goes on
	sessionEnded                        // by its last save, or it was lost, or could not start
	sessionUnsaved                      // it ended at the limit for doubt, with changes that are not stored
	gamePanicked                        // the game's code did while it had the data
	keptCopyDone                        // the last copy is saved, or given up
)

// after returns the state that an event leads to. allowed is false if the event has no effect in this state.
func (at sessionState) after(event sessionEvent) (next sessionState, allowed bool) {
	switch event {
	case startGivenUp:
		return sessionAbandoned, at == sessionStarting || at == sessionGranted
	case grantTaken:
		return sessionGranted, at == sessionStarting
	case profileLoaded:
		return sessionActive, at == sessionGranted
	case lastSaveEncoded:
		return sessionEnding, at == sessionActive
	case lastSaveRefused:
		return sessionActive, at == sessionEnding
	case sessionEnded:
		if !at.hasBegun() {
			return sessionFailed, !at.isOver()
		}
		return sessionOver, !at.isOver()
	case sessionUnsaved:
		return sessionKept, at == sessionActive || at == sessionEnding
	case gamePanicked:
		return sessionPanicked, at == sessionActive || at == sessionEnding
	case keptCopyDone:
		return sessionOver, at == sessionKept
	}
	return at, false
}

// apply changes the state by an event, and says whether the event had an effect.
func (at *sessionState) apply(event sessionEvent) bool {
	next, allowed := at.after(event)
	if allowed {
		*at = next
	}
	return allowed
}

// isOver says that the session has ended: no event makes it active again.
func (at sessionState) isOver() bool { return at >= sessionKept }

// hasBegun says that the game has, or had, the profile.
func (at sessionState) hasBegun() bool {
	return at >= sessionActive && at != sessionFailed
}

// isHeld says that the session has a grant that it has not begun to give back.
func (at sessionState) isHeld() bool { return at == sessionGranted || at == sessionActive }
