package forward

import (
	"errors"
	"syscall"
)

// listenUnix: who may connect to a socket is not the file's to say on Windows.
func listenUnix(string) (*listener, error) {
	return nil, errors.New("sockets cannot be listened on on Windows")
}

func inUse(err error) bool {
	const addressInUse = syscall.Errno(10048) // WSAEADDRINUSE
	return errors.Is(err, addressInUse)
}
