package resume

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

const hostID = "3c2f0e8a-0000-4000-8000-000000000001"

// node is a node that offers resumption: its frames are those of a Conn without the dialling.
// (That the real thing agrees with it is for the tests against the dev cluster.)
type node struct {
	t       *testing.T
	serve   func(net.Conn) // what runs inside
	wg      sync.WaitGroup
	mu      sync.Mutex
	inner   *Conn
	current *link
	dials   []time.Time
	streams []net.Conn // the client's ends
	verdict byte       // what a client that comes back is told
	down    error      // why it cannot be dialled
	mute    bool       // streams to it carry nothing
}

func newNode(t *testing.T, serve func(net.Conn)) *node {
	n := &node{t: t, serve: serve}
	t.Cleanup(n.stop)
	return n
}

func (n *node) stop() {
	n.cut()
	n.mu.Lock()
	if n.inner != nil {
		n.inner.fail(net.ErrClosed)
	}
	n.mu.Unlock()
	n.wg.Wait()
}

// dial opens a stream to the node.
func (n *node) dial(_ context.Context, id string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials = append(n.dials, time.Now())
	if id != hostID {
		n.t.Errorf("node %q was dialled", id)
	}
	if n.down != nil {
		return nil, n.down
	}
	client, server := net.Pipe()
	n.streams = append(n.streams, client)
	if n.mute {
		n.wg.Go(func() { _, _ = io.Copy(io.Discard, server) })
		return client, nil
	}
	n.wg.Go(func() {
		defer server.Close()
		n.accept(server)
	})
	return client, nil
}

// connect opens a connection to the node that is resumed as cfg says.
func (n *node) connect(cfg Config) *Conn {
	n.t.Helper()
	raw, _ := n.dial(n.t.Context(), hostID)
	if cfg.Dial == nil {
		cfg.Dial = n.dial
	}
	conn, err := Open(n.t.Context(), raw, cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	c, ok := conn.(*Conn)
	if !ok {
		n.t.Fatalf("the connection is %T", conn)
	}
	n.t.Cleanup(func() { _ = c.Close() })
	if got := readAll(n.t, c, len(identification)); got != identification {
		n.t.Fatalf("identification %q", got)
	}
	return c
}

// offerLine is a node's first line, with a key of its own.
func offerLine() (string, *ecdh.PrivateKey) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return offer + base64.RawStdEncoding.EncodeToString(key.PublicKey().Bytes()) + " " + hostID + "\r\n", key
}

// greet does the node's part of the hello.
func greet(conn net.Conn, line string, key *ecdh.PrivateKey) (secret [16]byte, kind byte, err error) {
	go io.WriteString(conn, line)
	answer := make([]byte, len(prefix)+len(tag)+65+1)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return secret, 0, err
	}
	if !bytes.HasPrefix(answer, []byte(prefix+tag)) {
		return secret, 0, errors.New("another answer")
	}
	peer, err := ecdh.P256().NewPublicKey(answer[len(prefix)+len(tag) : len(answer)-1])
	if err != nil {
		return secret, 0, err
	}
	shared, err := key.ECDH(peer)
	if err != nil {
		return secret, 0, err
	}
	sum := sha256.Sum256(shared)
	return [16]byte(sum[:16]), answer[len(answer)-1], nil
}

func (n *node) accept(conn net.Conn) {
	line, key := offerLine()
	secret, kind, err := greet(conn, line, key)
	if err != nil {
		return
	}
	if kind == newConnection {
		c := bareConn(conn, secret)
		l := newLink(conn, 0)
		n.mu.Lock()
		n.inner, n.current = c, l
		n.mu.Unlock()
		c.attach(l)
		n.wg.Go(func() {
			defer c.Close()
			_, _ = io.WriteString(c, identification)
			n.serve(c)
		})
		<-l.broken
		return
	}
	token := make([]byte, 16)
	if _, err := io.ReadFull(conn, token); err != nil {
		return
	}
	for i := range token {
		token[i] ^= secret[i]
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.verdict != accepted || n.inner == nil || !bytes.Equal(token, n.inner.token[:]) {
		_, _ = conn.Write([]byte{max(n.verdict, unknownToken)})
		return
	}
	if n.takeUp(conn) == nil {
		l := n.current
		n.mu.Unlock()
		<-l.broken
		n.mu.Lock()
	}
}

// takeUp goes on over another stream.
func (n *node) takeUp(conn net.Conn) error {
	c := n.inner
	c.detach(n.current)
	c.mu.Lock()
	c.told = c.received
	head := binary.AppendUvarint([]byte{accepted}, c.received)
	c.mu.Unlock()
	n.wg.Go(func() { _, _ = conn.Write(head) }) // a pipe keeps nothing
	l := newLink(conn, 0)
	theirs, err := binary.ReadUvarint(bufio.NewReaderSize(oneByOne{conn}, 16))
	if err != nil {
		return err
	}
	c.mu.Lock()
	if theirs < c.acked || theirs > c.sent {
		n.t.Errorf("the client is at %d, between %d and %d are possible", theirs, c.acked, c.sent)
	}
	c.arrived(theirs)
	l.next = theirs
	c.mu.Unlock()
	c.attach(l)
	n.current = l
	return nil
}

// oneByOne keeps a buffered reader from taking what is not its own.
type oneByOne struct{ io.Reader }

func (o oneByOne) Read(p []byte) (int, error) { return o.Reader.Read(p[:1]) }

// bareConn is a Conn that neither dials nor expects anything.
func bareConn(conn net.Conn, token [16]byte) *Conn {
	c := &Conn{token: token, local: conn.LocalAddr(), remote: conn.RemoteAddr(), stale: make(chan struct{}, 1), closeSent: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.readable, c.writable, c.toSend, c.room = sync.NewCond(&c.mu), sync.NewCond(&c.mu), sync.NewCond(&c.mu), sync.NewCond(&c.mu)
	c.ackTimer = time.AfterFunc(time.Hour, c.ackNow)
	c.ackTimer.Stop()
	c.watch = time.AfterFunc(time.Hour, func() {})
	c.watch.Stop()
	return c
}

// cut ends all streams there are.
func (n *node) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.streams {
		_ = s.Close()
	}
}

func (n *node) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// redials are the times of the dials after the first.
func (n *node) redials() []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]time.Time{}, n.dials[1:]...)
}

func readAll(t *testing.T, r io.Reader, size int) string {
	t.Helper()
	buf := make([]byte, size)
	if _, err := io.ReadFull(r, buf); err != nil {
		t.Fatal(err)
	}
	return string(buf)
}

// echo sends back what comes.
func echo(c net.Conn) { _, _ = io.Copy(c, c) }
