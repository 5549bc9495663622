package sshclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// refusalWait is how long a node that said no has for telling why.
	refusalWait = time.Second
	// copySize is the size of the copies between streams and channel, minCopySize that of
	// the first ones from the node.
	copySize    = 64 << 10
	minCopySize = 1 << 10
)

// Size is a terminal's size in characters.
type Size struct{ Cols, Rows int }

// PTY asks the node for a terminal.
type PTY struct {
	Term   string // TERM on the node; "" means xterm
	Size   Size
	Resize <-chan Size // every value becomes the new size; may be nil or closed; nobody reads it after Run
}

// Command is what to run and what to connect it with.
type Command struct {
	Args   string            // handed to the login shell as it is; "" runs the login shell itself
	Stdin  io.Reader         // nil is empty
	Stdout io.Writer         // nil discards
	Stderr io.Writer         // nil discards; with a PTY the node sends both to Stdout
	PTY    *PTY              // nil: no terminal
	Env    map[string]string // the node is free to ignore any of it
	// Started, if set, is called once when the node has granted the command and
	// before anything is read from Stdin or written to the outputs: the moment to
	// change the local terminal. Run waits for it. It is not called if the
	// command does not start, nor after Run has returned.
	Started func()
	// EscapeChar, if not 0, is the character that ends a session with a PTY from
	// here, however the node does: at the beginning or after a newline, with a dot
	// it makes Run return an *Error that wraps [ErrEscaped]. Typed twice it is
	// sent once, and with anything else behind it as it is.
	EscapeChar byte
}

// session is one run of a command.
type session struct {
	client         *Client
	cmd            Command
	ch             ssh.Channel
	reqs           <-chan *ssh.Request
	stdout, stderr *gate
	limit          *time.Timer   // of the start
	granted        chan struct{} // the node has started the command
	begin          chan struct{} // closed when the streams may flow
	abort          chan error    // why the session has to end
	ended          chan *ending  // how the command ended; closed when the channel is
	over           chan struct{} // closed when Run returns
}

func (s *session) fail(err error) error {
	return &Error{Op: OpSession, Host: s.client.host, Err: err}
}

// run reports its result before it closes the channel: a connection that
// stalls must not hold up a result that is known.
func (s *session) run(ctx context.Context, result chan<- error) {
	var err error
	if s.ch, s.reqs, err = s.client.conn.OpenChannel("session", nil); err != nil {
		result <- s.notOpened(err)
		return
	}
	defer s.ch.Close()
	stop := context.AfterFunc(ctx, func() { s.ch.Close() })
	defer stop()
	go s.watch()
	if err := s.start(); err != nil {
		result <- err
		return
	}
	select {
	case s.granted <- struct{}{}:
		<-s.begin
		result <- s.attend()
	case <-s.over:
	}
}

func (s *session) notOpened(err error) error {
	s.limit.Stop() // it has answered
	var rejected *ssh.OpenChannelError
	if errors.As(err, &rejected) {
		message := clean(rejected.Message)
		if message == "" {
			message = rejected.Reason.String()
		}
		return &RefusedError{Host: s.client.host, Request: "session", Message: message}
	}
	if lost := s.client.lost(); lost != nil {
		return s.fail(lost)
	}
	return s.fail(err)
}

// start sends the requests that lead to a running command. Only what can make
// it run differently than asked for waits for an answer.
func (s *session) start() error {
	if err := s.sendEnv(); err != nil {
		return s.notStarted("env", err)
	}
	if pty := s.cmd.PTY; pty != nil {
		term := pty.Term
		if term == "" {
			term = "xterm"
		}
		// RFC 4254 section 6.2; the only mode is TTY_OP_END.
		request := struct {
			Term                   string
			Cols, Rows, XPix, YPix uint32
			Modes                  string
		}{Term: term, Modes: "\x00"}
		request.Cols, request.Rows, request.XPix, request.YPix = pty.Size.wire()
		if ok, err := s.ch.SendRequest("pty-req", true, ssh.Marshal(request)); !ok {
			return s.notStarted("pty-req", err)
		}
	}
	request, payload := "shell", []byte(nil)
	if s.cmd.Args != "" {
		request, payload = "exec", ssh.Marshal(struct{ Command string }{s.cmd.Args})
	}
	if ok, err := s.ch.SendRequest(request, true, payload); !ok {
		return s.notStarted(request, err)
	}
	return nil
}

// sendEnv sends the environment without waiting: it is a wish, and an answer
// would cost a round trip. Teleport's nodes take all of it in one request.
func (s *session) sendEnv() error {
	env := s.cmd.Env
	if len(env) == 0 {
		return nil
	}
	if s.client.teleport {
		all, err := json.Marshal(env)
		if err != nil {
			return err
		}
		_, err = s.ch.SendRequest("envs@goteleport.com", false, ssh.Marshal(struct{ JSON string }{string(all)}))
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		pair := struct{ Name, Value string }{name, env[name]}
		if _, err := s.ch.SendRequest("env", false, ssh.Marshal(pair)); err != nil {
			return err
		}
	}
	return nil
}

// wire is the size in characters and, eight to a character, in pixels.
func (z Size) wire() (cols, rows, xpix, ypix uint32) {
	const most, cell = 1 << 16, 8
	cols, rows = uint32(min(max(z.Cols, 0), most)), uint32(min(max(z.Rows, 0), most))
	return cols, rows, cols * cell, rows * cell
}

// notStarted tells why a request was not granted. A node that will not run a
// command writes the reason to stderr, says no and closes the channel, not
// necessarily in this order.
func (s *session) notStarted(request string, err error) error {
	s.limit.Stop() // it has answered
	message := s.lastWords()
	if err != nil && message == "" {
		if lost := s.client.lost(); lost != nil {
			return s.fail(lost)
		}
		if !errors.Is(err, io.EOF) {
			return s.fail(err)
		}
	}
	return &RefusedError{Host: s.client.host, Request: request, Message: message}
}

// lastWords is what the node writes to stderr within refusalWait.
func (s *session) lastWords() string {
	chunks := make(chan string)
	go func() {
		defer close(chunks)
		buf := make([]byte, maxMessage)
		for {
			n, err := s.ch.Stderr().Read(buf)
			if n > 0 {
				select {
				case chunks <- string(buf[:n]):
				case <-s.over:
					return
				}
			}
			if n == 0 && err != nil {
				return
			}
		}
	}()
	wait := time.NewTimer(refusalWait)
	defer wait.Stop()
	var said string
	for len(said) < maxMessage {
		select {
		case chunk, ok := <-chunks:
			if !ok {
				return clean(said)
			}
			said += chunk
		case <-wait.C:
			return clean(said)
		}
	}
	return clean(said)
}

// attend connects the streams to the running command and waits for its end:
// both outputs at their end, and either a status or a closed channel.
func (s *session) attend() error {
	input := make(chan error, 1)
	go func() { input <- feed(s.ch, s.stdin(), s.over) }()
	go s.resize()
	output := make(chan error, 2)
	go func() { output <- drain(s.stdout, s.ch) }()
	go func() { output <- drain(s.stderr, s.ch.Stderr()) }()
	for range 2 {
		if err := <-output; err != nil {
			return s.fail(fmt.Errorf("write output: %w", err))
		}
	}
	end := <-s.ended
	if end == nil {
		if lost := s.client.lost(); lost != nil {
			return s.fail(lost)
		}
		return s.fail(ErrNoExitStatus)
	}
	if err := end.err(); err != nil {
		return err
	}
	select {
	case err := <-input:
		if err != nil {
			// The command may have taken the end of the part for the end of the whole.
			return s.fail(fmt.Errorf("read input: %w", err))
		}
	default:
	}
	return nil
}

// watch answers the node's requests on the channel and picks out the first
// that says how the command ended.
func (s *session) watch() {
	defer close(s.ended)
	told := false
	for r := range s.reqs {
		end := parseEnding(r)
		answer(r)
		if end != nil && !told {
			told = true
			s.ended <- end
		}
	}
}

func (s *session) resize() {
	if s.cmd.PTY == nil {
		return
	}
	for {
		select {
		case size, ok := <-s.cmd.PTY.Resize:
			if !ok {
				return
			}
			var request struct{ Cols, Rows, XPix, YPix uint32 }
			request.Cols, request.Rows, request.XPix, request.YPix = size.wire()
			if _, err := s.ch.SendRequest("window-change", false, ssh.Marshal(request)); err != nil {
				return
			}
		case <-s.over:
			return
		}
	}
}
