package fsm

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/fsm/logpb"
	"github.com/profilenode/profilenode/lock"
)

// ErrPoison is an entry that this build cannot apply. A node that meets one stops: guessing would make its tables differ
// from the others'.
var ErrPoison = errors.New("an entry of the log cannot be applied by this build")

// Encode makes the bytes of one entry of a level: the tables' own, which every voter can apply. It refuses commands that do not
// fit together into one.
func Encode(level uint32, cluster []byte, stampMS int64, commands []*Command) ([]byte, error) {
	if len(commands) > lock.MaxPlace {
		return nil, fmt.Errorf("encode an entry: %d commands, at most %d fit", len(commands), lock.MaxPlace)
	}
	entry := &logpb.Entry{Level: level, Cluster: cluster, StampMs: stampMS, Commands: commands}
	data, err := proto.Marshal(entry)
	if err != nil {
		return nil, fmt.Errorf("encode an entry: %w", err)
	}
	return data, nil
}

// Size returns the bytes that a command takes in an entry.
func Size(c *Command) int {
	const frame = 8 // field tag and length
	return proto.Size(c) + frame
}

// CheckEntry returns the error with which the tables of a cluster would stop at an entry, nil if this build applies it. Once an entry
// is in the log, all nodes stop at it, so a leader checks what it is about to propose.
func CheckEntry(data []byte, build Build, cluster []byte) error {
	_, err := decodeEntry(data, build, cluster)
	return err
}

// decodeEntry reads an entry for the tables of a cluster; none: it is not founded yet.
func decodeEntry(data []byte, build Build, cluster []byte) (*logpb.Entry, error) {
	entry := new(logpb.Entry)
	if err := proto.Unmarshal(data, entry); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrPoison, err)
	}
	if level, highest := entryLevel(entry), build.HighestLevel(); level > highest {
		return nil, fmt.Errorf("%w: it is of level %d, this build knows %d: %w", ErrPoison, level, highest, ErrOldBuild)
	}
	if len(entry.Commands) > lock.MaxPlace {
		return nil, fmt.Errorf("%w: it holds %d commands, at most %d", ErrPoison, len(entry.Commands), lock.MaxPlace)
	}
	if len(cluster) > 0 && !bytes.Equal(entry.Cluster, cluster) {
		return nil, fmt.Errorf("%w: it is of cluster %x, the tables are of %x", ErrPoison, entry.Cluster, cluster)
	}
	return entry, nil
}
