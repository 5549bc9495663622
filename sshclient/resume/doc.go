// Package resume keeps an SSH connection alive when the network under it breaks: it
// dials again and goes on where the stream stopped, without a byte lost or sent twice.
// Use Open on a fresh byte stream to a node.
//
// The protocol is Teleport's "resume-v1". The node's first line offers it and has a key;
// a node that does not offer it is spoken to as if this package were not there. Between
// the stream and SSH lie frames, which say what has arrived and carry what is new; both
// ends keep what they sent until the other has said that it arrived. After a break the
// client names the connection by a secret of the first one, both say how far they are,
// and go on from there.
//
// It protects nothing: SSH inside does. Therefore everything the other end says is
// checked, and whatever does not fit ends the connection.
package resume

import (
	"errors"
	"time"
)

const (
	// window is how much may be under way, to us and from us, in bytes.
	window = 128 << 10
	// maxFrame is the most that one frame carries.
	maxFrame = 128 << 10
	// maxKept bounds what was written and is not known to have arrived, sent or not:
	// the protocol has 2 MiB, but more than two windows is delay and nothing else.
	maxKept = 2 * window
	// chunk is the payload of our frames: with its head it fits a message of the
	// transport service.
	chunk = 16<<10 - 64

	// ackEvery is how much arrives before it is acknowledged at once, and ackDelay how
	// long less than that may wait for company.
	ackEvery = 16 << 10
	ackDelay = 20 * time.Millisecond
	// ackPatience is how long nothing may be heard while something is under way before
	// the connection counts as dead.
	ackPatience = 10 * time.Second

	// attemptLimit bounds one attempt to dial again, positionLimit the exchange of
	// positions in it.
	attemptLimit  = 10 * time.Second
	positionLimit = 5 * time.Second
	// The first pause between attempts, which doubles; the longest; and when to give up.
	firstPause  = 50 * time.Millisecond
	longestWait = 10 * time.Second
	giveUp      = time.Minute
	// refreshAfter is the age at which a connection that works is replaced: what is in
	// between may forget one that is too old.
	refreshAfter = 3 * time.Minute
	// readRest is how long a stream on which nothing can be sent any more is read from.
	readRest = time.Second
	// closeWait bounds the wait for the last bytes to be on their way.
	closeWait = 250 * time.Millisecond
	// answerWait is how long of it is for the node's goodbye. A proxy that gets ours and the
	// end of the stream at once may forget the former, and the node would keep the session
	// and its command for a minute.
	answerWait = 20 * time.Millisecond
)

var (
	// ErrLost is a connection that broke and could not be resumed.
	ErrLost = errors.New("the connection broke and could not be resumed")
	// ErrIdentification is a node whose SSH server, inside, is not the one that its offer
	// of resumption stands for. Without resumption it may be reached all the same.
	ErrIdentification = errors.New("the node's SSH server presents itself in another way inside a resumable connection")
)

// permanentError is a failure to resume that no further attempt mends.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

func permanent(err error) error { return &permanentError{err} }

// violation is a peer that does not keep to the protocol.
func violation(what string) error { return permanent(errors.New("resumption: " + what)) }
