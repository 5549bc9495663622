package main

import "errors"

// lockMemory fails: Windows locks single pages, and not those of a garbage-collected
// heap.
func lockMemory() error { return errors.New("Windows has no way to lock a program's memory") }
