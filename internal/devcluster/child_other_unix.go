//go:build unix && !linux

package devcluster

import "os"

// awaitExit returns when the program has ended.
func awaitExit(c *child) { _ = c.cmd.Wait() }

// sessionMembers is known on Linux only; elsewhere the program's own group has
// to do.
func sessionMembers(int) []int { return nil }

// pollable: elsewhere a read of a terminal ends when its programs do.
func pollable(f *os.File) (*os.File, error) { return f, nil }
