package keyring

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// greet lets everybody in, as far as the authentication goes.
func greet(conn net.Conn, in *bufio.Reader) {
	for {
		line, err := in.ReadString('\n')
		switch {
		case err != nil, strings.HasPrefix(line, "BEGIN"):
			return
		case strings.HasPrefix(line, "\x00AUTH EXTERNAL"):
			io.WriteString(conn, "OK 0123456789abcdef0123456789abcdef\r\n")
		default:
			io.WriteString(conn, "REJECTED EXTERNAL\r\n")
		}
	}
}

// hello answers the first call, which asks for our name on the bus.
func hello(conn net.Conn, in *bufio.Reader, name any) {
	greet(conn, in)
	call, err := dbus.DecodeMessage(in)
	if err != nil {
		return
	}
	send(conn, dbus.TypeMethodReply, map[dbus.HeaderField]any{
		dbus.FieldSender: "org.freedesktop.DBus", dbus.FieldDestination: ":1.1", dbus.FieldReplySerial: call.Serial(),
	}, name)
}

func send(conn net.Conn, kind dbus.Type, headers map[dbus.HeaderField]any, body ...any) {
	message := &dbus.Message{Type: kind, Headers: make(map[dbus.HeaderField]dbus.Variant), Body: body}
	for field, value := range headers {
		message.Headers[field] = dbus.MakeVariant(value)
	}
	if len(body) > 0 {
		message.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	var out bytes.Buffer
	if err := message.EncodeTo(&out, binary.LittleEndian); err != nil {
		panic(err) // the test is wrong
	}
	// A message of ours has the serial 0, which no message may have.
	binary.LittleEndian.PutUint32(out.Bytes()[8:], 1)
	conn.Write(out.Bytes())
}

// endless writes until the other side has had enough.
func endless(conn net.Conn, what string) {
	for {
		if _, err := io.WriteString(conn, what); err != nil {
			return
		}
	}
}

// named tells that we got a name on the bus, in words of another type.
func named(conn net.Conn, body ...any) {
	send(conn, dbus.TypeSignal, map[dbus.HeaderField]any{
		dbus.FieldSender: "org.freedesktop.DBus", dbus.FieldDestination: ":1.1", dbus.FieldPath: dbus.ObjectPath("/org/freedesktop/DBus"),
		dbus.FieldInterface: "org.freedesktop.DBus", dbus.FieldMember: "NameAcquired",
	}, body...)
}

// case K09: what listens at the address of the bus is not one, or not a sane
// one. It costs no more than the timeout, and nothing panics.
func TestWhatIsNotABus(t *testing.T) {
	for name, test := range map[string]struct {
		speak func(net.Conn, *bufio.Reader)
		want  error // nil: it depends on how much comes in time
	}{
		"closes":                  {func(conn net.Conn, _ *bufio.Reader) { conn.Close() }, ErrUnavailable},
		"says nothing":            {func(net.Conn, *bufio.Reader) {}, ErrNoAnswer},
		"another protocol":        {func(conn net.Conn, _ *bufio.Reader) { io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n") }, ErrUnavailable},
		"empty lines":             {func(conn net.Conn, _ *bufio.Reader) { endless(conn, "\r\n") }, ErrUnavailable},
		"a line without end":      {func(conn net.Conn, _ *bufio.Reader) { endless(conn, strings.Repeat("A", 4096)) }, ErrUnavailable},
		"rejects":                 {func(conn net.Conn, _ *bufio.Reader) { endless(conn, "REJECTED EXTERNAL\r\n") }, ErrUnavailable},
		"knows no way in":         {func(conn net.Conn, _ *bufio.Reader) { io.WriteString(conn, "REJECTED ANONYMOUS\r\n") }, ErrUnavailable},
		"asks without end":        {func(conn net.Conn, _ *bufio.Reader) { endless(conn, "REJECTED EXTERNAL\r\nDATA 00\r\n") }, ErrUnavailable},
		"greets only":             {greet, ErrNoAnswer},
		"garbage after greeting":  {func(conn net.Conn, in *bufio.Reader) { greet(conn, in); endless(conn, "garbage") }, nil},
		"a message of 128 MiB":    {func(conn net.Conn, in *bufio.Reader) { greet(conn, in); endless(conn, hugeMessage()) }, nil},
		"a name of another type":  {func(conn net.Conn, in *bufio.Reader) { hello(conn, in, uint32(1)) }, ErrUnavailable},
		"a list of names":         {func(conn net.Conn, in *bufio.Reader) { hello(conn, in, []string{":1.1"}) }, ErrUnavailable},
		"a name, then nothing":    {func(conn net.Conn, in *bufio.Reader) { hello(conn, in, ":1.1") }, ErrNoAnswer},
		"signals with a number":   {func(conn net.Conn, in *bufio.Reader) { hello(conn, in, ":1.1"); named(conn, uint32(1)) }, ErrNoAnswer},
		"signals with nothing":    {func(conn net.Conn, in *bufio.Reader) { hello(conn, in, ":1.1"); named(conn) }, ErrNoAnswer},
		"signals before the name": {func(conn net.Conn, in *bufio.Reader) { greet(conn, in); named(conn) }, ErrNoAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "b")
			t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+dbus.EscapeBusAddressValue(path))
			l := listen(t, "unix", path)
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer conn.Close()
						in := bufio.NewReader(conn)
						test.speak(conn, in)
						io.Copy(io.Discard, in) // until we leave
					}()
				}
			}()
			checkLeaks(t)
			system := hasty()
			if test.want == ErrUnavailable {
				system = patient()
			}
			start := time.Now()
			_, err := system.Get("slot")
			if !isOurs(err) || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// hugeMessage begins a reply that announces all that D-Bus allows.
func hugeMessage() string {
	head := []byte{'l', byte(dbus.TypeMethodReply), 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 5, 1, 'u', 0, 1, 0, 0, 0}
	binary.LittleEndian.PutUint32(head[4:], 1<<27-64)
	return string(head) + strings.Repeat("\x00", 1<<16)
}

// case K09: a listener that takes no connections.
func TestBusThatDoesNotAccept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b")
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+path)
	listen(t, "unix", path) // accepts nothing
	checkLeaks(t)
	allCalls(t, hasty(), ErrNoAnswer)
}
