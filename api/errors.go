package api

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/rpc"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/proxy"
)

// maxLines limits what is shown of text that came from elsewhere.
const maxLines = 10

// Errors that a caller may want to tell apart, with errors.Is.
var (
	// ErrAccessDenied: the user's roles do not allow the call.
	ErrAccessDenied = errors.New("access denied")
	// ErrNotFound: what was asked for does not exist, or the user may not know.
	ErrNotFound = errors.New("not found")
	// ErrExists: there is one of that name or ID already.
	ErrExists = errors.New("already exists")
	// ErrInvalid: the server does not take what was asked for as it is.
	ErrInvalid = errors.New("invalid request")
	// ErrLimit: a limit of the server is reached; try again later, or ask for less.
	ErrLimit = errors.New("limit reached")
	// ErrUnavailable: the server is not there, or the connection broke; try again.
	ErrUnavailable = errors.New("no answer from the cluster")
	// ErrAmbiguous: several nodes match where one is meant.
	ErrAmbiguous = errors.New("several servers match")
	// ErrExpired: the credentials have expired; log in again.
	ErrExpired = proxy.ErrExpired
)

// Error is a call that failed. It matches the errors of this package and of package mfa
// where they apply, and wraps what broke the connection, or the error of the context.
type Error struct {
	Method string // path of the call
	Addr   string // that the client was connected to at first
	err    error
}

// Error is the server's text, fit to print, or what broke the connection.
func (e *Error) Error() string {
	var status *rpc.Status
	if errors.As(e.err, &status) {
		return status.Error()
	}
	if errors.Is(e.err, context.DeadlineExceeded) {
		return e.Addr + ": no answer in time"
	}
	return e.Addr + ": " + text.Block(e.err.Error(), maxLines)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

// tlsOf is what credentials have for TLS. That they have expired is ErrExpired, as it is
// when the server says so.
func tlsOf(c credentials.Credentials) (*tls.Config, error) {
	config, err := c.TLSConfig()
	var end interface{ Expired() bool }
	if errors.As(err, &end) && end.Expired() {
		return nil, &expiredError{err}
	}
	return config, err
}

// expiredError is an error of credentials that is ErrExpired besides.
type expiredError struct{ error }

func (e *expiredError) Is(target error) bool { return target == ErrExpired }
func (e *expiredError) Unwrap() error        { return e.error }

// Is matches the errors of this package.
func (e *Error) Is(target error) bool {
	code := codeOf(e.err)
	switch target {
	case ErrAccessDenied:
		return code == rpc.PermissionDenied && !e.expired()
	case ErrNotFound:
		return code == rpc.NotFound && !e.ambiguous()
	case ErrAmbiguous:
		return code == rpc.NotFound && e.ambiguous()
	case ErrExpired:
		return e.expired()
	case ErrExists:
		return code == rpc.AlreadyExists
	case ErrInvalid:
		return code == rpc.InvalidArgument
	case ErrLimit:
		return code == rpc.ResourceExhausted
	case ErrUnavailable:
		return e.unavailable(code)
	}
	return e.isMFA(target, code)
}

// isMFA matches the errors of package mfa.
func (e *Error) isMFA(target error, code rpc.Code) bool {
	switch target {
	case mfa.ErrExists:
		return code == rpc.AlreadyExists && e.Method == methodAddDevice
	case mfa.ErrLast:
		return code == rpc.InvalidArgument && e.says("cannot delete the last MFA device", "cannot delete last passwordless")
	case mfa.ErrWrongCode:
		return code == rpc.PermissionDenied && e.says("invalid one time token", "invalid totp token")
	}
	return false
}

// says reports whether the server's text holds one of these phrases.
func (e *Error) says(phrases ...string) bool {
	var status *rpc.Status
	return errors.As(e.err, &status) &&
		slices.ContainsFunc(phrases, func(phrase string) bool { return strings.Contains(status.Message, phrase) })
}

func (e *Error) ambiguous() bool {
	return e.says("ambiguous host could match multiple nodes", "err-node-is-ambiguous")
}

// codeOf is the status that the server has ended a call with, rpc.OK if err has none.
func codeOf(err error) rpc.Code {
	var status *rpc.Status
	if errors.As(err, &status) {
		return status.Code
	}
	return rpc.OK
}

// unavailable reports whether the call got no answer, for a reason that may pass.
func (e *Error) unavailable(code rpc.Code) bool {
	if code != rpc.OK {
		return code == rpc.Unavailable
	}
	var network net.Error
	return !e.expired() && !errors.Is(e.err, context.DeadlineExceeded) &&
		(errors.As(e.err, &network) || errors.Is(e.err, io.EOF) || errors.Is(e.err, io.ErrUnexpectedEOF))
}

// expired reports whether the server says, in TLS or in a status, that the
// credentials have expired.
func (e *Error) expired() bool {
	if rpc.IsAlert(e.err, rpc.AlertExpired) {
		return true
	}
	var status *rpc.Status
	return errors.As(e.err, &status) && status.Expired()
}
