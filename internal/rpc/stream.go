package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// MaxMessage is the longest message, in bytes, that is accepted from a server.
const MaxMessage = 4 << 20

const prefixSize = 5 // compression flag, length

// Invoke makes a unary call: it sends the message req and returns the message
// that came back. The method is a path, "/package.Service/Method".
//
// Errors: *Status if the server said no, or if its reply cannot be accepted;
// the context's cause when that ended the call; otherwise the connection's
// error, with what broke it (a TLS alert, say) wrapped.
//
// A connection that turns out to be broken, or to take no more calls, before any of
// req was sent is given up, and the call is made once more over a new one; not so if there
// was an answer.
func (c *Conn) Invoke(ctx context.Context, method string, req []byte) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req = frame(req)
	reply, unsent, err := c.invoke(ctx, method, req)
	if unsent {
		reply, _, err = c.invoke(ctx, method, req)
	}
	return reply, err
}

// invoke makes a unary call; unsent is that it failed before any of req was sent.
func (c *Conn) invoke(ctx context.Context, method string, req []byte) (reply []byte, unsent bool, err error) {
	body := bytes.NewReader(req)
	s, err := c.start(ctx, method, body, nil)
	if err != nil {
		return nil, false, err
	}
	reply, err = s.Recv()
	if errors.Is(err, io.EOF) {
		return nil, false, &Status{Internal, "the answer has a status but no message"}
	}
	if err != nil {
		// The transport lets go of the body before it says that there is no answer, unless ctx
		// has ended. One that answers has been asked, and may be reading it still.
		return nil, ctx.Err() == nil && s.response == nil && body.Len() == len(req), err
	}
	switch _, err := s.Recv(); {
	case errors.Is(err, io.EOF):
		return reply, false, nil
	case err != nil:
		return nil, false, err
	}
	return nil, false, &Status{Internal, "the answer has more than one message"}
}

// Stream starts a call in which both sides send any number of messages. It
// does not wait for the server, so that the first message can follow at once.
// The call lasts until the server ends it or ctx is done; cancel ctx to give
// up its resources. Connecting is part of it and may fail as Connect does.
func (c *Conn) Stream(ctx context.Context, method string) (*Stream, error) {
	body, in := io.Pipe()
	s, err := c.start(ctx, method, body, in)
	if err != nil {
		return nil, err
	}
	// While the transport waits for more of the body, it does not look at the
	// context: the body has to end with it.
	s.release = context.AfterFunc(ctx, func() { s.stopSending(context.Cause(ctx)) })
	return s, nil
}

// Stream is a call under way. One goroutine may send while another receives.
type Stream struct {
	ctx    context.Context
	link   *link
	in     *io.PipeWriter // nil for a unary call
	header chan struct{}  // closed once response and err are set

	release func() bool // lets go of ctx

	response *http.Response
	err      error

	ending sync.Once
	end    error // how receiving ended
}

func (c *Conn) start(ctx context.Context, method string, body io.Reader, in *io.PipeWriter) (*Stream, error) {
	l, err := c.connected(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+authority+method, body)
	if err != nil {
		return nil, err
	}
	req.Header = http.Header{
		"Content-Type": {"application/grpc"},
		"Te":           {"trailers"},
		"User-Agent":   {"tsh"}, // no version: servers judge clients by theirs, and ours means nothing to them
	}
	if deadline, ok := ctx.Deadline(); ok {
		req.Header.Set("Grpc-Timeout", deadlineHeader(time.Until(deadline)))
	}
	s := &Stream{ctx: ctx, link: l, in: in, header: make(chan struct{})}
	go s.roundTrip(req)
	return s, nil
}

// roundTrip waits for the headers of the answer, which may come only with the
// first message, long after we have begun to send.
func (s *Stream) roundTrip(req *http.Request) {
	defer close(s.header)
	response, err := s.link.http.RoundTrip(req)
	if err == nil {
		s.response, err = response, checkHeader(response)
	} else if s.ctx.Err() == nil {
		// A server that is shutting down takes no more calls, yet the connection lives on.
		s.link.giveUp()
	}
	if err == nil {
		return
	}
	s.err = s.explain(err)
	if s.response != nil {
		_ = s.response.Body.Close()
	}
	s.stopSending(s.err)
}

// checkHeader says whether what answered is a gRPC server that has something
// to say beyond a status.
func checkHeader(r *http.Response) error {
	kind := r.Header.Get("Content-Type")
	if r.StatusCode != http.StatusOK || kind != "application/grpc" && !strings.HasPrefix(kind, "application/grpc+") &&
		!strings.HasPrefix(kind, "application/grpc;") {
		return httpStatus(r)
	}
	if r.Header.Get("Grpc-Status") != "" {
		if err := statusOf(r.Header); err != nil {
			return err
		}
	}
	return nil
}

// Send sends one message. It returns when the message is on its way, or with
// the error that ended the call; io.EOF if the server has ended it (Recv then
// says how). It must not be called after CloseSend.
func (s *Stream) Send(message []byte) error {
	if _, err := s.in.Write(frame(message)); err == nil {
		return nil
	}
	// The transport gives up the body of a call that is over, and then it has
	// the headers too or an error.
	select {
	case <-s.header:
	case <-s.ctx.Done():
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if s.err != nil {
		return s.err
	}
	return io.EOF
}

// CloseSend says that no more messages will be sent.
func (s *Stream) CloseSend() error { return s.in.Close() }

// Recv returns the next message. It returns io.EOF when the server has ended
// the call with status OK, and otherwise errors as Invoke does. After an error
// the call is over; every further Recv returns the same.
func (s *Stream) Recv() ([]byte, error) {
	select {
	case <-s.header:
	case <-s.ctx.Done():
		return nil, s.finish(context.Cause(s.ctx))
	}
	if s.err != nil {
		return nil, s.finish(s.err)
	}
	if s.end != nil {
		return nil, s.end
	}
	// Reading ends with the context by itself, unless the peer has brought the
	// transport to a standstill (see usable).
	type received struct {
		message []byte
		err     error
	}
	next := make(chan received, 1)
	go func() {
		message, err := s.read()
		next <- received{message, err}
	}()
	select {
	case r := <-next:
		if r.err != nil {
			return nil, s.finish(r.err)
		}
		return r.message, nil
	case <-s.ctx.Done():
		return nil, s.finish(context.Cause(s.ctx))
	}
}

func (s *Stream) read() ([]byte, error) {
	var prefix [prefixSize]byte
	if _, err := io.ReadFull(s.response.Body, prefix[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, s.status()
		}
		return nil, s.broken(err)
	}
	if prefix[0] != 0 {
		return nil, &Status{Internal, fmt.Sprintf("the answer has a compressed message (flag %d), which was not asked for", prefix[0])}
	}
	size := binary.BigEndian.Uint32(prefix[1:])
	if size > MaxMessage {
		return nil, &Status{ResourceExhausted, fmt.Sprintf("the answer has a message of %d bytes; the limit is %d", size, MaxMessage)}
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(s.response.Body, message); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, s.broken(err)
	}
	return message, nil
}

// status is how the server says the call ended: io.EOF for OK.
func (s *Stream) status() error {
	h := s.response.Trailer
	if h.Get("Grpc-Status") == "" && s.response.Header.Get("Grpc-Status") != "" {
		h = s.response.Header
	}
	if err := statusOf(h); err != nil {
		return err
	}
	return io.EOF
}

// broken is the error for an answer that stopped in the middle of a message.
func (s *Stream) broken(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		if failed := s.status(); !errors.Is(failed, io.EOF) && s.response.Trailer.Get("Grpc-Status") != "" {
			return failed
		}
		return &Status{Internal, "the answer ended in the middle of a message"}
	}
	return s.explain(err)
}

// explain is why the call failed with err: the caller's own context, what the
// server said, or what broke the connection.
func (s *Stream) explain(err error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if deadline, ok := s.ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded // the server's timer went off before ours
	}
	var status *Status
	if errors.As(err, &status) {
		return err
	}
	return s.link.conn.explain(err)
}

// finish ends the call with err, which every later Recv returns too.
func (s *Stream) finish(err error) error {
	s.ending.Do(func() {
		s.end = err
		s.stopSending(io.EOF)
		if s.release != nil {
			s.release()
		}
		if s.ctx.Err() != nil {
			return // which ends the rest
		}
		if s.response != nil {
			_ = s.response.Body.Close()
		}
	})
	return s.end
}

func (s *Stream) stopSending(err error) {
	if s.in != nil {
		_ = s.in.CloseWithError(err)
	}
}

// frame puts the prefix before a message.
func frame(message []byte) []byte {
	framed := make([]byte, prefixSize, prefixSize+len(message))
	binary.BigEndian.PutUint32(framed[1:], uint32(len(message)))
	return append(framed, message...)
}
