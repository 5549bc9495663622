package sshclient

import (
	"bytes"
	"testing"
)

// The first message of an X client comes from programs on the node: whatever it is, it
// is read within bounds, and only the cookie lets it through.
func FuzzX11Greeting(f *testing.F) {
	cookie := []byte("0123456789abcdef")
	for _, seed := range []string{
		"l\x00\x0b\x00\x00\x00\x12\x00\x10\x00\x00\x00MIT-MAGIC-COOKIE-1\x00\x000123456789abcdef",
		"B\x00\x00\x0b\x00\x00\x00\x12\x00\x10\x00\x00MIT-MAGIC-COOKIE-1\x00\x000123456789abcdef",
		"l\x00\x0b\x00\x00\x00\xff\xff\xff\xff\x00\x00",
		"B\x00", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		x := &X11{Protocol: "MIT-MAGIC-COOKIE-1", Cookie: []byte("of the display!!")}
		r := bytes.NewReader(in)
		out, err := x.greeting(r, cookie)
		if read := len(in) - r.Len(); read > 12+2*(maxCookie+3) {
			t.Fatalf("%d bytes were read", read)
		}
		if err != nil {
			return
		}
		if !bytes.Contains(in, cookie) || bytes.Contains(out[12:], cookie) || !bytes.Contains(out, x.Cookie) || out[0] != in[0] {
			t.Fatalf("%q became %q", in, out)
		}
	})
}
