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

// Types of answers that are looked at here.
const (
	replyFailure = 5
	replyKeys    = 12
)

// frames is the connection as the client of x/crypto sees it. That one allocates what
// the agent announces, up to 16 MB and two million keys, before it has any of it;
// frames hands out an answer only when it is there and keeps to the limits.
type frames struct {
	conn    io.ReadWriter
	left    int    // bytes that may still come
	unread  []byte // of the answer at hand, its length in front
	refused bool   // the last answer says only "failure"
	err     error  // the first that happened; there is no way on from it
}

func (f *frames) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	f.unread = nil
	n, err := f.conn.Write(p)
	f.err = err
	return n, err
}

func (f *frames) Read(p []byte) (int, error) {
	if f.err == nil && len(f.unread) == 0 {
		f.unread, f.err = f.next()
	}
	if f.err != nil {
		return 0, f.err
	}
	n := copy(p, f.unread)
	f.unread = f.unread[n:]
	return n, nil
}

// next reads one answer.
func (f *frames) next() ([]byte, error) {
	const head = 4
	var length [head]byte
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
	frame := append(length[:], make([]byte, size)...)
	reply := frame[head:]
	if _, err := io.ReadFull(f.conn, reply); err != nil {
		return nil, err
	}
	f.refused = reply[0] == replyFailure
	if reply[0] == replyKeys && len(reply) > 4 {
		if n := binary.BigEndian.Uint32(reply[1:]); n > maxKeys {
			return nil, fmt.Errorf("it lists %d keys, more than %d", n, maxKeys)
		}
	}
	return frame, nil
}
