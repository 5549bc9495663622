package fanout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// chunks is a writer that remembers what came in one piece.
type chunks struct{ got []string }

func (c *chunks) Write(p []byte) (int, error) {
	c.got = append(c.got, string(p))
	return len(p), nil
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	umlauts := strings.Repeat("ä", MaxLine/2)
	for name, tc := range map[string]struct {
		terminal bool
		writes   []string
		want     string
	}{
		"nothing":          {},
		"a line":           {writes: []string{"one\n"}, want: "[h] one\n"},
		"lines":            {writes: []string{"one\ntwo\n\n"}, want: "[h] one\n[h] two\n[h] \n"},
		"in pieces":        {writes: []string{"o", "n", "e\nt", "wo", "\n"}, want: "[h] one\n[h] two\n"},
		"without an end":   {writes: []string{"one\ntwo"}, want: "[h] one\n[h] two\n"},
		"bytes":            {writes: []string{"a\x00\xff\x1b[2J\r\n"}, want: "[h] a\x00\xff\x1b[2J\r\n"},
		"as long as may":   {writes: []string{long + "\n", "y\n"}, want: "[h] " + long + "\n[h] y\n"},
		"too long":         {writes: []string{long + "yz\n"}, want: "[h] " + long + "\n[h] yz\n"},
		"much too long":    {writes: []string{long + long, long}, want: strings.Repeat("[h] "+long+"\n", 3)},
		"folded elsewhere": {writes: []string{"x" + umlauts}, want: "[h] x" + umlauts[:MaxLine-2] + "\n[h] ä\n"},
		"no text":          {writes: []string{strings.Repeat("\x80", MaxLine+1)}, want: "[h] " + strings.Repeat("\x80", MaxLine) + "\n[h] \x80\n"},
		// case T01: what a terminal acts on could write over the lines of other hosts.
		"on a terminal": {terminal: true, writes: []string{"\x1b[2Ja\rb\u202ec\td\r\n"}, want: "[h] " + `\x1b[2Ja\rb\u202ec` + "\td\n"},
	} {
		var out bytes.Buffer
		l := lines{to: &sharedOutput{Output: Output{&out, tc.terminal}}, node: &Node{Label: "h"}}
		for _, s := range tc.writes {
			if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
				t.Errorf("%s: %d, %v", name, n, err)
			}
		}
		l.end(t.Context())
		if got := out.String(); got != tc.want {
			t.Errorf("%s: %.100q, want %.100q", name, got, tc.want)
		}
	}
}

// Whatever many write at the same time in whatever pieces, every write to the output is
// made of whole lines, each of one host, and none is lost.
func TestLinesAreNotMixed(t *testing.T) {
	const hosts, count = 20, 200
	var out chunks
	shared := &sharedOutput{Output: Output{W: &out}}
	var all sync.WaitGroup
	for h := range hosts {
		all.Go(func() {
			l := lines{to: shared, node: &Node{Label: fmt.Sprint("host-", h)}}
			for i := range count {
				line := fmt.Sprintf("host-%d says %d %s\n", h, i, strings.Repeat("z", i))
				_, _ = l.Write([]byte(line[:len(line)/2]))
				_, _ = l.Write([]byte(line[len(line)/2:]))
			}
			l.end(context.Background())
		})
	}
	all.Wait()
	next := make(map[string]int)
	for _, chunk := range out.got {
		if !strings.HasSuffix(chunk, "\n") {
			t.Fatalf("a write ends in the middle of a line: %q", chunk)
		}
		for line := range strings.Lines(chunk) {
			label, rest, _ := strings.Cut(strings.TrimPrefix(line, "["), "] ")
			if want := fmt.Sprintf("%s says %d %s\n", label, next[label], strings.Repeat("z", next[label])); rest != want {
				t.Fatalf("%q, want %q", line, want)
			}
			next[label]++
		}
	}
	for h := range hosts {
		if got := next[fmt.Sprint("host-", h)]; got != count {
			t.Errorf("%d lines of host-%d, not %d", got, h, count)
		}
	}
}

// An output that nobody reads any more is told once, and to everybody who writes.
func TestOutputThatBreaks(t *testing.T) {
	closed := errors.New("closed pipe")
	ctx, cancel := context.WithCancelCause(t.Context())
	shared := &sharedOutput{Output: Output{W: failing{closed}}, broken: cancel}
	for _, label := range []string{"a", "b"} {
		l := lines{to: shared, node: &Node{Label: label}}
		if _, err := l.Write([]byte("x\n")); !errors.Is(err, closed) {
			t.Errorf("%s: %v", label, err)
		}
	}
	if context.Cause(ctx) != closed || shared.failed() != closed {
		t.Errorf("%v, %v", context.Cause(ctx), shared.failed())
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
