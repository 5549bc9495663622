package sshclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Subsystem is the two directions of a subsystem of a node. Read and Write may be called from two
// goroutines at once.
type Subsystem struct {
	session *session
	words   wordKeeper
	said    chan struct{}      // closed when nothing more comes on stderr
	unwatch context.CancelFunc // ends the watch over the other end
	closing sync.Once
}

// Subsystem starts a subsystem of the node, such as "sftp". The error is a
// *RefusedError, with what the node wrote to stderr, if the node will not; it is an
// *Error otherwise, which wraps the cause of ctx if that ended first. After Subsystem
// has returned, ctx has no influence on the stream. As for [Client.Run], a node that is
// silent for a minute and answers no question makes the whole connection end.
func (c *Client) Subsystem(ctx context.Context, name string) (*Subsystem, error) {
	s := &session{client: c, limit: time.NewTimer(c.timeout), ended: make(chan *ending, 1), over: make(chan struct{})}
	defer s.limit.Stop()
	result := make(chan error, 1)
	go func() { result <- s.open(name) }()
	var err error
	select {
	case err = <-result:
		if err == nil {
			watch, unwatch := context.WithCancel(context.WithoutCancel(ctx))
			st := &Subsystem{session: s, said: make(chan struct{}), unwatch: unwatch}
			go st.listen()
			go c.Wait(watch)
			return st, nil
		}
		close(s.over)
		return nil, err
	case <-ctx.Done():
		err = s.fail(context.Cause(ctx))
	case <-s.limit.C:
		go c.Close()
		err = s.fail(fmt.Errorf("%w: no %s within %v", ErrNoAnswer, name, c.timeout))
	}
	go func() { // it may come to be open all the same
		<-result
		close(s.over)
		if s.ch != nil {
			s.ch.Close()
		}
	}()
	return nil, err
}

// open opens the channel and asks for the subsystem.
func (s *session) open(name string) error {
	var err error
	if s.ch, s.reqs, err = s.client.conn.OpenChannel("session", nil); err != nil {
		return s.notOpened(err)
	}
	go s.watch()
	if ok, err := s.ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{name})); !ok {
		defer s.ch.Close()
		return s.notStarted("subsystem", err)
	}
	return nil
}

// Read implements io.Reader. Where the node has closed the stream, the error has what it
// wrote to stderr before, or is io.EOF if that was nothing.
func (s *Subsystem) Read(p []byte) (int, error) {
	n, err := s.session.ch.Read(p)
	if err == nil || n > 0 || !errors.Is(err, io.EOF) {
		return n, err
	}
	wait := time.NewTimer(refusalWait)
	defer wait.Stop()
	select {
	case <-s.said:
	case <-s.session.over:
	case <-wait.C:
	}
	if words := clean(s.words.String()); words != "" {
		return 0, s.session.fail(errors.New(words))
	}
	return 0, io.EOF
}

// Write implements io.Writer.
func (s *Subsystem) Write(p []byte) (int, error) { return s.session.ch.Write(p) }

// Close ends the subsystem.
func (s *Subsystem) Close() (err error) {
	s.closing.Do(func() {
		s.unwatch()
		close(s.session.over)
		err = s.session.ch.Close()
	})
	return err
}

func (s *Subsystem) listen() {
	defer close(s.said)
	_ = drain(&s.words, s.session.ch.Stderr())
}

// wordKeeper keeps the last of what is written to it.
type wordKeeper struct {
	mu   sync.Mutex
	kept []byte
}

func (w *wordKeeper) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept = append(w.kept, p...)
	if extra := len(w.kept) - maxMessage; extra > 0 {
		w.kept = append(w.kept[:0], w.kept[extra:]...)
	}
	return len(p), nil
}

func (w *wordKeeper) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.kept)
}
