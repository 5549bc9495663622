//go:build linux || freebsd || netbsd || openbsd

package keyring

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/seed-087d674e/tsh/internal/text"
)

// connect opens a connection to the session bus that is ours alone and ends at
// the deadline that the context has. It runs no program and sets no variable.
func connect(ctx context.Context) (*bus, error) {
	addresses, from, err := busAddresses()
	if err != nil {
		return nil, err
	}
	for _, address := range addresses {
		var socket *net.UnixConn
		if socket, err = dial(ctx, address); err == nil {
			return handshake(ctx, socket)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("%w: no D-Bus session bus: %s%s", ErrUnavailable, from, text.Line(err.Error()))
}

// busAddresses are the sockets where the session bus may listen, in the form of
// package net, and the words for how we came to them.
func busAddresses() (addresses []string, from string, err error) {
	const variable = "DBUS_SESSION_BUS_ADDRESS"
	if value := os.Getenv(variable); value != "" {
		for _, part := range strings.Split(value, ";") {
			address, err := unixAddress(part)
			if err != nil {
				return nil, "", fmt.Errorf("%w: no D-Bus session bus: %s is %q: %w", ErrUnavailable, variable, value, err)
			}
			addresses = append(addresses, address)
		}
		return addresses, variable + " is set, but ", nil
	}
	// A relative path is none: it would be looked up in the working directory.
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(dir) {
		dir = filepath.Join("/run/user", strconv.Itoa(os.Geteuid()))
	}
	return []string{filepath.Join(dir, "bus")}, variable + " is not set and ", nil
}

// unixAddress reads one address as the D-Bus specification writes it. Only
// sockets of this machine will do: the other kinds run a program (autolaunch,
// unixexec) or let the network in (tcp, nonce-tcp).
func unixAddress(address string) (string, error) {
	keys, ok := strings.CutPrefix(address, "unix:")
	if !ok {
		return "", errors.New("only unix:path= and unix:abstract= are used")
	}
	var path, abstract string
	for _, pair := range strings.Split(keys, ",") {
		key, escaped, _ := strings.Cut(pair, "=")
		value, err := url.PathUnescape(escaped)
		if err != nil {
			return "", err
		}
		switch {
		case key == "guid":
		case key == "path" && path == "" && filepath.IsAbs(value):
			path = value
		case key == "abstract" && abstract == "" && value != "" && runtime.GOOS == "linux":
			abstract = value
		default:
			return "", errors.New("only unix:path= with an absolute path and, on Linux, unix:abstract= are used")
		}
	}
	if (path == "") == (abstract == "") {
		return "", errors.New("it needs one of path and abstract")
	}
	if abstract != "" {
		return "@" + abstract, nil
	}
	return path, nil
}

// dial connects to a socket that belongs to us or to root. The file is looked at
// first, so that nothing is sent to a foreign one; who is really at the other
// end is asked afterwards, where the system can tell: a file may have been
// exchanged in between, and an abstract socket has none.
func dial(ctx context.Context, address string) (*net.UnixConn, error) {
	if address[0] == '/' {
		if err := checkSocket(address, os.Geteuid()); err != nil {
			return nil, err
		}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", address)
	if err != nil {
		return nil, err
	}
	socket := conn.(*net.UnixConn)
	if uid, known := peer(socket); known && uid != 0 && uid != os.Geteuid() {
		socket.Close()
		return nil, fmt.Errorf("%s is served by uid %d, not by us (uid %d)", address, uid, os.Geteuid())
	}
	return socket, nil
}

// checkSocket wants a socket that belongs to uid or to root.
func checkSocket(path string, uid int) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist", path)
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is not a socket", path)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid != 0 && int(owner.Uid) != uid {
		return fmt.Errorf("%s belongs to uid %d, not to us (uid %d)", path, owner.Uid, uid)
	}
	return nil
}

// handshake says who we are to the bus. From here on the socket keeps the
// deadline: whatever waits for the bus ends with it.
func handshake(ctx context.Context, socket *net.UnixConn) (*bus, error) {
	deadline, _ := ctx.Deadline()
	if err := socket.SetDeadline(deadline); err != nil {
		socket.Close()
		return nil, err
	}
	b, err := newBus(socket)
	if err != nil {
		socket.Close()
		return nil, err
	}
	return b, nil
}
