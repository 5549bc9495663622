package rpc

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/seed-087d674e/tsh/internal/text"
)

// Code is a gRPC status code.
type Code int

// The status codes that clients of this package tell apart.
const (
	OK                Code = 0
	Unknown           Code = 2
	InvalidArgument   Code = 3
	DeadlineExceeded  Code = 4
	NotFound          Code = 5
	AlreadyExists     Code = 6
	PermissionDenied  Code = 7
	ResourceExhausted Code = 8
	Unimplemented     Code = 12
	Internal          Code = 13
	Unavailable       Code = 14
	Unauthenticated   Code = 16
)

const (
	// maxMessageText is what is kept of a server's error text, in bytes.
	maxMessageText = 1 << 10
	// maxLines is how many lines of it are shown.
	maxLines = 10
)

// Status is the outcome of a call that the server (or, for a reply that cannot
// be accepted, this package) says was not OK. Message is at most 1 KiB of the
// server's text with control characters made visible; Error makes it fit to be
// part of a message of ours.
type Status struct {
	Code    Code
	Message string
}

func (s *Status) Error() string {
	if s.Message == "" {
		return fmt.Sprintf("the server answered with status %d and no text", s.Code)
	}
	return text.Block(s.Message, maxLines)
}

// Is makes a deadline that the server noticed first equal to one that we did.
func (s *Status) Is(target error) bool {
	return s.Code == DeadlineExceeded && target == context.DeadlineExceeded
}

// statusOf reads the outcome from trailers, or from the headers of an answer
// that has nothing else; nil is OK.
func statusOf(h http.Header) error {
	value := h.Get("Grpc-Status")
	if value == "" {
		return &Status{Internal, "the answer ended without a status"}
	}
	code, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return &Status{Internal, cut("the answer ended with the status " + text.Line(value))}
	}
	if Code(code) == OK {
		return nil
	}
	return &Status{Code(code), cut(text.Clean(percentDecode(h.Get("Grpc-Message"))))}
}

// httpStatus is the outcome of an answer that is not gRPC's: something between
// us and the server spoke. The codes are those of gRPC's table for that.
func httpStatus(r *http.Response) error {
	code := Unknown
	switch r.StatusCode {
	case http.StatusBadRequest:
		code = Internal
	case http.StatusUnauthorized:
		code = Unauthenticated
	case http.StatusForbidden:
		code = PermissionDenied
	case http.StatusNotFound:
		code = Unimplemented
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		code = Unavailable
	}
	return &Status{code, cut(fmt.Sprintf(`the answer is not gRPC: HTTP status %d, content type "%s"`,
		r.StatusCode, text.Line(r.Header.Get("Content-Type"))))}
}

// percentDecode undoes the encoding of grpc-message. What is not well-formed
// stays as it is.
func percentDecode(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	decoded := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if b, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				decoded = append(decoded, byte(b))
				i += 2
				continue
			}
		}
		decoded = append(decoded, s[i])
	}
	return string(decoded)
}

// cut shortens text that is fit to print to its limit.
func cut(s string) string {
	if len(s) <= maxMessageText {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessageText], "") + "..."
}
