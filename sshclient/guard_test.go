package sshclient

import (
	"bytes"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"testing/iotest"
)

type pastConn struct {
	net.Conn
	r io.Reader
}

func (c *pastConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// FuzzGuard feeds the start of a connection in pieces of every size: what is
// let through and what is learned must not depend on them.
func FuzzGuard(f *testing.F) {
	entries, err := os.ReadDir("testdata/fuzz/FuzzGuard")
	if err != nil || len(entries) == 0 {
		f.Fatalf("no corpus: %v", err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole := &guardConn{Conn: &pastConn{r: bytes.NewReader(data)}}
		through, err := io.ReadAll(whole)
		bytewise := &guardConn{Conn: &pastConn{r: iotest.OneByteReader(bytes.NewReader(data))}}
		through1, err1 := io.ReadAll(bytewise)
		if err == nil && !bytes.Equal(through, data) {
			t.Errorf("%d of %d bytes came through", len(through), len(data))
		}
		if err == nil && err1 == nil && !bytes.Equal(through, through1) {
			t.Error("what comes through depends on the pieces")
		}
		if whole.complete != bytewise.complete || !slices.Equal(whole.init.KexAlgos, bytewise.init.KexAlgos) {
			t.Errorf("what is learned depends on the pieces: %+v, %+v", whole.init, bytewise.init)
		}
		if cap(whole.packet) > 2*maxKexInit+len(data) || len(whole.line) > 4 {
			t.Error("too much is kept")
		}
		_ = whole.weakness()
	})
}
