package lock

import "encoding/binary"

// PingBytes is the length of the frame that a ping port sends on each connection before it closes it.
const PingBytes = len(pingMark) + 8

const pingMark = "profping"

// PingFrame returns the frame that the ping port of this incarnation sends; 0 is for a process without an incarnation.
func PingFrame(id Incarnation) [PingBytes]byte {
	var frame [PingBytes]byte
	binary.BigEndian.PutUint64(frame[copy(frame[:], pingMark):], uint64(id))
	return frame
}

// ReadPing returns the incarnation that a ping port's frame names; ok is false if the bytes are no such frame.
func ReadPing(frame []byte) (id Incarnation, ok bool) {
	if len(frame) != PingBytes || string(frame[:len(pingMark)]) != pingMark {
		return 0, false
	}
	return Incarnation(binary.BigEndian.Uint64(frame[len(pingMark):])), true
}
