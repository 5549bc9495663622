package sftp

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/seed-087d674e/tsh/internal/text"
)

const (
	version = 3
	// maxInFlight bounds the requests that wait for an answer.
	maxInFlight = 4096
	// maxExtensions bounds what a server may announce.
	maxExtensions = 64

	extPosixRename = "posix-rename@openssh.com"
	extLimits      = "limits@openssh.com"
)

// Client is a connection to an SFTP server. Its methods may be called from several
// goroutines.
type Client struct {
	conn       io.ReadWriteCloser
	extensions map[string]string
	turn       chan struct{} // held while writing a request

	reads, writes chan struct{} // one for each READ or WRITE under way
	chunk         int
	limits        *Reply // of limits@openssh.com, nil if there are none
	settle        sync.Once
	handles       int // how many may be open at once, as the server says; 0 if it does not

	mu      sync.Mutex
	next    uint32
	waiting map[uint32]*Reply
	err     error // why the connection is over

	dead chan struct{} // closed when it is
}

// Options bound what a client has under way.
type Options struct {
	Chunk  int // bytes of data in one READ or WRITE; 0: what the server takes, 32 KiB to 128 KiB
	Window int // READs, and WRITEs, in flight in all; 0: as many as make 4 MiB
}

// New speaks SFTP on conn, which the client closes at its end. When ctx ends before the
// server has named its version, conn is closed, too.
func New(ctx context.Context, conn io.ReadWriteCloser, o Options) (*Client, error) {
	c := &Client{
		conn: conn, turn: make(chan struct{}, 1), waiting: make(map[uint32]*Reply), dead: make(chan struct{}),
		chunk: o.Chunk, extensions: make(map[string]string),
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	r := bufio.NewReaderSize(conn, 32<<10)
	err := c.greet(r)
	if !stop() && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	go c.read(r)
	window := o.Window
	if window == 0 {
		window = defaultInFlight / smallChunk
	}
	c.reads, c.writes = make(chan struct{}, window), make(chan struct{}, window)
	if _, ok := c.extensions[extLimits]; ok && c.chunk == 0 {
		c.limits = c.send(ctx, newPacket(typeExtended, extLimits), typeReply, "limits", "")
	}
	return c, nil
}

// greet exchanges versions, which have no id.
func (c *Client) greet(r *bufio.Reader) error {
	hello := []byte{0, 0, 0, 5, typeInit, 0, 0, 0, version}
	if _, err := c.conn.Write(hello); err != nil {
		return fmt.Errorf("start SFTP: %w", err)
	}
	body, err := readPacket(r)
	if err != nil {
		return fmt.Errorf("start SFTP: %w", err)
	}
	f := fields{rest: body[1:]}
	if body[0] != typeVersion {
		return badf("it begins with a packet of type %d", body[0])
	}
	if v := f.u32(); v < version || f.bad {
		return badf("it has version %d", v)
	}
	for range maxExtensions {
		if len(f.rest) == 0 {
			return nil
		}
		name, data := f.bytes(maxPacket), f.bytes(maxPacket)
		if f.bad {
			break
		}
		c.extensions[string(name)] = string(data)
	}
	return badf("its list of extensions is damaged")
}

// readPacket reads one packet without its length: a type and at least four bytes more.
func readPacket(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 5 || size > maxPacket {
		return nil, badf("a packet of %d bytes", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, unexpected(err)
	}
	return body, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// read hands out the replies until the connection ends.
func (c *Client) read(r *bufio.Reader) {
	for {
		body, err := readPacket(r)
		if err == nil {
			err = c.deliver(body)
		}
		if err != nil {
			c.fail(unexpected(err))
			return
		}
	}
}

func (c *Client) deliver(body []byte) error {
	id := binary.BigEndian.Uint32(body[1:])
	c.mu.Lock()
	reply := c.waiting[id]
	delete(c.waiting, id)
	c.mu.Unlock()
	if reply == nil {
		return badf("an answer to a request that was not made (%d)", id)
	}
	err := reply.parse(body[0], body[5:])
	if err != nil {
		reply.err = err
	}
	close(reply.done)
	return err
}

// fail ends the connection, and with it every request that waits.
func (c *Client) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	if !isProtocol(err) && err != ErrClosed {
		err = fmt.Errorf("SFTP connection lost: %w", err)
	}
	c.err = err
	waiting := c.waiting
	c.waiting = nil
	c.mu.Unlock()
	close(c.dead)
	for _, reply := range waiting {
		reply.err = err
		close(reply.done)
	}
	c.conn.Close()
}

func isProtocol(err error) bool {
	var protocol *ProtocolError
	return errors.As(err, &protocol)
}

// Close ends the connection. Requests under way fail with [ErrClosed].
func (c *Client) Close() error {
	c.fail(ErrClosed)
	return nil
}

// Dead is closed when the connection is over; Err then says why.
func (c *Client) Dead() <-chan struct{} { return c.dead }

// Err says why the connection is over, nil if it is not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// send starts a request that is answered with a packet of the given type, or a status if
// it fails; op and path are for people. What goes wrong shows in the reply.
func (c *Client) send(ctx context.Context, p packet, kind byte, op, path string) *Reply {
	return c.sendData(ctx, p, nil, &Reply{kind: kind, op: op, path: path})
}

// sendData sends a packet with data behind it, which may be used again afterwards.
func (c *Client) sendData(ctx context.Context, p packet, data []byte, r *Reply) *Reply {
	r.client, r.done = c, make(chan struct{})
	if len(p)+len(data) > maxPacket {
		return r.failed(fmt.Errorf("%s: the path has %d bytes", r.op, len(p)))
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return r.failed(context.Cause(ctx))
	case <-c.dead:
		return r.failed(c.Err())
	}
	defer func() { <-c.turn }()
	id, err := c.register(r)
	if err != nil {
		return r.failed(err)
	}
	p.finish(id, len(data))
	_, err = c.conn.Write(p)
	if err == nil && len(data) > 0 {
		_, err = c.conn.Write(data)
	}
	if err != nil {
		c.fail(unexpected(err)) // half a request may be out
	}
	return r
}

func (c *Client) register(r *Reply) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return 0, c.err
	case len(c.waiting) >= maxInFlight:
		return 0, errors.New("too many requests wait for the SFTP server")
	}
	for c.waiting[c.next] != nil {
		c.next++
	}
	id := c.next
	c.next++
	c.waiting[id] = r
	return id, nil
}

// Reply is the answer to a request, on its way or here.
type Reply struct {
	client   *Client
	op, path string
	kind     byte          // of the answer if it is good; typeStatus for a mere yes
	most     uint32        // bytes of data
	done     chan struct{} // closed when the fields below are set
	err      error
	body     []byte // handle or data
	attrs    Attrs
	names    []Entry
}

func (r *Reply) failed(err error) *Reply {
	r.err = err
	close(r.done)
	return r
}

// Wait waits for the answer; its error is that of the request, or the cause of ctx.
func (r *Reply) Wait(ctx context.Context) error {
	select {
	case <-r.done:
		return r.err
	default:
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// parse reads an answer. An error means that the server cannot be understood any more.
func (r *Reply) parse(kind byte, rest []byte) error {
	f := fields{rest: rest}
	if kind == typeStatus {
		return r.parseStatus(&f)
	}
	if kind != r.kind {
		return badf("an answer of type %d to %s", kind, r.op)
	}
	switch kind {
	case typeHandle:
		r.body = f.bytes(maxHandle)
		f.bad = f.bad || len(r.body) == 0
	case typeData:
		r.body = f.bytes(int(r.most))
		f.bad = f.bad || len(r.body) == 0
	case typeAttrs:
		r.attrs = f.attrs()
	case typeName:
		r.names = f.names()
	case typeReply:
		r.body, f.rest = f.rest, nil
	}
	if !f.over() {
		return badf("a damaged answer to %s", r.op)
	}
	return nil
}

func (r *Reply) parseStatus(f *fields) error {
	code := f.u32()
	var message []byte
	if len(f.rest) > 0 { // very old servers leave the text out
		message = f.bytes(maxPacket)
		f.bytes(maxPacket)
	}
	if !f.over() {
		return badf("a damaged status of %s", r.op)
	}
	if code != codeOK {
		const lines = 3
		r.err = &StatusError{Op: r.op, Path: r.path, Code: code, Message: text.Block(string(message), lines)}
	} else if r.kind != typeStatus {
		return badf("%s is fine, and nothing came", r.op)
	}
	return nil
}
