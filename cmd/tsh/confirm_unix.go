//go:build unix

package main

import (
	"context"
	"fmt"
	"time"
)

// readShown shows question and reads a line as the terminal itself edits and shows it.
func (t *tty) readShown(ctx context.Context, question string) (string, error) {
	fmt.Fprint(t.f, question)
	typed := make(chan answer, 1)
	go func() { typed <- t.readLine() }()
	select {
	case a := <-typed:
		return a.text, a.err
	case <-ctx.Done():
		_ = t.f.SetReadDeadline(time.Unix(1, 0))
		fmt.Fprintln(t.f)
		return "", context.Cause(ctx)
	}
}
