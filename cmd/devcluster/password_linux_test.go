package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// person types on a terminal.
type person struct {
	t         *testing.T
	ptmx, tty *os.File
	r         *bufio.Reader
}

func newPerson(t *testing.T) *person {
	t.Helper()
	ptmx, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = tty.Close(), ptmx.Close() })
	return &person{t, ptmx, tty, bufio.NewReader(ptmx)}
}

// answer waits for a prompt and types a line; it returns what was on screen.
func (p *person) answer(prompt, line string) string {
	p.t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), prompt) {
		c, err := p.r.ReadByte()
		if err != nil {
			p.t.Fatalf("%v before %q: %q", err, prompt, b.String())
		}
		b.WriteByte(c)
	}
	// Echo is off by the time the reader waits; the prompt comes just before.
	for tick := time.Tick(time.Millisecond); echoes(p.t, p.tty); {
		<-tick
	}
	if _, err := io.WriteString(p.ptmx, line); err != nil {
		p.t.Fatal(err)
	}
	return b.String()
}

func TestTypedPassword(t *testing.T) {
	dir := t.TempDir()
	c, err := devcluster.Start(t.Context(), devcluster.Config{Dir: dir, Addr: "127.0.0.1:0", SecondFactor: "off"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	add := func(ctx context.Context, p *person, name string) chan int {
		status := make(chan int, 1)
		go func() {
			status <- execute(ctx, []string{"users", "add", name, "--dir", dir}, streams{p.tty, io.Discard, p.tty})
		}()
		return status
	}
	p := newPerson(t)
	status := add(t.Context(), p, "alice")
	screen := p.answer("password: ", "typed secret\n") + p.answer("once more: ", "typed secret\n")
	if s := <-status; s != 0 || strings.Contains(screen, "secret") {
		t.Errorf("status %d, screen %q", s, screen)
	}
	status = add(t.Context(), p, "bob")
	p.answer("password: ", "one\n")
	p.answer("once more: ", "two\n")
	if s := <-status; s != 1 {
		t.Errorf("different passwords: %d", s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	status = add(ctx, p, "carl")
	p.answer("password: ", "")
	cancel()
	if s := <-status; s != 1 || echoes(t, p.tty) == false {
		t.Errorf("interrupted: %d, echo %v", s, echoes(t, p.tty))
	}
	users, err := c.Users()
	if err != nil || len(users) != 1 || !term.IsTerminal(int(p.tty.Fd())) {
		t.Errorf("%+v, %v", users, err)
	}
}
