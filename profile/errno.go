package profile

import (
	"errors"
	"syscall"
)

// isErrno tells an answer of the operating system from a judgement of ours.
func isErrno(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno)
}
