package snapshot

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// A snapshot travels as one stream, with a length that follows from the names and sizes of its files alone:
//
//	magic, version u32, files u32, applied row u64, length of the list u32     fixedBytes
//	list: for each file length of its name u16, name, size u64
//	checksum u64 of all that so far
//	for each file: its bytes, checksum u64 of them
//
// Integers are big-endian, checksums are XXH64. A file's checksum follows its bytes, so that a sender reads each file
// once.
const (
	streamMagic   = "profsnap"
	streamVersion = 1
	fixedBytes    = len(streamMagic) + 4 + 4 + 8 + 4
	sumBytes      = 8
	maxFiles      = 1 << 18
	maxFileName   = 128
	maxListBytes  = maxFiles * (2 + maxFileName + 8)
	copyBytes     = 64 << 10
	maxTotalBytes = 1 << 46 // 64 TiB; bound on the sizes that a stream announces
)

// fileEntry is one file of a snapshot's machine.
type fileEntry struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	Sum  string `json:"sum,omitempty"` // XXH64 in hex, of a received file; empty for our own tables
}

// streamBytes is the exact length of the stream of files.
func streamBytes(files []fileEntry) int64 {
	total := int64(fixedBytes + sumBytes)
	for _, f := range files {
		total += int64(2+len(f.Name)+8) + f.Size + sumBytes
	}
	return total
}

// encodeStreamHead is the stream up to the first file.
func encodeStreamHead(row uint64, files []fileEntry) []byte {
	var list []byte
	for _, f := range files {
		list = binary.BigEndian.AppendUint16(list, uint16(len(f.Name)))
		list = append(list, f.Name...)
		list = binary.BigEndian.AppendUint64(list, uint64(f.Size))
	}
	head := []byte(streamMagic)
	head = binary.BigEndian.AppendUint32(head, streamVersion)
	head = binary.BigEndian.AppendUint32(head, uint32(len(files)))
	head = binary.BigEndian.AppendUint64(head, row)
	head = binary.BigEndian.AppendUint32(head, uint32(len(list)))
	head = append(head, list...)
	return binary.BigEndian.AppendUint64(head, xxhash.Sum64(head))
}

// checkFileName keeps a stream from writing anywhere but into its own folder.
func checkFileName(name string) error {
	if name == "" || len(name) > maxFileName || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00:") {
		return fmt.Errorf("file name %q is not allowed", name)
	}
	return nil
}
