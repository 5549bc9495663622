package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
)

// readShown shows question and reads a line as the console itself edits and shows it.
func (t *tty) readShown(ctx context.Context, question string) (string, error) {
	fmt.Fprint(t.out, question)
	typed := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(io.LimitReader(t.in, maxAnswer)).ReadString('\n')
		typed <- answer{line, err}
	}()
	select {
	case a := <-typed:
		return a.text, a.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
