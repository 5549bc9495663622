package sshagent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What an agent may send. The first two are the limits of OpenSSH's programs, so no
// agent in use exceeds them.
const (
	maxReply = 256 << 10 // bytes of one answer
	maxKeys  = 2048      // in one list
	maxTotal = 1 << 20   // bytes of all answers on one connection
)

// frames asks the agent one thing after the other, and keeps its answers to the limits.
type frames struct {
	_       [0]func() // never compared
	conn    io.ReadWriter
	left    int   // bytes that may still come
	refused bool  // the last answer says only "failure"
	err     error // the first that happened; there is no way on from it
}

// ask sends a request and returns the answer, which has to be of the type wanted.
func (f *frames) ask(wanted byte, request []byte) (reply []byte, err error) {
	if f.err == nil {
		f.err = writeFrame(f.conn, request)
	}
	if f.err == nil {
		reply, f.err = f.next()
	}
	switch {
	case f.err != nil:
		return nil, f.err
	case reply[0] != wanted:
		return nil, fmt.Errorf("its answer is of type %d, not %d", reply[0], wanted)
	}
	return reply, nil
}

// next reads one answer.
func (f *frames) next() ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(f.conn, length[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length[:])
	switch {
	case size == 0:
		return nil, errors.New("it sent an empty answer")
	case size > maxReply:
		return nil, fmt.Errorf("it sent an answer of %d bytes, more than %d", size, maxReply)
	case int(size) > f.left:
		return nil, fmt.Errorf("it sent more than %d bytes", maxTotal)
	}
	f.left -= int(size)
	reply := make([]byte, size)
	if _, err := io.ReadFull(f.conn, reply); err != nil {
		return nil, err
	}
	f.refused = reply[0] == replyFailure
	if reply[0] == replyKeys && len(reply) > 4 {
		if n := binary.BigEndian.Uint32(reply[1:]); n > maxKeys {
			return nil, fmt.Errorf("it lists %d keys, more than %d", n, maxKeys)
		}
	}
	return reply, nil
}
