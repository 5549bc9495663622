//go:build unix

package forward

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// listenUnix makes a socket that only this user can connect to, from the first
// moment on.
func listenUnix(path string) (*listener, error) {
	l, err := listenPrivately(path)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, errors.New("the path exists already")
	}
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	made, err := os.Lstat(path)
	if err == nil && (made.Mode().Type() != os.ModeSocket || made.Mode().Perm()&0o077 != 0) {
		err = errors.New("the socket would be open to others")
	}
	if err != nil {
		_ = l.Close() // the error is known
		return nil, err
	}
	return &listener{Listener: l, path: path, made: made}, nil
}

func inUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
