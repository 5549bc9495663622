package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/term"
)

// tty is the console, opened for questions.
type tty struct{ in, out *os.File }

func openTTY() (*tty, error) {
	in, err := os.OpenFile("CONIN$", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	out, err := os.OpenFile("CONOUT$", os.O_RDWR, 0)
	if err != nil {
		_ = in.Close()
		return nil, err
	}
	return &tty{in, out}, nil
}

func (t *tty) close() {
	_ = t.in.Close()
	_ = t.out.Close()
}

// readSecret shows question and reads a line without echo; the console is as
// before afterwards.
func (t *tty) readSecret(ctx context.Context, question string, g *guard) (string, error) {
	fd := int(t.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("console: %w", err)
	}
	restore := func() { _ = term.Restore(fd, before) }
	defer g.arm(restore)()
	fmt.Fprint(t.out, question)
	defer func() {
		restore()
		fmt.Fprintln(t.out)
	}()
	typed := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		typed <- answer{string(line), err}
	}()
	select {
	case a := <-typed:
		if a.err != nil {
			return "", fmt.Errorf("console: %w", a.err)
		}
		return a.text, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
