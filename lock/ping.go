package lock

import "encoding/binary"

// PingBytes is the length of what a ping port says to everybody who connects, before it closes.
const PingBytes = len(pingMark) + 8

const pingMark = "profping"

// PingFrame is what the ping port of this incarnation says; of 0, that of a process which has none just now.
func PingFrame(id Incarnation) [PingBytes]byte {
	var frame [PingBytes]byte
	binary.BigEndian.PutUint64(frame[copy(frame[:], pingMark):], uint64(id))
	return frame
}

// ReadPing is who answered on a ping port; ok is false when it was nothing of the kind.
func ReadPing(frame []byte) (id Incarnation, ok bool) {
	if len(frame) != PingBytes || string(frame[:len(pingMark)]) != pingMark {
		return 0, false
	}
	return Incarnation(binary.BigEndian.Uint64(frame[len(pingMark):])), true
}
