package proxy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Opcodes of WebSocket frames (RFC 6455, section 5.2).
const (
	opContinuation = 0x0
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa

	frameFinal = 0x80
	frameMask  = 0x80
	// maxControl limits the payload of control frames.
	maxControl = 125
	// closeTimeout limits how long closing waits for the network to take its
	// last frame.
	closeTimeout = 100 * time.Millisecond
)

// webSocket is the byte stream that a WebSocket's binary messages carry. Where
// messages begin and end means nothing.
type webSocket struct {
	_ [0]func() // never compared
	net.Conn
	r    *bufio.Reader
	left uint64 // bytes of the current frame not yet read
	err  error  // how reading ended

	writing sync.Mutex
	closed  bool
}

// Read implements io.Reader. Pings are answered on the way.
func (w *webSocket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for w.left == 0 {
		if w.err == nil {
			w.err = w.nextFrame()
		}
		if w.err != nil {
			return 0, w.err
		}
	}
	n, err := w.r.Read(p[:min(uint64(len(p)), w.left)])
	w.left -= uint64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the sender ends with a close frame
	}
	return n, err
}

// nextFrame reads the header of the next data frame, and all control frames
// before it.
func (w *webSocket) nextFrame() error {
	var head [2]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return err
	}
	final, reserved, opcode := head[0]&frameFinal != 0, head[0]&0x70, head[0]&0x0f
	if reserved != 0 || head[1]&frameMask != 0 {
		return fmt.Errorf("malformed WebSocket frame %x", head)
	}
	size := uint64(head[1])
	var err error
	switch size {
	case 126:
		var n [2]byte
		_, err = io.ReadFull(w.r, n[:])
		size = uint64(binary.BigEndian.Uint16(n[:]))
	case 127:
		var n [8]byte
		_, err = io.ReadFull(w.r, n[:])
		if size = binary.BigEndian.Uint64(n[:]); size >= 1<<63 {
			return fmt.Errorf("malformed WebSocket frame of %d bytes", size)
		}
	}
	if err != nil {
		return err
	}
	switch opcode {
	case opBinary, opContinuation:
		w.left = size
		return nil
	case opClose, opPing, opPong:
		if size > maxControl || !final {
			return fmt.Errorf("malformed WebSocket control frame of %d bytes", size)
		}
		return w.control(opcode, int(size))
	}
	return fmt.Errorf("WebSocket frame of unexpected kind %#x", opcode)
}

func (w *webSocket) control(opcode byte, size int) error {
	payload := make([]byte, size)
	if _, err := io.ReadFull(w.r, payload); err != nil {
		return err
	}
	switch opcode {
	case opPing:
		return w.send(opPong, payload)
	case opClose:
		return io.EOF
	}
	return nil
}

// Write implements io.Writer: one binary message.
func (w *webSocket) Write(p []byte) (int, error) {
	if err := w.send(opBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close says goodbye, if nobody is in the middle of writing, and closes the
// connection.
func (w *webSocket) Close() error {
	if w.writing.TryLock() {
		if !w.closed {
			w.closed = true
			_ = w.Conn.SetWriteDeadline(time.Now().Add(closeTimeout))
			_, _ = w.Conn.Write([]byte{frameFinal | opClose, frameMask, 0, 0, 0, 0})
		}
		w.writing.Unlock()
	}
	return w.Conn.Close()
}

func (w *webSocket) send(opcode byte, payload []byte) error {
	frame := make([]byte, 0, 14+len(payload))
	frame = append(frame, frameFinal|opcode)
	switch n := len(payload); {
	case n <= maxControl:
		frame = append(frame, frameMask|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, frameMask|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, frameMask|127), uint64(n))
	}
	// Masking keeps plain text from being taken for something else on the way.
	// What travels here is TLS, inside TLS: the mask of zeroes saves the work.
	frame = append(frame, 0, 0, 0, 0)
	frame = append(frame, payload...)
	w.writing.Lock()
	defer w.writing.Unlock()
	if w.closed {
		return net.ErrClosed
	}
	_, err := w.Conn.Write(frame)
	return err
}
