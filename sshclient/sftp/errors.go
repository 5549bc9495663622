package sftp

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"

	"github.com/seed-087d674e/tsh/internal/text"
)

// Codes of a [StatusError], draft-ietf-secsh-filexfer-02 section 7.
const (
	codeOK          = 0
	codeEOF         = 1
	codeNoSuchFile  = 2
	codeDenied      = 3
	codeFailure     = 4
	codeUnsupported = 8
)

// StatusError is a request that the server did not carry out. It is
// [fs.ErrNotExist], [fs.ErrPermission], [errors.ErrUnsupported] or [io.EOF] to errors.Is
// where the server's code says so.
type StatusError struct {
	Op      string
	Path    string // may be ""; as it is
	Code    uint32
	Message string // the server's own words, safe to print
}

func (e *StatusError) Error() string {
	what := e.Message
	switch {
	case e.Code == codeNoSuchFile: // all there is to say; some servers name their call and our temporary name
		what = "no such file or directory"
	case what != "":
	case e.Code == codeDenied:
		what = "permission denied"
	default:
		what = "the server says no (" + strconv.Itoa(int(e.Code)) + ")"
	}
	if e.Path == "" {
		return e.Op + ": " + what
	}
	return e.Op + " " + text.Line(e.Path) + ": " + what
}

// Is makes the codes match Go's errors.
func (e *StatusError) Is(target error) bool {
	switch e.Code {
	case codeEOF:
		return target == io.EOF
	case codeNoSuchFile:
		return target == fs.ErrNotExist
	case codeDenied:
		return target == fs.ErrPermission
	case codeUnsupported:
		return target == errors.ErrUnsupported
	}
	return false
}

// ProtocolError is a server that does not keep to the protocol. The connection is over.
type ProtocolError struct{ Reason string }

func (e *ProtocolError) Error() string { return "the server breaks the SFTP protocol: " + e.Reason }

// ErrClosed is a request on a connection that was closed here.
var ErrClosed = errors.New("the SFTP connection is closed")

func badf(format string, args ...any) error {
	return &ProtocolError{fmt.Sprintf(format, args...)}
}
