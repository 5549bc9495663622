package sshclient

import (
	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/text"
)

// ending is how a command ended: exit-status or exit-signal, RFC 4254 section 6.10.
type ending struct {
	_      [0]func() // never compared
	status uint32
	signal string
}

// parseEnding is nil for other requests and for what does not parse.
func parseEnding(r *ssh.Request) *ending {
	switch r.Type {
	case "exit-status":
		var msg struct{ Status uint32 }
		if ssh.Unmarshal(r.Payload, &msg) == nil {
			return &ending{status: msg.Status}
		}
	case "exit-signal":
		var msg struct {
			Signal     string
			CoreDumped bool
			Message    string
			Language   string
		}
		if ssh.Unmarshal(r.Payload, &msg) == nil {
			return &ending{signal: text.Line(short(msg.Signal))}
		}
	}
	return nil
}

func (e *ending) err() error {
	const noNumber = 255
	switch {
	case e.signal != "":
		status := noNumber
		if n := signalNumber(e.signal); n > 0 {
			status = 128 + n
		}
		return &ExitError{Status: status, Signal: e.signal}
	case e.status > noNumber:
		return &ExitError{Status: noNumber, sent: e.status}
	case e.status != 0:
		return &ExitError{Status: int(e.status), sent: e.status}
	}
	return nil
}
