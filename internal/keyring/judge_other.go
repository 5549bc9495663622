//go:build !linux && !freebsd && !netbsd && !openbsd && !darwin && !windows

package keyring

func judgeSystem(error) error { return nil }
