//go:build unix

package sshagent

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// address is the path of the agent's socket.
func address() (string, error) {
	path := os.Getenv(variable)
	switch {
	case path == "":
		return "", ErrNone
	case !filepath.IsAbs(path):
		return "", fmt.Errorf("SSH_AUTH_SOCK is %q, not an absolute path", path)
	}
	return path, nil
}

// open connects to the agent after a look at whose it is. The socket may be reached
// by a link. It could be exchanged after the look, so the process that listens counts
// as well.
func open(path string, deadline time.Time) (connection, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return nil, errors.New("it is not a socket")
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || foreign(st.Uid) {
		return nil, fmt.Errorf("the socket belongs to another user (uid %d)", st.Uid)
	}
	dialer := net.Dialer{Deadline: deadline}
	conn, err := dialer.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	if err := checkPeer(conn.(*net.UnixConn)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// foreign reports whether uid is neither us nor root.
func foreign(uid uint32) bool { return uid != 0 && int(uid) != os.Geteuid() }

// checkPeer refuses a process of another user at the other end.
func checkPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var uid uint32
	var peerErr error
	if err := raw.Control(func(fd uintptr) { uid, peerErr = peer(int(fd)) }); err != nil {
		return err
	}
	if peerErr != nil {
		return fmt.Errorf("whose it is cannot be told: %w", peerErr)
	}
	if foreign(uid) {
		return fmt.Errorf("it belongs to another user (uid %d)", uid)
	}
	return nil
}
