package netsim

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// echo answers every line with itself.
func echo(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := io.WriteString(c, line); err != nil {
			return
		}
	}
}

// serve runs handle for every connection to a loopback address until the test
// is over.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { handle(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// network returns a network with one address that leads to target.
func network(t *testing.T, target string) (*Network, *Proxy) {
	t.Helper()
	n := New()
	p, err := n.Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n, p
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ask sends a line and waits for it to come back, that many times.
func ask(c net.Conn, times int) error {
	buf := make([]byte, 5)
	for range times {
		if _, err := io.WriteString(c, "ping\n"); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			return err
		}
	}
	return nil
}

func mustAsk(t *testing.T, c net.Conn, times int) {
	t.Helper()
	if err := ask(c, times); err != nil {
		t.Fatal(err)
	}
}

func TestCountsWithoutDelay(t *testing.T) {
	n, p := network(t, serve(t, echo))
	c := dial(t, p.Addr())
	mustAsk(t, c, 3)
	want := Stats{Opened: 1, Open: 1, Up: 15, Down: 15, Trips: 4}
	if got := n.Stats(); got != want {
		t.Errorf("three questions over TCP: %v, want %v", got, want)
	}
	mark := n.Mark()
	mustAsk(t, c, 2)
	want = Stats{Open: 1, Up: 10, Down: 10, Trips: 2}
	if got := n.Since(mark); got != want {
		t.Errorf("two more: %v, want %v", got, want)
	}
	// One after the other adds up; the handshake of the second counts, too.
	mark = n.Mark()
	mustAsk(t, dial(t, p.Addr()), 1)
	if got := n.Since(mark).Trips; got != 2 {
		t.Errorf("a new connection and a question: %d round trips, want 2", got)
	}
	// The old connection has not moved; after a mark it still counts from there.
	mark = n.Mark()
	mustAsk(t, c, 1)
	if got := n.Since(mark).Trips; got != 1 {
		t.Errorf("a question on an older connection: %d round trips, want 1", got)
	}
	var own []int
	for _, c := range n.Conns() {
		own = append(own, c.Trips)
	}
	if !slices.Equal(own, []int{7, 2}) {
		t.Errorf("round trips of each connection: %v, want [7 2]", own)
	}
}

func TestServerSpeaksFirst(t *testing.T) {
	n, p := network(t, serve(t, func(c net.Conn) {
		io.WriteString(c, "hello\n")
		echo(c)
	}))
	c := dial(t, p.Addr())
	if _, err := io.ReadFull(c, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	if got := n.Stats().Trips; got != 2 {
		t.Errorf("handshake and greeting: %d round trips, want 2", got)
	}
	mustAsk(t, c, 1)
	if got := n.Stats().Trips; got != 3 {
		t.Errorf("and a question: %d round trips, want 3", got)
	}
}

// inBubble runs f with a network of 10 ms round trips, a client end and an
// echoing server at the other.
func inBubble(t *testing.T, f func(t *testing.T, n *Network, c net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		n.SetDelay(5 * time.Millisecond)
		c, s := n.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() { echo(s) })
		f(t, n, c)
		n.Close()
		c.Close()
		wg.Wait()
	})
}

func TestPipeCountsAndDelays(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, c net.Conn) {
		start := time.Now()
		mustAsk(t, c, 7)
		if got := n.Stats().Trips; got != 7 {
			t.Errorf("seven questions: %d round trips", got)
		}
		if got := time.Since(start); got != 70*time.Millisecond {
			t.Errorf("seven questions took %v, want 70ms", got)
		}
	})
}

// What does not wait costs one round trip, however many messages it is.
func TestPipelinedIsOneTrip(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, c net.Conn) {
		start := time.Now()
		const lines = 50
		go func() {
			for range lines {
				io.WriteString(c, "ping\n")
			}
		}()
		if _, err := io.ReadFull(c, make([]byte, 5*lines)); err != nil {
			t.Fatal(err)
		}
		if got := n.Stats().Trips; got != 1 {
			t.Errorf("%d pipelined questions: %d round trips, want 1", lines, got)
		}
		if got := time.Since(start); got != 10*time.Millisecond {
			t.Errorf("pipelined questions took %v, want 10ms", got)
		}
	})
}

// The simulated handshake: whoever connects has to wait one round trip more
// than the kernel makes him.
func TestHandshakeTakesARoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		n.SetDelay(5 * time.Millisecond)
		c, near := net.Pipe()
		begin := time.Now()
		n.start(near, "in memory", func() (net.Conn, error) {
			if got := time.Since(begin); got != 15*time.Millisecond {
				t.Errorf("the server is connected to after %v, want 15ms", got)
			}
			far, s := net.Pipe()
			go echo(s)
			return far, nil
		})
		mustAsk(t, c, 1)
		if got := time.Since(begin); got != 20*time.Millisecond {
			t.Errorf("the first answer took %v, want 20ms", got)
		}
		if got := n.Stats().Trips; got != 2 {
			t.Errorf("%d round trips, want 2", got)
		}
		n.Close()
	})
}

func TestParallelConnectionsDoNotAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		n.SetDelay(5 * time.Millisecond)
		var wg sync.WaitGroup
		for range 3 {
			c, s := n.Pipe()
			go echo(s)
			wg.Go(func() { mustAsk(t, c, 4) })
		}
		wg.Wait()
		if got := n.Stats().Trips; got != 4 {
			t.Errorf("three times four questions at once: %d round trips, want 4", got)
		}
		n.Close()
	})
}

func TestStall(t *testing.T) {
	inBubble(t, func(t *testing.T, n *Network, c net.Conn) {
		n.Stall()
		n.Stall()
		answered := make(chan error, 1)
		go func() { answered <- ask(c, 1) }()
		time.Sleep(time.Hour) // in the bubble: until nothing else can happen
		synctest.Wait()
		select {
		case err := <-answered:
			t.Fatalf("an answer came through a stalled network: %v", err)
		default:
		}
		n.Resume()
		n.Resume()
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
	})
}

func TestCutResetsAndCloseEndsAll(t *testing.T) {
	arrived, serverSaw := make(chan bool), make(chan error, 1)
	n, p := network(t, serve(t, func(c net.Conn) {
		c.Read(make([]byte, 1))
		close(arrived)
		_, err := io.Copy(io.Discard, c)
		serverSaw <- err
		c.Close()
	}))
	c := dial(t, p.Addr())
	io.WriteString(c, "x")
	<-arrived
	n.Cut()
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read after a cut: %v, want a reset", err)
	}
	if err := <-serverSaw; err == nil {
		t.Error("the server saw an orderly end, want a reset")
	}
	if got := n.Stats().Open; got != 0 {
		t.Errorf("%d connections open after a cut", got)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", p.Addr()); err == nil {
		t.Error("the address is still there after Close")
	}
	if _, err := n.Listen(""); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Listen after Close: %v", err)
	}
	pc, _ := n.Pipe()
	if _, err := pc.Read(make([]byte, 1)); err == nil {
		t.Error("a pipe works after Close")
	}
}

func TestHalfClose(t *testing.T) {
	n, p := network(t, serve(t, func(c net.Conn) {
		defer c.Close()
		all, _ := io.ReadAll(c)
		fmt.Fprintf(c, "%d bytes", len(all))
	}))
	c := dial(t, p.Addr())
	if _, err := c.Write(make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || string(answer) != "100000 bytes" {
		t.Errorf("answer after a half close: %q, %v", answer, err)
	}
	if s := n.Stats(); s.Up != 100_000 || s.Down != 12 {
		t.Errorf("counted %v", s)
	}
}

func TestTargets(t *testing.T) {
	n, p := network(t, "")
	if c, err := net.Dial("tcp", p.Addr()); err == nil {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection without a target lives")
		}
		c.Close()
	}
	p.SetTarget(serve(t, echo))
	mustAsk(t, dial(t, p.Addr()), 1)
	conns := n.Conns()
	if len(conns) != 2 || conns[0].Open != 0 || conns[1].Open != 1 || conns[0].Target != "" {
		t.Errorf("connections: %+v", conns)
	}
}

func TestSeesTheHello(t *testing.T) {
	n, p := network(t, serve(t, func(c net.Conn) { io.Copy(io.Discard, io.LimitReader(c, 100)); c.Close() }))
	c := tls.Client(dial(t, p.Addr()), &tls.Config{ServerName: "proxy.example", NextProtos: []string{"one", "two"}})
	if err := c.Handshake(); err == nil {
		t.Fatal("handshake with a server that closes")
	}
	got := n.Conns()[0]
	if got.ServerName != "proxy.example" || !slices.Equal(got.Protocols, []string{"one", "two"}) {
		t.Errorf("hello: %+v", got)
	}
}

func TestSlope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		c, s := n.Pipe()
		go echo(s)
		rounds := 0
		trips, err := n.Slope(10*time.Millisecond, 50*time.Millisecond, 5, func() error {
			rounds++
			time.Sleep(time.Duration(rounds%3) * time.Microsecond) // noise, in the bubble
			return ask(c, 6)
		})
		if err != nil || rounds != 10 || trips < 5.99 || trips > 6.01 {
			t.Errorf("slope of six questions: %v after %d runs, %v", trips, rounds, err)
		}
		if _, err := n.Slope(time.Second, time.Second, 1, nil); err == nil {
			t.Error("a slope without a difference")
		}
		boom := errors.New("boom")
		if _, err := n.Slope(0, time.Second, 1, func() error { return boom }); !errors.Is(err, boom) {
			t.Errorf("error of a run: %v", err)
		}
		n.Close()
	})
}

func TestLargeBothWays(t *testing.T) {
	const size = 8 << 20
	n, p := network(t, serve(t, func(c net.Conn) { io.Copy(c, c); c.Close() }))
	c := dial(t, p.Addr())
	go func() {
		c.Write(make([]byte, size))
		c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.Copy(io.Discard, c)
	if err != nil || got != size {
		t.Errorf("%d bytes came back, %v", got, err)
	}
	if s := n.Stats(); s.Up != size || s.Down != size {
		t.Errorf("counted %v", s)
	}
}

func TestLose(t *testing.T) {
	n, p := network(t, serve(t, echo))
	c := dial(t, p.Addr())
	mustAsk(t, c, 1)
	n.Lose()
	if _, err := io.WriteString(c, "ping\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := c.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("a connection that is lost: %v", err)
	}
	mustAsk(t, dial(t, p.Addr()), 1)
}
