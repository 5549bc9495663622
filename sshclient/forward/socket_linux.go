package forward

import (
	"context"
	"net"
	"syscall"
)

// listenPrivately sets the mode before there is a name: on Linux the file gets it
// from the socket.
func listenPrivately(path string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = syscall.Fchmod(int(fd), 0o600) })
		if failed != nil {
			return failed
		}
		return err
	}}
	return config.Listen(context.Background(), "unix", path)
}
