package api

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/credentials"
)

// Peers that say nothing, or that never stop, cost no more than the time that connecting
// may take: nothing of them stays, neither connections nor goroutines. case N05
func TestPeersThatHang(t *testing.T) {
	s := newSite(t, nil)
	endless := func(text string) func(io.Writer) {
		text = strings.Repeat(text, 1+8192/len(text))
		return func(w io.Writer) {
			for {
				if _, err := io.WriteString(w, text); err != nil {
					return
				}
			}
		}
	}
	for name, say := range map[string]func(io.Writer){
		"silence":          func(io.Writer) {},
		"SSH, and silence": func(w io.Writer) { _, _ = io.WriteString(w, "SSH-2.0-x\r\n") },
		"lines before SSH": endless("welcome\r\n"),
		"one long line":    endless("x"),
		"SSH, and noise":   func(w io.Writer) { _, _ = io.WriteString(w, "SSH-2.0-x\r\n"); endless("\x00")(w) },
		"HTTP":             func(w io.Writer) { _, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\n"); endless("a: b\r\n")(w) },
	} {
		t.Run(name, func(t *testing.T) {
			peer := startSaying(t, say)
			before := runtime.NumGoroutine()
			l := newLines()
			ctx := testContext(t)
			_, err := Connect(ctx, Config{Addrs: []string{peer}, TunnelAddr: peer, Credentials: []credentials.Credentials{s.file()},
				DialTimeout: 500 * time.Millisecond, Dial: l.dial})
			var failed *ConnectError
			if !errors.As(err, &failed) || ctx.Err() != nil {
				t.Fatal(err)
			}
			l.only(t, 0)
			for runtime.NumGoroutine() > before+1 && ctx.Err() == nil { // its own end of the last connection
				runtime.Gosched()
			}
			if now := runtime.NumGoroutine(); now > before+1 {
				all := make([]byte, 1<<20)
				t.Errorf("%d goroutines before, %d after:\n%s", before, now, all[:runtime.Stack(all, true)])
			}
		})
	}
}

// startSaying is a server that says the same to everybody and hears what it is told.
func startSaying(t *testing.T, say func(io.Writer)) (addr string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				running.Go(func() { say(conn) })
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); running.Wait() })
	return listener.Addr().String()
}
