// Package client is the library with which a game server uses a profilenode cluster.
//
// # The model
//
// A [Client] is this game server's registration with the cluster; a process has one. A [Store] is the profiles of one kind,
// with data of one Go type. A [Profile] is one of them with a session here: this game server's copy of its data, in memory,
// changed by [Profile.Update] and saved by itself. As long as a session is held no other game server can write the profile.
// One that wants it waits in line, and this one is asked to let go: a last save and the release are one step.
//
// A session has three states:
//
//   - StateHeld: the cluster has confirmed within the last seconds that the profile is this game server's. [Profile.IsActive]
//     is true.
//   - StateInDoubt: the cluster has not been heard. The game may go on and the data may change, but saves wait, and nothing
//     that cannot be undone should leave the profile: no trades, no payments. It goes back to held by itself.
//   - StateOver: the session has ended. [Profile.Done] is closed, and OnSessionEnd tells why. A new StartSession loads the data
//     that the store holds.
//
// The next owner loads the data that Save acknowledged. A refused request has not happened. A request that may have happened
// returns ErrUnknown, which [Client.Outcome] settles. A Save may be acknowledged after Done was closed: its copy landed
// before the session was taken, and its data is in the store.
//
// # Locks and handlers
//
// Each profile has a lock. Functions that are given the data run under it: those of Update, Read and Try, and the handlers
// of OnMessage, OnSave and OnLastSave. They must not block, must not keep the pointer, and must not call Update, Read, Try,
// Save or EndSession of the same profile, which would wait for themselves. A lock that is held for more than a second is
// reported (CodeLockHeld); it holds up this profile and no other. All other handlers run outside of every lock and may call
// anything: OnSessionEnd and those of the [Config] in goroutines of their own, OnAfterSave and OnError for one event after
// the other, in order. Methods OnX return a function that stops the handler.
//
// Nothing blocks the game on the network but calls that take a context, and Close, which is bounded. A context that ended
// before a call sends nothing.
//
// # Errors
//
// Every error is an [*Error] of one of the package's kinds, each documented with the right reaction. Errors that no call
// returns go to Config.OnError and to the log: failed saves, doubt, lost sessions, nodes that cannot be reached.
//
// Package clienttest has clusters for a game's own tests.
package client
