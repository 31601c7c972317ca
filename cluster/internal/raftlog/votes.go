package raftlog

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	boltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// votesLockTimeout bounds the wait for the lock of the file of votes.
const votesLockTimeout = 2 * time.Second

// openBoltVotes opens raft's term and vote in a file of bbolt. mustExist says that the file has held votes before, so it must be
// whole: it is checked before raft sees it, since bbolt panics at a damaged page whenever it comes across one, and reads
// a page that a cut has taken away as a fault of memory, either of which ends the process.
func openBoltVotes(path string, mustExist bool) (votes *boltdb.BoltStore, err error) {
	err = recoverFaults(func() error {
		if mustExist {
			if err := checkVotesFile(path); err != nil {
				return err
			}
		}
		votes, err = boltdb.New(boltdb.Options{
			Path:                    path,
			BoltOptions:             &bbolt.Options{Timeout: votesLockTimeout, FreelistType: bbolt.FreelistMapType},
			MsgpackUseNewTimeFormat: true,
		})
		return err
	})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open %s: it is in use by another process: %w", path, err)
	}
	return votes, disk.AsDamage(path, err)
}

// checkVotesFile reads every page of the file. bbolt has checksums for its two first pages alone, so wrong bytes in a term or
// a vote are not found here; checkVotesFit finds a term that is too low.
func checkVotesFile(path string) error {
	if file, err := os.Stat(path); err == nil && file.Size() == 0 {
		return errors.New("it is empty")
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: votesLockTimeout, ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		return err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		file, err := os.Stat(path)
		if err != nil {
			return err
		}
		if file.Size() < tx.Size() {
			return fmt.Errorf("it has %d bytes, and says that it uses %d", file.Size(), tx.Size())
		}
		err = tx.ForEach(func(_ []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(_, _ []byte) error { return nil })
		})
		if err != nil {
			return err
		}
		// Last, since it runs in a goroutine of its own, where a fault of memory ends the process.
		for damage := range tx.Check() {
			err = errors.Join(err, damage)
		}
		return err
	})
	return errors.Join(err, db.Close())
}

// recoverFaults returns a panic in act as an error, also one at an address that is not mapped.
func recoverFaults(act func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return act()
}
