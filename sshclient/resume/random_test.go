package resume

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// frail is a stream that breaks after so many bytes of one direction, in the middle of a
// frame, of a hello or of a position; and loses what it has taken and not delivered.
type frail struct {
	net.Conn
	mu       sync.Mutex
	more     *sync.Cond
	pending  []byte
	toWrite  int // that still get through
	toRead   int
	finished bool
}

func newFrail(conn net.Conn, toWrite, toRead int) *frail {
	f := &frail{Conn: conn, toWrite: toWrite, toRead: toRead}
	f.more = sync.NewCond(&f.mu)
	go f.deliver()
	return f
}

func (f *frail) deliver() {
	for {
		f.mu.Lock()
		for len(f.pending) == 0 && !f.finished {
			f.more.Wait()
		}
		p := f.pending[:min(len(f.pending), f.toWrite, 1000)]
		f.pending = f.pending[len(p):]
		f.toWrite -= len(p)
		over := f.finished || f.toWrite <= 0
		f.mu.Unlock()
		if _, err := f.Conn.Write(p); err != nil || over {
			_ = f.Close()
			return
		}
	}
}

// Write takes everything, delivered or not.
func (f *frail) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.finished {
		return 0, io.ErrClosedPipe
	}
	f.pending = append(f.pending, p...)
	f.more.Signal()
	return len(p), nil
}

func (f *frail) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p[:min(len(p), max(f.toRead, 1))])
	if f.toRead -= n; err == nil && f.toRead <= 0 {
		_ = f.Close()
	}
	return n, err
}

func (f *frail) Close() error {
	f.mu.Lock()
	f.finished = true
	f.more.Signal()
	f.mu.Unlock()
	return f.Conn.Close()
}

// case S21: wherever streams break, both ways and again while the connection is being
// taken up, each byte arrives once and in order.
func TestBreaksAnywhere(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) { breakAnywhere(t, seed) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func breakAnywhere(t *testing.T, seed uint64) {
	random, breaks := rand.New(rand.NewPCG(seed, 5)), rand.New(rand.NewPCG(seed, 7))
	n := newNode(t, echo)
	c := n.connect(Config{Dial: func(ctx context.Context, id string) (net.Conn, error) {
		conn, err := n.dial(ctx, id)
		if err != nil {
			return nil, err
		}
		// Most get some way, some not even through the hello.
		most := []int{300, 2000, 20_000, 200_000}
		f := newFrail(conn, 1+breaks.IntN(most[breaks.IntN(4)]), 1+breaks.IntN(most[breaks.IntN(4)]))
		if breaks.IntN(4) == 0 { // it breaks by itself, too
			time.AfterFunc(time.Duration(breaks.IntN(200))*time.Millisecond, func() { _ = f.Close() })
		}
		return f, nil
	}})
	_, _ = io.WriteString(c, "x")
	_ = readAll(t, c, 1) // now the node knows the connection
	n.cut()
	data := pattern(300 << 10)
	sizes := rand.New(rand.NewPCG(seed, 6))
	go func() {
		for rest := data; len(rest) > 0; {
			size := min(len(rest), 1+sizes.IntN(40_000))
			if _, err := c.Write(rest[:size]); err != nil {
				t.Error(err)
				return
			}
			rest = rest[size:]
		}
	}()
	got := make([]byte, len(data))
	for at := 0; at < len(got); {
		size, err := c.Read(got[at:min(len(got), at+1+random.IntN(30_000))])
		if err != nil {
			t.Fatalf("seed %d, after %d bytes: %v", seed, at, err)
		}
		at += size
	}
	if !bytes.Equal(got, data) {
		t.Errorf("seed %d: other bytes came back", seed)
	}
	_ = c.Close()
}
