//go:build linux || freebsd || netbsd || openbsd

package keyring

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

// bus is a connection to a D-Bus message bus for one call after the other, see
// https://dbus.freedesktop.org/doc/dbus-specification.html. It has no goroutine
// and is not shared; the deadline of its socket ends whatever it waits for.
type bus struct {
	socket *net.UnixConn
	in     *bufio.Reader
	serial uint32    // of the last call
	missed []message // prompts that ended during a call
}

// request is the call of a method.
type request struct {
	service string
	path    objectPath
	method  string // with its interface
	args    []any
}

// message is what the bus told us: answers, and the end of prompts.
type message struct {
	kind        byte
	path        objectPath
	face        string // the interface
	member      string
	errorName   string
	replySerial uint32
	types       signature // of the body
	body        reader
}

// The kinds of messages.
const (
	methodCall  = 1
	methodReply = 2
	errorReply  = 3
	signal      = 4
)

// The fields of a header.
const (
	fieldPath        = 1
	fieldInterface   = 2
	fieldMember      = 3
	fieldErrorName   = 4
	fieldReplySerial = 5
	fieldDestination = 6
	fieldSignature   = 8
)

const (
	fixedHeader  = 16 // bytes of a header before its fields
	littleEndian = 'l'
	bigEndian    = 'B'
	version1     = 1 // of the protocol
)

// maxTraffic is the most that the bus may send us in one conversation, in bytes.
// A usual one has 3 KiB.
const maxTraffic = 1 << 20

var (
	errNoBus      = errors.New("what listens there does not let us in as a D-Bus does")
	errBadMessage = errors.New("a message is damaged")
	errTypes      = errors.New("types that the call does not have")
)

// busError is what a call was answered with in place of a result.
type busError struct{ name, message string }

func (e *busError) Error() string {
	if e.message == "" {
		return e.name
	}
	return e.name + ": " + e.message
}

// newBus says over a socket who we are, and joins the bus.
func newBus(socket *net.UnixConn) (*bus, error) {
	b := &bus{socket: socket, in: bufio.NewReader(io.LimitReader(socket, maxTraffic))}
	if _, err := fmt.Fprintf(socket, "\x00AUTH EXTERNAL %x\r\n", strconv.Itoa(os.Geteuid())); err != nil {
		return nil, err
	}
	line, err := b.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 || string(line[:3]) != "OK " {
		return nil, errNoBus
	}
	if _, err := io.WriteString(socket, "BEGIN\r\n"); err != nil {
		return nil, err
	}
	var ourName string
	return b, b.call(ownMethod("Hello"), &ourName)
}

// ownMethod is a call of a method of the bus itself.
func ownMethod(name string, args ...any) request {
	const bus = "org.freedesktop.DBus"
	return request{bus, "/org/freedesktop/DBus", bus + "." + name, args}
}

// call calls a method and stores what it returns, which has to have the types of
// the results. A *busError is an answer, and errTypes is one with other types; after
// other errors the connection is of no more use.
func (b *bus) call(what request, results ...any) error {
	b.serial++
	if _, err := b.socket.Write(what.message(b.serial)); err != nil {
		return err
	}
	for {
		m, err := b.receive()
		switch {
		case err != nil:
			return err
		case m.kind == signal && m.face == promptInterface:
			b.missed = append(b.missed, m)
		case m.kind == methodReply && m.replySerial == b.serial:
			return m.store(results...)
		case m.kind == errorReply && m.replySerial == b.serial:
			told := &busError{name: m.errorName}
			if len(m.types) > 0 && m.types[0] == 's' {
				m.body.into(&told.message)
			}
			return told
		}
	}
}

// prompted is the next signal of a prompt.
func (b *bus) prompted() (m message, err error) {
	if len(b.missed) > 0 {
		m, b.missed = b.missed[0], b.missed[1:]
		return m, nil
	}
	for err == nil && (m.kind != signal || m.face != promptInterface) {
		m, err = b.receive()
	}
	return m, err
}

// message is the call as bytes.
func (q request) message(serial uint32) []byte {
	var body writer
	var types string
	for _, arg := range q.args {
		types += signatureOf(arg)
		body.value(arg)
	}
	dot := strings.LastIndexByte(q.method, '.')
	w := writer{littleEndian, methodCall, 0, version1}
	w.uint32(uint32(len(body)))
	w.uint32(serial)
	w.array(8, func() {
		w.field(fieldPath, q.path)
		w.field(fieldInterface, q.method[:dot])
		w.field(fieldMember, q.method[dot+1:])
		w.field(fieldDestination, q.service)
		w.field(fieldSignature, signature(types))
	})
	w.align(8)
	return append(w, body...)
}

// receive waits for a message.
func (b *bus) receive() (m message, err error) {
	head := make([]byte, fixedHeader)
	if _, err := io.ReadFull(b.in, head); err != nil {
		return m, err
	}
	big := head[0] == bigEndian
	fixed := reader{big: big, in: head, at: 4}
	body, _, fields := fixed.uint32(), fixed.uint32(), fixed.uint32()
	if !big && head[0] != littleEndian || head[3] != version1 || fields > maxTraffic || body > maxTraffic {
		return m, errBadMessage
	}
	padded := (fields + 7) &^ 7 // the body begins at a multiple of 8
	rest := make([]byte, padded+body)
	if _, err := io.ReadFull(b.in, rest); err != nil {
		return m, err
	}
	m.kind = head[1]
	m.body = reader{big: big, in: rest[padded:]}
	return m, m.parse(reader{big: big, in: rest[:fields]})
}

// parse reads the fields of a header. They begin at a multiple of 8, so that
// what is aligned in the message is aligned in them.
func (m *message) parse(r reader) error {
	known := map[byte]any{
		fieldPath: &m.path, fieldInterface: &m.face, fieldMember: &m.member, fieldErrorName: &m.errorName,
		fieldReplySerial: &m.replySerial, fieldSignature: &m.types,
	}
	for len(r.in) > r.at && !r.bad {
		r.align(8)
		r.into(variant{known[r.byte()]})
	}
	if r.bad {
		return errBadMessage
	}
	return nil
}

// store copies the body to what the results point to.
func (m *message) store(results ...any) error {
	var want string
	for _, result := range results {
		want += signatureOf(result)
	}
	if string(m.types) != want {
		return errTypes
	}
	for _, result := range results {
		m.body.into(result)
	}
	if m.body.bad {
		return errTypes
	}
	return nil
}
