package sshclient

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-087d674e/tsh/internal/text"
)

const (
	// maxMessage is how much is read of what a node says when it refuses something.
	maxMessage = 4 << 10
	// maxLines bounds what of it, or of any text of a node, gets into an error.
	maxLines = 10
)

// ErrNoExitStatus is a session that the node closed without saying how the
// command ended. It says nothing about what the command did; a program that
// passes exit codes on should use 255, as OpenSSH does.
var ErrNoExitStatus = errors.New("the node closed the session without an exit status")

// ErrEscaped is a session that the user has ended here, with the escape
// character and a dot; see [Command.EscapeChar]. As for a connection that broke,
// 255 is the exit code to pass on.
var ErrEscaped = errors.New("ended with the escape sequence")

// ErrNoAnswer is a node that is not there any more, as far as one can tell: it
// has not started the session in time, or was silent for so long that the
// connection was closed.
var ErrNoAnswer = errors.New("the host does not answer")

// Where a connection or session failed; see [Error].
const (
	OpDial      = "dial"      // no byte came from the node
	OpHandshake = "handshake" // before the login was over
	OpSession   = "session"   // after it
)

// Error is a connection or a session that failed for a reason without a type
// of its own: the network, a deadline, a cancelled context, a peer that broke
// the protocol. Err can be matched with errors.Is and errors.As; for a dial it
// is what the [Dialer] or its connection returned.
type Error struct {
	Op   string // OpDial, OpHandshake or OpSession
	Host string
	Err  error
}

func (e *Error) Error() string {
	var what string
	switch e.Op {
	case OpDial:
		what = "connect to "
	case OpHandshake:
		what = "SSH handshake with "
	default:
		what = "session on "
	}
	return what + e.Host + ": " + clean(e.Err.Error())
}

func (e *Error) Unwrap() error { return e.Err }

// HostKeyError is a node that could not prove to be the host asked for. It
// learned nothing about the user: neither login nor certificate.
type HostKeyError struct {
	Host string
	Err  error // what the configuration's host key callback said, or why it was not asked
}

func (e *HostKeyError) Error() string {
	return "host key of " + e.Host + " refused: " + clean(e.Err.Error())
}

func (e *HostKeyError) Unwrap() error { return e.Err }

// AuthError is a node that does not let the login in. Nothing but the user
// certificate was offered.
type AuthError struct {
	Host, Login string
	Methods     []string // what the node says it would accept (RFC 4252), safe to print
	Message     string   // what the node said, safe to print, often ""
}

func (e *AuthError) Error() string {
	s := "node " + e.Host + " refused the login " + strconv.Quote(e.Login)
	switch {
	case e.Message != "":
		s += ": " + clean(e.Message)
	case len(e.Methods) > 0 && !slices.Contains(e.Methods, methodPublicKey):
		s += ": it accepts no certificate, only " + strings.Join(e.Methods, ", ")
	}
	return s
}

// RefusedError is a node that let the login in and then said no to the session
// or the command.
type RefusedError struct {
	Host    string
	Request string // what was refused: "session", "pty-req", "shell" or "exec" (RFC 4254)
	Message string // the node's own words, safe to print; may have several lines
}

func (e *RefusedError) Error() string {
	s := "node " + e.Host + " refused the request \"" + e.Request + "\""
	if e.Message != "" {
		s += ": " + clean(e.Message)
	}
	return s
}

// ExitError is a command that ran and did not end with status 0.
type ExitError struct {
	// Status is 1 to 255 and fit to be passed on: the command's exit status, 128 plus
	// the signal's number (as on Linux) if it was killed, and 255 for a signal or a
	// status that has no such number.
	Status int
	Signal string // name without SIG, "" if the command was not killed

	sent uint32 // the status as the node sent it
}

func (e *ExitError) Error() string {
	if e.Signal != "" {
		return "command killed by signal " + e.Signal
	}
	status := uint32(e.Status)
	if e.sent != 0 {
		status = e.sent
	}
	return fmt.Sprintf("command ended with exit status %d", status)
}

// TargetError is a target that cannot be used as typed.
type TargetError struct {
	Target string
	Reason string
}

func (e *TargetError) Error() string {
	shown := short(e.Target)
	if shown != e.Target {
		shown += "..."
	}
	return "target " + strconv.Quote(shown) + ": " + e.Reason
}

// clean makes text from a node short enough and safe to be part of an error.
func clean(s string) string { return text.Block(s, maxLines) }
