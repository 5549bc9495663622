package credentials

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted, embedded, keeps what is beside it out of logs.
type redacted struct{}

const redactedText = "REDACTED"

// Format prints REDACTED under every verb.
func (redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedText) }

// LogValue returns REDACTED.
func (redacted) LogValue() slog.Value { return slog.StringValue(redactedText) }

// MarshalText returns REDACTED: credentials do not travel as JSON either.
func (redacted) MarshalText() ([]byte, error) { return []byte(redactedText), nil }
