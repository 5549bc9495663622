package resume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pattern is bytes of which none is like its neighbours.
func pattern(size int) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(i*7 + i>>8*13 + i>>16*31)
	}
	return p
}

// Half a megabyte goes to the node and comes back while the network breaks again and
// again: nothing is missing, nothing comes twice.
func TestNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, echo)
		c := n.connect(Config{})
		data := pattern(512 << 10)
		go func() {
			for rest := data; len(rest) > 0; {
				size := min(len(rest), 10007)
				if _, err := c.Write(rest[:size]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[size:]
			}
		}()
		var got []byte
		buf := make([]byte, 5003)
		for cuts := 0; len(got) < len(data); {
			size, err := c.Read(buf)
			if err != nil {
				t.Fatalf("after %d bytes: %v", len(got), err)
			}
			got = append(got, buf[:size]...)
			if len(got)/50_000 > cuts {
				cuts++
				n.cut()
			}
		}
		if !bytes.Equal(got, data) {
			t.Error("other bytes came back")
		}
		if len(n.redials()) < 4 {
			t.Errorf("%d dials", len(n.redials()))
		}
	})
}

// A node that cannot be reached for five seconds is one that is reached later.
func TestFiveSecondsWithoutNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, echo)
		c := n.connect(Config{})
		n.set(func() { n.down = errors.New("no network") })
		n.cut()
		begin := time.Now()
		time.AfterFunc(5*time.Second, func() { n.set(func() { n.down = nil }) })
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if !c.Repairing() {
			t.Error("it is not being repaired")
		}
		if got := readAll(t, c, 5); got != "hello" {
			t.Errorf("%q", got)
		}
		if c.Repairing() {
			t.Error("it is still being repaired")
		}
		// At 0, 50, 150, 350, 750, 1550, 3150 ms and then, the network is back, at 6.35 s.
		if took := time.Since(begin); took != 6350*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// Packets vanish, and no end is told: when nothing has been heard for ten seconds,
// another stream takes over. A shorter silence changes nothing.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, echo)
		var hole *blackHole
		raw, _ := n.dial(t.Context(), hostID)
		hole = &blackHole{Conn: raw, closed: make(chan struct{})}
		conn, err := Open(t.Context(), hole, Config{Dial: n.dial})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		readAll(t, conn, len(identification))
		for i, silence := range []time.Duration{5 * time.Second, time.Hour} {
			synctest.Wait()
			hole.vanish(silence)
			begin := time.Now()
			if _, err := conn.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, conn, 5); got != "hello" {
				t.Errorf("%q", got)
			}
			want := min(silence, ackPatience)
			if took := time.Since(begin); took != want || len(n.redials()) != i {
				t.Errorf("silence of %v: took %v and %d dials", silence, took, len(n.redials()))
			}
		}
	})
}

// blackHole is a stream on which nothing gets through for a while.
type blackHole struct {
	net.Conn
	mu     sync.Mutex
	until  time.Time
	closed chan struct{}
	once   sync.Once
}

func (b *blackHole) vanish(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = time.Now().Add(d)
}

func (b *blackHole) Write(p []byte) (int, error) {
	b.mu.Lock()
	until := b.until
	b.mu.Unlock()
	if wait := time.Until(until); wait > 0 {
		select {
		case <-time.After(wait):
		case <-b.closed:
			return 0, net.ErrClosed
		}
	}
	return b.Conn.Write(p)
}

func (b *blackHole) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Conn.Close()
}

// Whoever is not reached within a minute is given up, and the pauses between the
// attempts double up to ten seconds.
func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, echo)
		c := n.connect(Config{})
		n.set(func() { n.down = errors.New("no network") })
		n.cut()
		begin := time.Now()
		_, err := c.Read(make([]byte, 1))
		if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "no network") {
			t.Error(err)
		}
		if took := time.Since(begin); took > giveUp || took < giveUp-longestWait {
			t.Errorf("it took %v", took)
		}
		last, pause := begin, time.Duration(0)
		for i, at := range n.redials() {
			if got := at.Sub(last); got != pause {
				t.Errorf("attempt %d after a pause of %v, want %v", i, got, pause)
			}
			last, pause = at, min(max(2*pause, firstPause), longestWait)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, ErrLost) {
			t.Errorf("writing: %v", err)
		}
	})
}

// A stream is replaced when it is three minutes old, and nobody notices.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, echo)
		c := n.connect(Config{})
		for i := range 10 {
			time.Sleep(time.Minute)
			text := fmt.Sprint("minute ", i)
			begin := time.Now()
			if _, err := c.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, c, len(text)); got != text || time.Since(begin) > 0 {
				t.Errorf("%q after %v", got, time.Since(begin))
			}
		}
		if got := len(n.redials()); got != 3 {
			t.Errorf("%d further streams in ten minutes", got)
		}
	})
}

// A refresh that fails leaves things as they are; so does one that the node refuses.
func TestRefreshFails(t *testing.T) {
	for name, change := range map[string]func(*node){
		"unreachable": func(n *node) { n.down = errors.New("no") },
		"refused":     func(n *node) { n.verdict = addressRefused },
		"mute":        func(n *node) { n.mute = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, echo)
				c := n.connect(Config{})
				n.set(func() { change(n) })
				time.Sleep(10 * time.Minute)
				if _, err := c.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				if got := readAll(t, c, 1); got != "x" || len(n.redials()) == 0 {
					t.Errorf("%q after %d attempts", got, len(n.redials()))
				}
			})
		})
	}
}

// What no further attempt mends is not attempted again.
func TestPermanentFailures(t *testing.T) {
	hopeless := errors.New("hopeless")
	for _, tc := range []struct {
		name, says string
		cfg        Config
		change     func(*node)
		dials      int
	}{
		{"token unknown", "does not know the connection", Config{}, func(n *node) { n.verdict = unknownToken }, 1},
		{"address refused", "from this address", Config{}, func(n *node) { n.verdict = addressRefused }, 1},
		{"no verdict at all", "answer is none", Config{}, func(n *node) { n.verdict = 77 }, 1},
		{"the proxy says that the certificate has expired", "hopeless",
			Config{Hopeless: func(err error) bool { return errors.Is(err, hopeless) }}, func(n *node) { n.down = hopeless }, 1},
		// case S21, case S23: no resumption after the certificate's end.
		{"expired meanwhile", "certificate has expired", Config{Expires: time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC)}, func(*node) {}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, echo)
				c := n.connect(tc.cfg)
				time.Sleep(2 * time.Minute)
				n.set(func() { tc.change(n) })
				n.cut()
				_, err := c.Read(make([]byte, 1))
				if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), tc.says) {
					t.Error(err)
				}
				if got := len(n.redials()); got != tc.dials {
					t.Errorf("%d dials, want %d", got, tc.dials)
				}
			})
		})
	}
}

// Either side can end the connection in order: the other gets everything and then its end.
func TestOrderlyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, func(c net.Conn) { _, _ = c.Write(pattern(100_000)) })
		c := n.connect(Config{})
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, pattern(100_000)) {
			t.Errorf("the node ends: %d bytes, %v", len(got), err)
		}
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("writing after the end")
		}
		if len(n.redials()) > 0 {
			t.Error("an end in order was taken for a break")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		all := make(chan []byte, 1)
		n := newNode(t, func(c net.Conn) {
			got, err := io.ReadAll(c)
			if err != nil {
				t.Error(err)
			}
			all <- got
		})
		c := n.connect(Config{})
		if _, err := c.Write(pattern(100_000)); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if got := <-all; !bytes.Equal(got, pattern(100_000)) {
			t.Errorf("the client ends: %d bytes", len(got))
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading after Close: %v", err)
		}
	})
}

// Close and deadlines end every wait, whatever the network does.
func TestCloseEndsWaits(t *testing.T) {
	for name, end := range map[string]func(*Conn){
		"close":    func(c *Conn) { _ = c.Close() },
		"deadline": func(c *Conn) { _ = c.SetReadDeadline(time.Now().Add(-time.Second)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) })
				c := n.connect(Config{})
				n.set(func() { n.down = errors.New("no network") })
				n.cut()
				read, wrote := make(chan error, 1), make(chan error, 1)
				go func() { _, err := c.Read(make([]byte, 1)); read <- err }()
				go func() { _, err := c.Write(make([]byte, maxKept+1)); wrote <- err }()
				synctest.Wait()
				begin := time.Now()
				end(c)
				for _, ch := range []chan error{read, wrote} {
					if err := <-ch; !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, io.ErrClosedPipe) {
						t.Error(err)
					}
				}
				if took := time.Since(begin); took > closeWait {
					t.Errorf("it took %v", took)
				}
				_ = n.inner.Close()
			})
		})
	}
}

// The context of Open governs the hello and nothing after it.
func TestOpenEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		client, server := net.Pipe()
		go io.Copy(io.Discard, server)
		if _, err := Open(ctx, client, Config{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
	})
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, echo)
		ctx, cancel := context.WithCancel(t.Context())
		raw, _ := n.dial(ctx, hostID)
		c, err := Open(ctx, raw, Config{Dial: n.dial})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		cancel()
		n.cut()
		readAll(t, c, len(identification))
		_, _ = c.Write([]byte("x"))
		if got := readAll(t, c, 1); got != "x" {
			t.Errorf("%q", got)
		}
	})
}
