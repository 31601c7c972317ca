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

// votesLockTimeout is the longest wait for the lock of the file of votes.
const votesLockTimeout = 2 * time.Second

// openBoltVotes opens the bbolt file that holds raft's term and vote. mustExist says that it has held votes before; it is
// then checked as a whole first. Otherwise a damaged file would end the process later: bbolt panics when it comes across
// a damaged page, and reading a page beyond the end of a truncated file is a memory fault.
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

// checkVotesFile reads every page of the file and checks that they fit together. bbolt has checksums only for its first two
// pages, so wrong bytes in a term or a vote are not found here. checkVotesFit finds a term that is too low.
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
		// This check comes last: it runs in a goroutine of its own, where recoverFaults cannot catch a memory fault.
		for damage := range tx.Check() {
			err = errors.Join(err, damage)
		}
		return err
	})
	return errors.Join(err, db.Close())
}

// recoverFaults runs act and returns a panic in it as an error, also one for a memory fault.
func recoverFaults(act func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return act()
}
