package client

import (
	"context"

	"github.com/profilenode/profilenode/client/internal/document"
)

// Profile is a profile with a session: this game server's copy of its data, saved by itself.
//
// The functions that are given the data run under the profile's own lock: they must not keep the pointer, must not
// block, and must not call a method of the same profile, which would wait for itself.
type Profile[T any] struct {
	s        *session
	template profileTemplate[T]

	value    T                     // guarded by session.data, as is all below
	document *document.Document[T] // beside value; nil if the codec is not JSON
	lost     map[string]bool       // paths of unknown data that could not be kept, as reported

	onSave     handlerList[func(*T)]
	onLastSave handlerList[func(*T, LastSaveReason)]
	onMessage  handlerList[func(*T, Message) Answer]
}

// Key names the profile within its store.
func (p *Profile[T]) Key() string { return p.s.ref.Key }

// Ref names the profile.
func (p *Profile[T]) Ref() Ref { return p.s.ref }

// Update changes the data. The changes of one f are saved together, with the next save.
//
// If f panics the session is over, since its data may be half changed: unsaved changes are lost, as in a crash, and the
// panic goes on to the caller. (A fatal error of the Go runtime, a concurrent map write for example, ends the process and
// cannot be caught.)
//
// ErrSessionOver: f did not run. While the session is in doubt it does run; ask IsActive before an act that cannot be
// undone.
func (p *Profile[T]) Update(f func(data *T)) error {
	p.s.data.Lock()
	defer p.s.data.Unlock()
	if err := p.s.checkWritable("update"); err != nil {
		return err
	}
	p.s.changes.Add(1)
	p.s.runUpdate(func() { f(&p.value) })
	return nil
}

// Try changes the data if f returns nil, and leaves it as it was if f returns an error, which Try then returns as it is, or
// panics, which then goes on: f works on a copy. Update has no way back: a panic there may leave half a change, so it ends
// the session.
//
// The copy costs about as much as a save; the store's option WithCopy says how it is made. Without that option it is made
// by encoding and decoding: numbers in values of type any then become json.Number, as after a load.
//
// ErrSessionOver: f did not run. ErrInvalid: f did not run, since the data cannot be copied: without WithCopy, T may have
// no unexported fields and none that its codec leaves out (`json:"-"`).
func (p *Profile[T]) Try(f func(data *T) error) error {
	p.s.data.Lock()
	defer p.s.data.Unlock()
	if err := p.s.checkWritable("try"); err != nil {
		return err
	}
	changed, err := p.template.deepCopy(&p.value)
	if err != nil {
		return &Error{Act: "try", Ref: p.s.ref, Kind: ErrInvalid, Sentence: "the data cannot be copied", Cause: err}
	}
	if err := f(&changed); err != nil {
		return err
	}
	p.value = changed
	p.s.changes.Add(1)
	return nil
}

// Read looks at the data, also once the session is over. f must not change it.
func (p *Profile[T]) Read(f func(data *T)) {
	p.s.data.Lock()
	defer p.s.data.Unlock()
	f(&p.value)
}

// Save stores the data as it is now, and returns once it is stored. Data that has not changed since is not sent. The
// autosave does this by itself; call it for a change that must not be lost, a purchase for example. A save that ctx leaves
// behind goes on in the background.
//
// ErrSessionOver: this data is not stored and never will be, or it was stored before and the session is over. ErrInvalid: it
// cannot be encoded or is too large; the session goes on. ErrUnknown: ctx ended first, or no node could tell. A save may be
// acknowledged after Done is closed: it was on its way when the session was taken away, and was first; the next owner has
// loaded it.
func (p *Profile[T]) Save(ctx context.Context) error { return p.s.saves.saveNow(ctx) }

// EndSession makes a last save, gives the profile back in the same step, and returns once both are in the log: the next
// owner loads this data. Data that has not changed is not sent. From the moment that the last save is on its way Update
// refuses. Further calls return the result of the first.
//
// Errors as Save, but that data which cannot be stored ends the session too, with the data stored before: the error is
// ErrSessionOver, with ErrInvalid as its cause. After ErrUnknown it is still being tried.
func (p *Profile[T]) EndSession(ctx context.Context) error {
	return p.s.saves.saveAndEnd(ctx, LastSaveManual)
}

// State returns the session's state, computed at each call.
func (p *Profile[T]) State() State { return p.s.currentState() }

// IsActive says that the session is held: while it does, no other game server owns the profile.
func (p *Profile[T]) IsActive() bool { return p.s.currentState() == StateHeld }

// Done is closed when the session is over. A channel is no lease: ask IsActive before an act that cannot be undone.
func (p *Profile[T]) Done() <-chan struct{} { return p.s.done }

// Err is why the session is over: nil while it goes on, and after EndSession, a hand-off or Close ended it with all
// data stored; else an *Error that is ErrSessionOver.
func (p *Profile[T]) Err() error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.s.overReason
}

// Revision counts the profile's saves; it is that of the last one known here.
func (p *Profile[T]) Revision() uint64 {
	return p.s.saves.knownRevision()
}

// Loads counts the sessions that were ever opened on the profile, this one included.
func (p *Profile[T]) Loads() uint64 {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.s.loads
}

// OnSave adds a handler that runs before each save and may change the data to be saved. With such a handler each autosave
// looks at the data.
func (p *Profile[T]) OnSave(f func(data *T)) (stop func()) {
	stop = p.onSave.addHandler(f)
	p.s.saves.hasHandlers.Store(true) // and stays so: a look too many costs an encoding
	return stop
}

// OnLastSave adds a handler that runs before a save that ends the session, after the handlers of OnSave, and may change the
// data to be saved. It does not run if the session is lost. It may run again if a last save was refused.
func (p *Profile[T]) OnLastSave(f func(data *T, reason LastSaveReason)) (stop func()) {
	return p.onLastSave.addHandler(f)
}

// Saved says how a save went.
type Saved struct {
	Ref      Ref
	Revision uint64 // of the stored data, as far as this game server knows
	Last     bool   // the save was to end the session
	Err      error  // nil: the data is stored
}

// OnAfterSave runs after each save that stored something or failed, one at a time and in the order of the saves. It runs
// outside of every lock, so it may call any method.
func (p *Profile[T]) OnAfterSave(f func(Saved)) (stop func()) { return p.s.saves.onSaved.addHandler(f) }

// OnSessionEnd runs once when the session is over, at once if it is over already, in a goroutine of its own: it may call
// any method.
func (p *Profile[T]) OnSessionEnd(f func(End)) (stop func()) { return p.s.callWhenOver(f) }

var _ typedData = (*Profile[any])(nil)

func (p *Profile[T]) runSaveHandlers(last bool, reason LastSaveReason) {
	p.onSave.callEach(0, func(f func(*T)) bool {
		f(&p.value)
		return true
	})
	if last {
		p.onLastSave.callEach(0, func(f func(*T, LastSaveReason)) bool {
			f(&p.value, reason)
			return true
		})
	}
}

func (p *Profile[T]) encodeData() ([]byte, error) {
	if p.document == nil {
		return p.template.codec.Encode(&p.value)
	}
	data, lost, err := p.document.Encode(&p.value)
	if err == nil && len(lost) > 0 {
		p.reportLost(lost)
	}
	return data, err
}

// maxLostReported is how many paths are reported of a profile, in case they differ from save to save.
const maxLostReported = 64

// reportLost logs, once for each path, the fields that a newer version of the game wrote and this one could not keep.
func (p *Profile[T]) reportLost(paths []string) {
	if p.lost == nil {
		p.lost = make(map[string]bool)
	}
	var news []string
	for _, path := range paths {
		if !p.lost[path] && len(p.lost) < maxLostReported {
			p.lost[path] = true
			news = append(news, path)
		}
	}
	if len(news) > 0 {
		p.s.client.life.startGoroutine(func() { // the logger is the game's code too, and this runs under the profile's lock
			p.s.client.config.Log.Warn("a save drops fields that this version of the game does not know: the elements that had "+
				"them were changed", "profile", p.s.ref.String(), "paths", news)
		})
	}
}

func (p *Profile[T]) codecID() uint32 { return uint32(p.template.codec.ID()) }
