package login

import "syscall"

// exclusive keeps programs of other users from listening on the same port
// beside us, which Windows lets them do.
func exclusive(_, _ string, conn syscall.RawConn) error {
	const soExclusiveAddrUse = ^syscall.SO_REUSEADDR
	var inner error
	err := conn.Control(func(fd uintptr) {
		inner = syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, soExclusiveAddrUse, 1)
	})
	if err == nil {
		err = inner
	}
	return err
}
