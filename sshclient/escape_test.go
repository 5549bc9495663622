package sshclient

import (
	"bytes"
	"testing"
)

// case S12: the way out of a session with a terminal, in pieces of every size.
func TestEscapes(t *testing.T) {
	for _, tc := range []struct {
		in, sent string
		end      bool
	}{
		{"", "", false},
		{"~.", "", true},
		{"ls\r~.rest", "ls\r", true},
		{"ls\n~.", "ls\n", true},
		{"ls~.\r", "ls~.\r", false},
		{" ~.", " ~.", false},
		{"~~", "~", false},
		{"~~.", "~.", false},
		{"~~\r~~~.", "~\r~~.", false},
		{"~x\r~?", "~x\r~?", false},
		{"~\r~.", "~\r", true},
		{"~x~.", "~x~.", false},
		{"~", "~", false}, // at the end of the input
		{"a\r~", "a\r~", false},
		{"~\x00\xff~.", "~\x00\xff~.", false},
		{"\r\r\n~.", "\r\r\n", true},
	} {
		for size := 1; size <= len(tc.in)+1; size++ {
			e := escapes{char: '~'}
			sent, end := pieces(&e, []byte(tc.in), size)
			if string(sent) != tc.sent || end != tc.end {
				t.Errorf("%q by %d: sent %q, end %v", tc.in, size, sent, end)
			}
		}
	}
}

// Other characters behind the escape character go to whoever acts on them, and the
// next sequence may follow at once.
func TestEscapeActions(t *testing.T) {
	for size := 1; size <= 12; size++ {
		var acted string
		e := escapes{char: '~', act: func(b byte) bool {
			if b == 'x' {
				return false
			}
			acted += string(b)
			return true
		}}
		sent, end := pieces(&e, []byte("~?ls\r~#~\x1aa~?\r~x~?\r~~~.\r~."), size)
		if string(sent) != "ls\ra~?\r~x~?\r~~.\r" || acted != "?#\x1a" || !end {
			t.Errorf("by %d: sent %q, acted on %q, end %v", size, sent, acted, end)
		}
	}
}

func pieces(e *escapes, in []byte, size int) (sent []byte, end bool) {
	for len(in) > 0 {
		n := min(size, len(in))
		send, end := e.scan(in[:n])
		sent = append(sent, send...)
		if end {
			return sent, true
		}
		in = in[n:]
	}
	return append(sent, e.rest()...), false
}

func FuzzEscapes(f *testing.F) {
	for _, s := range []string{"~.", "a\r~~.\r~.", "~x~\n~", "~~~~~~"} {
		f.Add([]byte(s), byte('~'), 1)
	}
	f.Fuzz(func(t *testing.T, in []byte, char byte, size int) {
		whole, end := pieces(&escapes{char: char}, in, len(in)+1)
		parts, end2 := pieces(&escapes{char: char}, in, max(size, 1))
		if !bytes.Equal(whole, parts) || end != end2 {
			t.Fatalf("%q by %d: %q %v, whole %q %v", in, size, parts, end2, whole, end)
		}
		if len(whole) > len(in) || !end && bytes.IndexByte(in, char) < 0 && !bytes.Equal(whole, in) {
			t.Fatalf("%q became %q", in, whole)
		}
	})
}
