package snapshot

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
)

// A snapshot is sent as one stream. Raft asks for the length of the stream before it is read; it follows from the names and
// sizes of the files.
//
//	magic, version u32, number of files u32, applied row u64, level of the tables u32, format of their files u32, bytes of the
//	list u32     these are fixedBytes
//	list: for each file the length of its name u16, its name, its size u64
//	checksum u64 of all bytes before it; up to here the stream is called its head
//	for each file: its bytes, checksum u64 of these bytes
//
// Integers are big-endian, checksums are XXH64. A file's checksum follows its bytes, so that a sender reads each file only
// once. Level and format are in the head so that a build which cannot read the tables refuses them before it receives them.
const (
	streamMagic   = "profsnap"
	streamVersion = 2
	fixedBytes    = len(streamMagic) + 4 + 4 + 8 + 4 + 4 + 4
	sumBytes      = 8       // bytes of a checksum
	maxFiles      = 1 << 18 // files in a stream
	maxFileName   = 128     // bytes of a file's name
	maxListBytes  = maxFiles * (2 + maxFileName + 8)
	copyBytes     = 64 << 10 // bytes of a received file that are written at a time
	maxTotalBytes = 1 << 46  // sum of the sizes that a stream may list: 64 TiB
)

// contents is what a snapshot holds.
type contents struct {
	Row        uint64                    `json:"row"`         // applied row of the tables
	Level      uint32                    `json:"level"`       // of the tables
	FileFormat pebble.FormatMajorVersion `json:"file_format"` // of the tables' files
	Files      []fileEntry               `json:"files"`
}

// fileEntry is one file of the tables in a snapshot.
type fileEntry struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	Sum  string `json:"sum,omitempty"` // XXH64 in hex of a received file; empty in a checkpoint: its files are not read
}

// streamBytes returns the exact length of the stream of files.
func streamBytes(files []fileEntry) int64 {
	total := int64(fixedBytes + sumBytes)
	for _, f := range files {
		total += int64(2+len(f.Name)+8) + f.Size + sumBytes
	}
	return total
}

// encodeStreamHead returns the head of a stream: all before the bytes of the first file.
func encodeStreamHead(in contents) []byte {
	var list []byte
	for _, f := range in.Files {
		list = binary.BigEndian.AppendUint16(list, uint16(len(f.Name)))
		list = append(list, f.Name...)
		list = binary.BigEndian.AppendUint64(list, uint64(f.Size))
	}
	head := []byte(streamMagic)
	head = binary.BigEndian.AppendUint32(head, streamVersion)
	head = binary.BigEndian.AppendUint32(head, uint32(len(in.Files)))
	head = binary.BigEndian.AppendUint64(head, in.Row)
	head = binary.BigEndian.AppendUint32(head, in.Level)
	head = binary.BigEndian.AppendUint32(head, uint32(in.FileFormat))
	head = binary.BigEndian.AppendUint32(head, uint32(len(list)))
	head = append(head, list...)
	return binary.BigEndian.AppendUint64(head, xxhash.Sum64(head))
}

// checkFileName returns an error for a file name that could lead out of the snapshot's folder.
func checkFileName(name string) error {
	if name == "" || len(name) > maxFileName || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00:") {
		return fmt.Errorf("file name %q is not allowed", name)
	}
	return nil
}
