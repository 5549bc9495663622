package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// tty is the console, opened for questions.
type tty struct {
	in, out *os.File
	visible bool // what is typed is shown
}

// show writes text that only the person in front of the console may see.
func (t *tty) show(text string) error {
	_, err := t.out.WriteString(text)
	return err
}

// columns is how wide the console is, 0 if it does not say.
func (t *tty) columns() int {
	columns, _, err := term.GetSize(int(t.out.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

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
	return &tty{in: in, out: out}, nil
}

func (t *tty) close() {
	_ = t.in.Close()
	_ = t.out.Close()
}

// read shows question and reads a line, without echo unless it may be seen; the
// console is as before afterwards.
func (t *tty) read(ctx context.Context, question string, g *guard) (string, error) {
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
		if !t.visible {
			fmt.Fprintln(t.out)
		}
	}()
	typed := make(chan answer, 1)
	go func() {
		if t.visible {
			line, err := bufio.NewReaderSize(t.in, maxAnswer).ReadString('\n')
			typed <- answer{strings.TrimRight(line, "\r\n"), err}
			return
		}
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
