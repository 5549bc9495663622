// Package sshagent puts logins into the ssh-agent of the person, takes them out
// again, and signs with keys that only the agent has.
//
// An agent is a program that we did not start, behind an address that anyone may
// have put into the environment. So it must belong to us or to root, it gets a
// limit in time and one in bytes, and no text of it is shown as it came.
package sshagent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/text"
)

// ErrNone is returned by Dial when the person has no agent: SSH_AUTH_SOCK is not
// set; on Windows, when in addition the service of the system does not run.
var ErrNone = errors.New("there is no ssh-agent: SSH_AUTH_SOCK is not set")

// variable is where agents announce themselves.
const variable = "SSH_AUTH_SOCK"

// connection is a socket, or a pipe on Windows.
type connection interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
}

// Agent is a connection to the ssh-agent, for one job: it has a limit in time from
// the moment it was made. It is not for use by several goroutines.
type Agent struct {
	_      [0]func() // never compared
	path   string    // as it can be shown
	limit  time.Duration
	conn   io.Closer
	frames *frames
}

// Unwanted reports whether adding keys without being asked to should leave the
// agent alone, because it is gpg-agent: that one would store each key for good, in
// files of its own, after asking for a passphrase.
func Unwanted() bool { return strings.Contains(os.Getenv(variable), "gpg-agent") }

// Dial connects to the agent that SSH_AUTH_SOCK names by an absolute path, on
// Windows to a named pipe, without the variable the one of the system's service.
// The socket and the process behind it must belong to us or to root; root uses only
// its own. Everything done with the connection, Dial included, together takes no
// longer than limit; what is not done by then is an error.
func Dial(limit time.Duration) (*Agent, error) {
	deadline := time.Now().Add(limit)
	path, err := address()
	if err != nil {
		return nil, err
	}
	shown := text.Line(path)
	conn, err := within(limit, func() (connection, error) { return open(path, deadline) })
	if err == nil {
		if err = conn.SetDeadline(deadline); err == nil {
			return newAgent(shown, limit, conn), nil
		}
		_ = conn.Close() // nothing was written
	}
	switch {
	case errors.Is(err, ErrNone):
		return nil, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, late(shown, limit)
	}
	return nil, fmt.Errorf("the ssh-agent at %s cannot be used: %s", shown, text.Line(reason(err).Error()))
}

func newAgent(path string, limit time.Duration, conn io.ReadWriteCloser) *Agent {
	return &Agent{path: path, limit: limit, conn: conn, frames: &frames{conn: conn, left: maxTotal}}
}

// Close ends the connection.
func (a *Agent) Close() error { return a.conn.Close() }

// within runs open, whatever the system does to it, no longer than limit. What comes
// of it later is closed.
func within(limit time.Duration, open func() (connection, error)) (connection, error) {
	type result struct {
		conn connection
		err  error
	}
	done := make(chan result, 1)
	go func() {
		conn, err := open()
		done <- result{conn, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.conn, r.err
	case <-timer.C:
		go func() {
			if r := <-done; r.conn != nil {
				_ = r.conn.Close()
			}
		}()
		return nil, os.ErrDeadlineExceeded
	}
}

func late(path string, limit time.Duration) error {
	return fmt.Errorf("the ssh-agent at %s did not answer within %v", path, limit)
}

// failed is the error of a request to the agent that did not succeed.
func (a *Agent) failed(request string, err error) error {
	switch {
	case errors.Is(a.frames.err, os.ErrDeadlineExceeded):
		return late(a.path, a.limit)
	case a.frames.err != nil:
		err = reason(a.frames.err)
	case a.frames.refused:
		return fmt.Errorf("the ssh-agent at %s refused to %s", a.path, request)
	}
	return fmt.Errorf("the ssh-agent at %s was to %s: %s", a.path, request, text.Line(err.Error()))
}

// reason is an error of the system without the path, which is said anyway.
func reason(err error) error {
	var op *net.OpError
	var path *fs.PathError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it hung up")
	case errors.As(err, &op):
		return op.Err
	case errors.As(err, &path):
		return path.Err
	}
	return err
}
