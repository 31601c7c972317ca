package peerwire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The first frame of every connection between nodes names its target. So a message for a lost node is never answered by
// its successor at the same address, which has none of its votes.
const (
	wireMagic   = "pfnd"
	wireVersion = 2
)

// connKind is the purpose of a connection.
type connKind byte

const (
	kindRaft connKind = 1
	kindPeer connKind = 2
)

// openingFrame is the first frame.
type openingFrame struct {
	kind    connKind
	cluster string // hex; "": any
	target  string // node id; "": any node that listens
	sender  string // node id
	process string // process of the target; "": any
}

var errWireFormat = errors.New("not a connection between nodes of this version")

func (o openingFrame) write(to io.Writer) error {
	frame := append([]byte(wireMagic), wireVersion, byte(o.kind))
	for _, part := range []string{o.cluster, o.target, o.sender, o.process} {
		if len(part) > 255 {
			return fmt.Errorf("open connection: an id of %d bytes is too long", len(part))
		}
		frame = append(append(frame, byte(len(part))), part...)
	}
	_, err := to.Write(frame)
	return err
}

// readOpening reads the frame and not one byte more: the bytes behind it belong to another reader.
func readOpening(from io.Reader) (openingFrame, error) {
	var head [len(wireMagic) + 2]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return openingFrame{}, err
	}
	if SpeaksTLS(head[:]) {
		return openingFrame{}, ErrSpeaksTLS
	}
	o := openingFrame{kind: connKind(head[len(wireMagic)+1])}
	if string(head[:len(wireMagic)]) != wireMagic || head[len(wireMagic)] != wireVersion {
		return openingFrame{}, errWireFormat
	}
	for _, part := range []*string{&o.cluster, &o.target, &o.sender, &o.process} {
		var size [1]byte
		if _, err := io.ReadFull(from, size[:]); err != nil {
			return openingFrame{}, err
		}
		text := make([]byte, size[0])
		if _, err := io.ReadFull(from, text); err != nil {
			return openingFrame{}, err
		}
		*part = string(text)
	}
	return o, nil
}

// These bound one message on a peer connection. A question has the smaller bound, since it may come from any process.
const (
	maxMessageBytes  = 1 << 20
	maxQuestionBytes = 64 << 10
)

// writeMessage writes length, type and payload in one write.
func writeMessage(to io.Writer, about questionKind, payload []byte) error {
	if len(payload) > maxMessageBytes {
		return fmt.Errorf("send to node: a message of %d bytes is too long", len(payload))
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 5+len(payload)), uint32(len(payload)))
	frame = append(append(frame, byte(about)), payload...)
	_, err := to.Write(frame)
	return err
}

// readMessage takes memory only for bytes that have arrived, whatever length was announced.
func readMessage(from io.Reader, most uint32) (questionKind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[:4])
	if size > most {
		return 0, nil, errWireFormat
	}
	payload, err := io.ReadAll(io.LimitReader(from, int64(size)))
	if err == nil && len(payload) < int(size) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return 0, nil, err
	}
	return questionKind(head[4]), payload, nil
}
