package sshagent

import "syscall"

// peer is the user who listens at the other end of a socket.
func peer(fd int) (uid uint32, err error) {
	cred, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
