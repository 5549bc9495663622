//go:build unix

package main

import (
	"context"
	"fmt"
	"syscall"
)

// replaceProcess runs a program in the place of this one, which it returns to only if
// that is not possible.
func replaceProcess(_ context.Context, path string, words, env []string) error {
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, words, env))
}
