package cluster

import (
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
)

// logStoreLog carries Pebble's messages about the log into the node's own log, and a fatal one to the node.
type logStoreLog struct {
	store *logStore
	log   *slog.Logger
}

var _ pebble.Logger = logStoreLog{}

func (l logStoreLog) Infof(format string, args ...any) {
	l.log.Debug(fmt.Sprintf(format, args...), "from", "pebble, log")
}

func (l logStoreLog) Errorf(format string, args ...any) {
	l.log.Error(fmt.Sprintf(format, args...), "from", "pebble, log")
}

// Fatalf never returns, since Pebble goes on as if all were well when it does: an append whose sync failed would be
// acknowledged. Calls that wait for the log are told by broken.
func (l logStoreLog) Fatalf(format string, args ...any) {
	l.store.markBroken(fmt.Errorf(format, args...))
	select {}
}

// reportFault is a failure beside the appends, of a flush or a compaction. Pebble would try again at once without end, and
// say so each time, until it has no memory left for entries; then an append waits for it, and the node goes on leading.
func (s *logStore) reportFault(err error) {
	s.markBroken(err)
	select {}
}

// reportDamage is called where a read met a damaged table, with an error that the read returns too.
func (s *logStore) reportDamage(damage pebble.DataCorruptionInfo) {
	s.onFault(fmt.Errorf("%w: log: %w", ErrFailed, &damagedError{damage.Path, damage.Details}))
}

// markBroken is Pebble's end: its goroutines never go on.
func (s *logStore) markBroken(err error) {
	s.breakOnce.Do(func() {
		s.brokenErr = fmt.Errorf("%w: log: %w", ErrFailed, err)
		close(s.broken)
		s.onFault(s.brokenErr)
	})
}

// runUnlessStuck waits for act, but not for longer than the store is whole. act's goroutine is then lost until the process
// ends. Once the store is broken no act begins: Pebble panics if it is used after its Close, and a lost goroutine may not have
// begun by the time that Close is called.
func runUnlessStuck[T any](s *logStore, act func() (T, error)) (T, error) {
	select {
	case <-s.broken:
		var none T
		return none, s.brokenErr
	default:
	}
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := act()
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-s.broken:
		var none T
		return none, s.brokenErr
	}
}
