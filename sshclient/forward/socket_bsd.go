//go:build unix && !linux

package forward

import (
	"net"
	"syscall"
)

// listenPrivately narrows the mask for files of the whole program for a moment: the
// mode of a socket cannot be set before it has a name. Whatever else is made in that
// moment is for this user alone, too.
func listenPrivately(path string) (net.Listener, error) {
	before := syscall.Umask(0o177)
	defer syscall.Umask(before)
	return net.Listen("unix", path)
}
