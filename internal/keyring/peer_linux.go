package keyring

import (
	"net"
	"syscall"
)

// peer is the user who listens at the other end of a socket.
func peer(socket *net.UnixConn) (uid int, known bool) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *syscall.Ucred
	if ctl := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); ctl != nil || err != nil {
		return 0, false
	}
	return int(cred.Uid), true
}
