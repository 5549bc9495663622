package sftp_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/sshclient/sftp"
)

// pkt builds a packet: the type, then numbers, strings and raw bytes.
func pkt(kind byte, fields ...any) []byte {
	b := []byte{0, 0, 0, 0, kind}
	for _, f := range fields {
		switch f := f.(type) {
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(f))
		case uint32:
			b = binary.BigEndian.AppendUint32(b, f)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, f)
		case string:
			b = binary.BigEndian.AppendUint32(b, uint32(len(f)))
			b = append(b, f...)
		case []byte:
			b = append(b, f...)
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

const (
	fxpStatus, fxpHandle, fxpData, fxpName, fxpAttrs = 101, 102, 103, 104, 105
	fxpOpen, fxpRead, fxpOpendir, fxpReaddir         = 3, 5, 11, 12
)

// hostile is a client of a server that answers as it likes.
func hostile(t testing.TB, answer func(kind byte, id uint32, body []byte) []byte) *sftp.Client {
	t.Helper()
	near, far := net.Pipe()
	out := make(chan []byte, 10_000)
	go func() {
		defer far.Close()
		for p := range out {
			if _, err := far.Write(p); err != nil {
				return
			}
		}
	}()
	go func() {
		defer close(out)
		for {
			var head [4]byte
			if _, err := io.ReadFull(far, head[:]); err != nil {
				return
			}
			body := make([]byte, binary.BigEndian.Uint32(head[:]))
			if _, err := io.ReadFull(far, body); err != nil {
				return
			}
			if body[0] == 1 {
				out <- pkt(2, 3)
			} else if reply := answer(body[0], binary.BigEndian.Uint32(body[1:]), body[5:]); reply != nil {
				out <- reply
			}
		}
	}()
	c, err := sftp.New(deadline(t), near, sftp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// case X13: what cannot be an answer ends the connection; nothing hangs, nothing is taken
// for a result.
func TestMalformedAnswers(t *testing.T) {
	name := func(s string) []byte { return pkt(0, s, "long", 0)[5:] }
	realPath := func(c *sftp.Client) error { _, err := c.RealPath(context.Background(), "."); return err }
	stat := func(c *sftp.Client) error { _, err := c.Stat(context.Background(), "x"); return err }
	for what, tc := range map[string]struct {
		answer func(id uint32) []byte
		ask    func(*sftp.Client) error
	}{
		"another id":                  {func(id uint32) []byte { return pkt(fxpAttrs, id+1, 0) }, stat},
		"no type":                     {func(id uint32) []byte { return []byte{0, 0, 0, 0} }, stat},
		"no id":                       {func(id uint32) []byte { return []byte{0, 0, 0, 1, fxpStatus} }, stat},
		"a packet of 256 KiB and one": {func(id uint32) []byte { return binary.BigEndian.AppendUint32(nil, 256<<10+1) }, stat},
		"a packet of 4 GiB":           {func(id uint32) []byte { return []byte{255, 255, 255, 255} }, stat},
		"another type":                {func(id uint32) []byte { return pkt(fxpHandle, id, "h") }, stat},
		"an unknown type":             {func(id uint32) []byte { return pkt(77, id) }, stat},
		"a mere yes":                  {func(id uint32) []byte { return pkt(fxpStatus, id, 0, "ok", "") }, stat},
		"a status cut short":          {func(id uint32) []byte { return pkt(fxpStatus, id, 4, 9) }, stat},
		"bytes behind a status":       {func(id uint32) []byte { return pkt(fxpStatus, id, 4, "no", "", 1) }, stat},
		"attributes cut short":        {func(id uint32) []byte { return pkt(fxpAttrs, id, 15, 1) }, stat},
		"attributes unheard of":       {func(id uint32) []byte { return pkt(fxpAttrs, id, 16) }, stat},
		"attributes without end":      {func(id uint32) []byte { return pkt(fxpAttrs, id, uint32(1<<31), uint32(1<<32-1)) }, stat},
		"a negative size":             {func(id uint32) []byte { return pkt(fxpAttrs, id, 1, uint64(1<<63)) }, stat},
		"bytes behind attributes":     {func(id uint32) []byte { return pkt(fxpAttrs, id, 0, 0) }, stat},
		"an empty path":               {func(id uint32) []byte { return pkt(fxpName, id, 1, name("")) }, realPath},
		"no path":                     {func(id uint32) []byte { return pkt(fxpName, id, 0) }, realPath},
		"two paths":                   {func(id uint32) []byte { return pkt(fxpName, id, 2, name("/a"), name("/b")) }, realPath},
		"a path fewer than announced": {func(id uint32) []byte { return pkt(fxpName, id, 2, name("/a")) }, realPath},
		"4 Gi paths":                  {func(id uint32) []byte { return pkt(fxpName, id, uint32(1<<32-1), name("/a")) }, realPath},
		"a path of 200 KiB":           {func(id uint32) []byte { return pkt(fxpName, id, 1, name(strings.Repeat("/a", 100<<10))) }, realPath},
		"a handle of 257 bytes":       {func(id uint32) []byte { return pkt(fxpHandle, id, strings.Repeat("h", 257)) }, open},
		"an empty handle":             {func(id uint32) []byte { return pkt(fxpHandle, id, "") }, open},
	} {
		t.Run(what, func(t *testing.T) {
			c := hostile(t, func(_ byte, id uint32, _ []byte) []byte { return tc.answer(id) })
			err := tc.ask(c)
			var protocol *sftp.ProtocolError
			if !errors.As(err, &protocol) {
				t.Fatalf("%v", err)
			}
			<-c.Dead()
			if again := stat(c); !errors.As(again, &protocol) {
				t.Errorf("the connection goes on: %v", again)
			}
		})
	}
}

func open(c *sftp.Client) error {
	_, err := c.Open(context.Background(), "x", sftp.Read, sftp.Attrs{})
	return err
}

// case X06: data that is empty, or more than was asked for, is refused; a byte at a time is slow and
// nothing else.
func TestReadsThatMakeNoProgress(t *testing.T) {
	for what, tc := range map[string]struct {
		data func(n int) string
		ok   bool
	}{
		"nothing, forever":    {func(int) string { return "" }, false},
		"more than asked for": {func(n int) string { return strings.Repeat("x", n+1) }, false},
		"a byte at a time":    {func(int) string { return "x" }, true},
	} {
		t.Run(what, func(t *testing.T) {
			c := hostile(t, func(kind byte, id uint32, body []byte) []byte {
				if kind != fxpRead {
					return pkt(fxpHandle, id, "h")
				}
				at, n := binary.BigEndian.Uint64(body[5:]), int(binary.BigEndian.Uint32(body[13:]))
				if at >= 100 {
					return pkt(fxpStatus, id, 1, "", "")
				}
				return pkt(fxpData, id, tc.data(n))
			})
			f, err := c.Open(deadline(t), "x", sftp.Read, sftp.Attrs{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := readAll(t, f.Reader(0, 100))
			var protocol *sftp.ProtocolError
			if tc.ok && (err != nil || len(got) != 100) || !tc.ok && !errors.As(err, &protocol) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// case X12: when one of many requests fails, nothing behind it passes for read or written.
func TestOneOfManyFails(t *testing.T) {
	const bad = 5 * 32 << 10
	c := hostile(t, func(kind byte, id uint32, body []byte) []byte {
		switch {
		case kind == fxpOpen:
			return pkt(fxpHandle, id, "h")
		case binary.BigEndian.Uint64(body[5:]) == bad:
			return pkt(fxpStatus, id, 4, "disk \x1b[31mbroken\nERROR: x", "")
		case kind == fxpRead:
			return pkt(fxpData, id, strings.Repeat("x", int(binary.BigEndian.Uint32(body[13:]))))
		}
		return pkt(fxpStatus, id, 0, "", "")
	})
	f, err := c.Open(deadline(t), "x", sftp.Read, sftp.Attrs{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(t, f.Reader(0, 1<<20))
	var status *sftp.StatusError
	if len(got) != bad || !errors.As(err, &status) || status.Message != "disk \\x1b[31mbroken\n    ERROR: x" { // case X04
		t.Errorf("%d bytes read, %q", len(got), err)
	}
	w := f.Writer(0)
	err = w.Write(deadline(t), bytes.Repeat([]byte("x"), 1<<20))
	if err = errors.Join(err, w.Flush(deadline(t))); !errors.As(err, &status) {
		t.Errorf("written: %v", err)
	}
	if err := w.Write(deadline(t), []byte("x")); !errors.As(err, &status) {
		t.Errorf("the error does not stay: %v", err)
	}
	// All places in the window are free again.
	w.Close()
	r := f.Reader(bad+1, 4<<20)
	for n := 0; n < 2<<20; {
		piece, err := r.Next(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		n += len(piece)
	}
	r.Close()
}

// A server may say anything at any time.
func FuzzReplies(f *testing.F) {
	f.Add(pkt(fxpAttrs, 0, 15, uint64(1), 0, 0, 0o100644, 1, 2))
	f.Add(pkt(fxpName, 0, 1, "/home", "long", 0))
	f.Add(append(pkt(fxpHandle, 0, "h"), pkt(fxpData, 1, "data")...))
	f.Add(pkt(fxpStatus, 0, 4, "no", "en"))
	f.Add(append(pkt(fxpHandle, 0, "h"), pkt(fxpName, 1, 2, "a", "l", 0, "b", "l", 4, 0o40755)...))
	f.Add(pkt(fxpAttrs, 0, uint32(1<<31), 1, "a", "b"))
	f.Fuzz(func(t *testing.T, said []byte) {
		ctx := deadline(t)
		for _, ask := range []func(*sftp.Client){
			func(c *sftp.Client) { c.Stat(ctx, "x") },
			func(c *sftp.Client) {
				if p, err := c.RealPath(ctx, "x"); err == nil && p == "" {
					t.Error("an empty path")
				}
			},
			func(c *sftp.Client) { c.List(ctx, "x", func(sftp.Entry) error { return nil }) },
			func(c *sftp.Client) {
				if file, err := c.Open(ctx, "x", sftp.Read, sftp.Attrs{}); err == nil {
					readAll(t, file.Reader(0, 10))
				}
			},
			func(c *sftp.Client) { c.Remove(ctx, "x") },
		} {
			near, far := net.Pipe()
			go io.Copy(io.Discard, far)
			go func() {
				far.Write(pkt(2, 3))
				far.Write(said)
				far.Close()
			}()
			c, err := sftp.New(ctx, near, sftp.Options{})
			if err != nil {
				t.Fatal(err)
			}
			ask(c)
			c.Close()
		}
	})
}

// The greeting is checked as everything else.
func TestGreetings(t *testing.T) {
	for what, tc := range map[string]struct {
		said []byte
		ok   bool
	}{
		"version 3":          {pkt(2, 3), true},
		"version 6":          {pkt(2, 6), true},
		"with extensions":    {pkt(2, 3, "posix-rename@openssh.com", "1", "x", "y"), true},
		"version 2":          {pkt(2, 2), false},
		"another packet":     {pkt(fxpStatus, 0, 0), false},
		"half an extension":  {pkt(2, 3, "x"), false},
		"1000 extensions":    {pkt(2, 3, bytes.Repeat(pkt(0, "x", "y")[5:], 1000)), false},
		"a shell's greeting": {[]byte("Welcome!\n"), false},
		"nothing":            {nil, false},
	} {
		near, far := net.Pipe()
		go io.Copy(io.Discard, far)
		go func() {
			far.Write(tc.said)
			far.Close()
		}()
		if c, err := sftp.New(deadline(t), near, sftp.Options{}); (err == nil) != tc.ok {
			t.Errorf("%s: %v", what, err)
		} else if c != nil {
			c.Close()
		}
	}
}
