package devcluster

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// maxSocketPath is what every operating system takes for the path of a Unix
// socket; macOS has the least, 104 bytes with the final zero.
const maxSocketPath = 100

// adminListen opens the admin socket of a directory, which the caller holds
// the state of, so that a socket that is there is a leftover. Where the path
// is too long for a socket, the socket is in a temporary directory of its own
// and a symbolic link is in its place.
func adminListen(dir string) (net.Listener, error) {
	path := filepath.Join(dir, socketFile)
	removeAdminSocket(dir)
	if len(path) <= maxSocketPath {
		return listenUnix(path)
	}
	tmp, err := os.MkdirTemp("", "devcluster")
	if err != nil {
		return nil, err
	}
	l, err := listenUnix(filepath.Join(tmp, socketFile))
	if err != nil {
		return nil, errors.Join(err, os.Remove(tmp))
	}
	if err := os.Symlink(filepath.Join(tmp, socketFile), path); err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(tmp))
	}
	return l, nil
}

// listenUnix: the directory is the owner's alone from the first instant, the
// socket is too from here on.
func listenUnix(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// socketPath is where the socket of a directory is, and whether by a link.
func socketPath(dir string) (path string, linked bool) {
	path = filepath.Join(dir, socketFile)
	if target, err := os.Readlink(path); err == nil {
		return target, true
	}
	return path, false
}

// adminDial connects to the server that runs in dir.
func adminDial(ctx context.Context, dir string) (net.Conn, error) {
	path, _ := socketPath(dir)
	if len(path) > maxSocketPath {
		return nil, fs.ErrNotExist
	}
	return new(net.Dialer).DialContext(ctx, "unix", path)
}

// removeAdminSocket removes the socket and, if there is one, the link to it
// with its directory.
func removeAdminSocket(dir string) {
	path, linked := socketPath(dir)
	_ = os.Remove(path)
	if linked {
		_ = os.Remove(filepath.Dir(path))
		_ = os.Remove(filepath.Join(dir, socketFile))
	}
}
