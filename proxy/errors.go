package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/seed-087d674e/tsh/internal/text"
)

const (
	// maxShown limits, in bytes, what is shown of text that a server sent.
	maxShown = 1 << 10
	// maxLines limits its lines where it may have several.
	maxLines = 10
)

// Error is an answer of the proxy's web API that says no.
type Error struct {
	Op     string // what was asked: "ping", "login", …
	Host   string // host:port that answered
	Status int    // HTTP status
	// Message is the server's explanation as it came, context first. It is
	// fit for machine output only; Error makes it fit to print.
	Message string

	cause   error
	fromAPI bool // Message has the form of the web API's errors
}

// Unwrap returns ErrNotTeleport if that is why the answer could not be used.
func (e *Error) Unwrap() error { return e.cause }

func (e *Error) Error() string {
	message := text.Block(e.Message, maxLines)
	if message == "" {
		message = fmt.Sprintf("HTTP status %d %s", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("%s on %s: %s", e.Op, e.Host, message)
}

// ErrNotTeleport: what answered is a web server, but no Teleport proxy (a
// captive portal, a load balancer, a wrong port). A proxy redirects no call.
var ErrNotTeleport = errors.New("this is not a Teleport proxy")

// cutShown shortens text that is fit to print already.
func cutShown(s string) string {
	if len(s) > maxShown {
		s = strings.ToValidUTF8(s[:maxShown], "") + "..."
	}
	return s
}

// refusal turns an answer that is not 200 into an error.
func refusal(op, host string, r *http.Response, body []byte) error {
	e := &Error{Op: op, Host: host, Status: r.StatusCode}
	if location := r.Header.Get("Location"); r.StatusCode >= 300 && r.StatusCode < 400 {
		e.Message, e.cause = fmt.Sprintf("it redirects to %s, which is not followed", shortQuote(location)), ErrNotTeleport
		return e
	}
	if message, ok := errorMessage(body); ok {
		e.Message, e.fromAPI = message, true
		return e
	}
	if isHTML(r, body) {
		e.Message, e.cause = fmt.Sprintf("HTTP status %d with an HTML page; %v", r.StatusCode, ErrNotTeleport), ErrNotTeleport
		return e
	}
	e.Message = string(body)
	return e
}

// errorMessage reads the body that all errors of the web API have: the text of
// the error, and contexts with the innermost first. Shown is the outermost
// context first and the text last.
func errorMessage(body []byte) (string, bool) {
	var answer struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
		Message  string   `json:"message"`
		Messages []string `json:"messages"`
	}
	if decodeJSON(body, &answer) != nil {
		return "", false
	}
	var parts []string
	for i := len(answer.Messages) - 1; i >= 0; i-- {
		parts = append(parts, answer.Messages[i])
	}
	parts = append(parts, answer.Message, answer.Error.Message)
	var said []string
	for _, part := range parts {
		if part != "" {
			said = append(said, part)
		}
	}
	return strings.Join(said, ": "), len(said) > 0
}

func isHTML(r *http.Response, body []byte) bool {
	kind := strings.ToLower(r.Header.Get("Content-Type"))
	return strings.HasPrefix(kind, "text/html") || strings.HasPrefix(strings.TrimSpace(string(body[:min(len(body), 64)])), "<")
}
