package sshagent

import "golang.org/x/sys/unix"

// peer is the user who listens at the other end of a socket.
func peer(fd int) (uid uint32, err error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
