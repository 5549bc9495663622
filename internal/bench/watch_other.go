//go:build !linux

package main

// watchMemory knows how to look at a process on Linux only; elsewhere it tells 0.
func watchMemory(int) (stop func() int64) { return func() int64 { return 0 } }
