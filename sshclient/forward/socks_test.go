package forward

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-087d674e/tsh/sshclient"
)

// client is what a SOCKS client sends, and what has come back.
type client struct {
	io.Reader
	back bytes.Buffer
}

func (c *client) Write(p []byte) (int, error) { return c.back.Write(p) }
func (c *client) Close() error                { return nil }

func TestSOCKS(t *testing.T) {
	const hello = "\x05\x01\x00"
	refused := &sshclient.RefusedError{}
	for name, tc := range map[string]struct {
		sent    string
		address string
		err     error // of the connection
		back    string
		rest    string // what is not the request's
	}{
		"5, name":            {hello + "\x05\x01\x00\x03\x02db\x15\x38rest", "db:5432", nil, "\x05\x00" + "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", "rest"},
		"5, IPv4":            {hello + "\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50", "10.0.0.1:80", nil, "\x05\x00" + "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		"5, IPv6":            {hello + "\x05\x01\x00\x04\xfd" + strings.Repeat("\x00", 14) + "\x07\x00\x50", "[fd00::7]:80", nil, "\x05\x00" + "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		"5, more methods":    {"\x05\x03\x02\x01\x00" + "\x05\x01\x00\x03\x02db\x15\x38", "db:5432", nil, "\x05\x00" + "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		"5, refused":         {hello + "\x05\x01\x00\x03\x02db\x15\x38", "db:5432", refused, "\x05\x00" + "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		"5, failed":          {hello + "\x05\x01\x00\x03\x02db\x15\x38", "db:5432", io.EOF, "\x05\x00" + "\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		"4":                  {"\x04\x01\x00\x50\x0a\x00\x00\x01me\x00rest", "10.0.0.1:80", nil, "\x00\x5a\x00\x00\x00\x00\x00\x00", "rest"},
		"4, refused":         {"\x04\x01\x00\x50\x0a\x00\x00\x01\x00", "10.0.0.1:80", refused, "\x00\x5b\x00\x00\x00\x00\x00\x00", ""},
		"4a":                 {"\x04\x01\x15\x38\x00\x00\x00\x07me\x00db\x00rest", "db:5432", nil, "\x00\x5a\x00\x00\x00\x00\x00\x00", "rest"},
		"4, address 0.0.0.0": {"\x04\x01\x00\x50\x00\x00\x00\x00\x00rest", "0.0.0.0:80", nil, "\x00\x5a\x00\x00\x00\x00\x00\x00", "rest"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &client{Reader: strings.NewReader(tc.sent)}
			address, answer, err := negotiate(c)
			if err != nil || address != tc.address {
				t.Fatalf("%q, %v; want %q", address, err, tc.address)
			}
			if err := answer(tc.err); err != nil || c.back.String() != tc.back {
				t.Errorf("answered %q, %v; want %q", &c.back, err, tc.back)
			}
			if rest, _ := io.ReadAll(c); string(rest) != tc.rest {
				t.Errorf("left %q, want %q", rest, tc.rest)
			}
		})
	}
}

func TestSOCKSRefuses(t *testing.T) {
	const hello = "\x05\x01\x00"
	for name, tc := range map[string]struct{ sent, err, back string }{
		"nothing":              {"", "leaves", ""},
		"cut short":            {hello + "\x05\x01", "leaves", "\x05\x00"},
		"HTTP":                 {"GET / HTTP/1.1\r\n", "does not speak SOCKS", ""},
		"wants a password":     {"\x05\x02\x02\x01", "authenticate", "\x05\xff"},
		"no methods":           {"\x05\x00", "authenticate", "\x05\xff"},
		"bind":                 {hello + "\x05\x02\x00\x01\x0a\x00\x00\x01\x00\x50", "command 2", "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00"},
		"UDP":                  {hello + "\x05\x03\x00\x01\x0a\x00\x00\x01\x00\x50", "command 3", "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00"},
		"other address":        {hello + "\x05\x01\x00\x02xxxxxx", "address type 2", "\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00"},
		"no name":              {hello + "\x05\x01\x00\x03\x00\x00\x50", "no host", "\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00"},
		"name with escapes":    {hello + "\x05\x01\x00\x03\x04\x1b[2J\x00\x50", "no host", "\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00"},
		"name with a zero":     {hello + "\x05\x01\x00\x03\x03a\x00b\x00\x50", "no host", "\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00"},
		"4: bind":              {"\x04\x02\x00\x50\x0a\x00\x00\x01\x00", "command 2", "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		"4: user without end":  {"\x04\x01\x00\x50\x0a\x00\x00\x01" + strings.Repeat("x", 1000), "does not end", ""},
		"4a: name without end": {"\x04\x01\x00\x50\x00\x00\x00\x01\x00" + strings.Repeat("x", 1000), "does not end", "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		"4a: no name":          {"\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00", "no host", "\x00\x5b\x00\x00\x00\x00\x00\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &client{Reader: strings.NewReader(tc.sent)}
			_, _, err := negotiate(c)
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%v, want %q", err, tc.err)
			}
			if c.back.String() != tc.back {
				t.Errorf("answered %q, want %q", &c.back, tc.back)
			}
		})
	}
}

// A client that says nothing, or a byte now and then, does not stay.
func TestSOCKSDeadline(t *testing.T) {
	for name, say := range map[string]func(net.Conn){
		"nothing": func(net.Conn) {},
		"slowly": func(c net.Conn) {
			for _, err := c.Write([]byte{socks4}); err == nil; _, err = c.Write([]byte{1}) {
				time.Sleep(time.Second) // in a bubble
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				say(there)
			}()
			start := time.Now()
			_, _, err := negotiate(here)
			took := time.Since(start)
			there.Close()
			<-done
			if err == nil || took != socksWait {
				t.Errorf("%s: %v after %v", name, err, took)
			}
		})
	}
}

// case P06: whatever comes, what is asked for is an address that can be dialled.
func FuzzSOCKS(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x02db\x15\x38"))
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x04" + strings.Repeat("\x01", 18)))
	f.Add([]byte("\x04\x01\x00\x50\x00\x00\x00\x07me\x00db\x00"))
	f.Add([]byte("\x04\x01\x00\x50\x0a\x00\x00\x01me\x00"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		c := &client{Reader: bytes.NewReader(sent)}
		address, answer, err := negotiate(c)
		if err != nil {
			if answer != nil && !errors.Is(err, io.EOF) && address != "" {
				t.Errorf("%q and %v", address, err)
			}
			return
		}
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" || port == "" || answer(nil) != nil {
			t.Errorf("%q: %v", address, err)
		}
	})
}
