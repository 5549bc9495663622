package sshclient_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/sshclient"
)

const agentChannel = "auth-agent@openssh.com"

// guestNode runs one program per session, which may open channels towards the client.
func guestNode(t *testing.T, program func(conn *ssh.ServerConn, asked []*ssh.Request) uint32) *node {
	conns := make(chan *ssh.ServerConn, 1)
	return &node{conn: func(conn *ssh.ServerConn) { conns <- conn }, session: func(ch ssh.Channel, reqs <-chan *ssh.Request) {
		conn := <-conns
		conns <- conn
		var asked []*ssh.Request
		for r := range reqs {
			asked = append(asked, r)
			r.Reply(true, nil)
			if r.Type == "exec" {
				go ssh.DiscardRequests(reqs)
				exit(ch, program(conn, asked))
				return
			}
		}
	}}
}

// case S08, case K16: an agent is asked for before the command, its channels are served
// while the session lasts, a bounded number of them, and refused before and after.
func TestAgentForwarding(t *testing.T) {
	c := newCluster(t)
	var during []ssh.Channel
	var serving atomic.Int32
	conns := make(chan *ssh.ServerConn, 1)
	client := connect(t, c, guestNode(t, func(conn *ssh.ServerConn, asked []*ssh.Request) uint32 {
		conns <- conn
		var names []string
		for _, r := range asked {
			names = append(names, r.Type)
		}
		if got := strings.Join(names, " "); got != "auth-agent-req@openssh.com exec" {
			t.Errorf("asked for %s", got)
		}
		for i := range 100 {
			ch, reqs, err := conn.OpenChannel(agentChannel, nil)
			if err != nil {
				var refused *ssh.OpenChannelError
				if i != 64 || !errors.As(err, &refused) || refused.Reason != ssh.ResourceShortage {
					t.Errorf("channel %d: %v", i, err)
				}
				break
			}
			go ssh.DiscardRequests(reqs)
			during = append(during, ch)
		}
		answer := make([]byte, 4)
		io.WriteString(during[3], "ping")
		if _, err := io.ReadFull(during[3], answer); err != nil || string(answer) != "pong" {
			t.Errorf("%q, %v", answer, err)
		}
		if _, _, err := conn.OpenChannel("x11", []byte("\x00\x00\x00\x00\x00\x00\x00\x00")); err == nil {
			t.Error("a display nobody asked for")
		}
		return 0
	}))
	serve := func(ctx context.Context, ch io.ReadWriteCloser) {
		defer serving.Add(-1)
		if serving.Add(1); len(client.Connections()) == 0 {
			t.Error("the connection is not listed")
		}
		got := make([]byte, 4)
		if _, err := io.ReadFull(ch, got); err == nil {
			io.WriteString(ch, strings.Replace(string(got), "ping", "pong", 1))
		}
		<-ctx.Done()
	}
	if err := client.Run(deadline(t), sshclient.Command{Args: "x", Agent: serve}); err != nil {
		t.Fatal(err)
	}
	conn := <-conns
	if _, _, err := conn.OpenChannel(agentChannel, nil); err == nil {
		t.Error("the session is over and its agent still there")
	}
	for _, ch := range during {
		if _, err := io.Copy(io.Discard, ch); err != nil {
			t.Error(err)
		}
	}
	for deadline := time.After(10 * time.Second); serving.Load() > 0 || len(client.Connections()) > 0; {
		select {
		case <-deadline:
			t.Fatalf("%d agents are still being served", serving.Load())
		case <-time.After(time.Millisecond):
		}
	}
}

// A node that forwards no agent says so, and the command does not run without.
func TestAgentRefused(t *testing.T) {
	c := newCluster(t)
	client := connect(t, c, &node{session: func(ch ssh.Channel, reqs <-chan *ssh.Request) {
		for r := range reqs {
			if r.Type == "auth-agent-req@openssh.com" {
				io.WriteString(ch.Stderr(), "agent forwarding is \x1b[31mnot permitted\r\n")
				r.Reply(false, nil)
				ch.Close()
				continue
			}
			t.Errorf("the node was asked for %s", r.Type)
			r.Reply(true, nil)
		}
	}})
	err := client.Run(deadline(t), sshclient.Command{Args: "x", Agent: func(context.Context, io.ReadWriteCloser) {}})
	refused := as[*sshclient.RefusedError](t, err)
	if refused.Request != "auth-agent-req@openssh.com" || !strings.Contains(err.Error(), "not permitted") {
		t.Error(err)
	}
	printable(t, err)
}

// x11Hello is the first message of an X client.
func x11Hello(order byte, protocol string, cookie []byte) []byte {
	number := func(n int) []byte {
		if order == 'B' {
			return []byte{byte(n >> 8), byte(n)}
		}
		return []byte{byte(n), byte(n >> 8)}
	}
	pad := func(s string) string { return s + strings.Repeat("\x00", -len(s)&3) }
	hello := slices.Concat([]byte{order, 0}, number(11), number(0), number(len(protocol)), number(len(cookie)), []byte{0, 0})
	return append(append(hello, pad(protocol)...), pad(string(cookie))...)
}

// case S08: only those reach the display who show the cookie that was made for this
// session; the display sees its own.
func TestX11Forwarding(t *testing.T) {
	const protocol = "MIT-MAGIC-COOKIE-1"
	c := newCluster(t)
	real := []byte("the real cookie!")
	display := func(want chan<- []byte) func(context.Context) (net.Conn, error) {
		return func(context.Context) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				got := make([]byte, 12+20+16)
				n, _ := io.ReadFull(there, got)
				want <- got[:n]
				io.WriteString(there, "welcome")
				there.Close()
			}()
			return here, nil
		}
	}
	seen := make(chan []byte, 10)
	x := &sshclient.X11{Dial: display(seen), Protocol: protocol, Cookie: real, Screen: 3}
	client := connect(t, c, guestNode(t, func(conn *ssh.ServerConn, asked []*ssh.Request) uint32 {
		var req struct {
			Single           bool
			Protocol, Cookie string
			Screen           uint32
		}
		if asked[0].Type != "x11-req" || ssh.Unmarshal(asked[0].Payload, &req) != nil || req.Protocol != protocol || req.Screen != 3 {
			t.Errorf("asked for %s %+v", asked[0].Type, req)
		}
		fake, err := hex.DecodeString(req.Cookie)
		if err != nil || len(fake) != 16 || bytes.Equal(fake, real) {
			t.Errorf("cookie %q", req.Cookie)
		}
		for name, tc := range map[string]struct {
			hello string
			ok    bool
		}{
			"big":        {string(x11Hello('B', protocol, fake)), true},
			"little":     {string(x11Hello('l', protocol, fake)), true},
			"real":       {string(x11Hello('l', protocol, real)), false},
			"short":      {string(x11Hello('l', protocol, fake[:15])), false},
			"none":       {string(x11Hello('l', "", nil)), false},
			"protocol":   {string(x11Hello('l', "XDM-AUTHORIZATIO-1", fake)), false},
			"huge":       {"l\x00\x0b\x00\x00\x00\xff\xff\xff\xff\x00\x00", false},
			"no order":   {"GET / HTTP/1.1\r\n\r\n", false},
			"incomplete": {string(x11Hello('B', protocol, fake))[:30], false},
		} {
			ch, reqs, err := conn.OpenChannel("x11", ssh.Marshal(struct {
				Address string
				Port    uint32
			}{"127.0.0.1", 1}))
			if err != nil {
				t.Error(name, err)
				continue
			}
			go ssh.DiscardRequests(reqs)
			io.WriteString(ch, tc.hello)
			if name == "incomplete" {
				ch.CloseWrite()
			}
			got, _ := io.ReadAll(ch)
			if (string(got) == "welcome") != tc.ok {
				t.Errorf("%s: got %q", name, got)
			}
			if tc.ok {
				if want := x11Hello(tc.hello[0], protocol, real); !bytes.Equal(<-seen, want) {
					t.Errorf("%s: the display saw something else", name)
				}
			}
		}
		return 0
	}))
	if err := client.Run(deadline(t), sshclient.Command{Args: "x", X11: x}); err != nil {
		t.Error(err)
	}
	if len(seen) > 0 {
		t.Errorf("the display saw %q", <-seen)
	}
	x.Until = time.Now().Add(-time.Second)
	late := connect(t, c, guestNode(t, func(conn *ssh.ServerConn, _ []*ssh.Request) uint32 {
		if _, _, err := conn.OpenChannel("x11", nil); err == nil {
			t.Error("accepted when the time was over")
		}
		return 0
	}))
	if err := late.Run(deadline(t), sshclient.Command{Args: "x", X11: x}); err != nil {
		t.Error(err)
	}
}

// A node that forwards no display: the session goes on, and whoever asked is told.
func TestX11Refused(t *testing.T) {
	c := newCluster(t)
	client := connect(t, c, &node{session: func(ch ssh.Channel, reqs <-chan *ssh.Request) {
		for r := range reqs {
			r.Reply(r.Type != "x11-req", nil)
			if r.Type == "exec" {
				go ssh.DiscardRequests(reqs)
				exit(ch, 3)
				return
			}
		}
	}})
	told := 0
	err := client.Run(deadline(t), sshclient.Command{Args: "x", X11: &sshclient.X11{Protocol: "p", Refused: func(err error) {
		told++
		printable(t, err)
	}}})
	if as[*sshclient.ExitError](t, err).Status != 3 || told != 1 {
		t.Errorf("%v, told %d times", err, told)
	}
}

func TestSubsystem(t *testing.T) {
	c := newCluster(t)
	client := connect(t, c, &node{session: func(ch ssh.Channel, reqs <-chan *ssh.Request) {
		for r := range reqs {
			if r.Type != "subsystem" || execArgs(r.Payload) != "sftp" {
				t.Errorf("asked for %s %q", r.Type, r.Payload)
			}
			r.Reply(true, nil)
			exit(ch, 0)
		}
	}})
	if err := client.Run(deadline(t), sshclient.Command{Args: "sftp", Subsystem: true}); err != nil {
		t.Error(err)
	}
}

// ServerAliveInterval and ServerAliveCountMax: when a silent node is given up.
func TestSetKeepalive(t *testing.T) {
	c := newCluster(t)
	silent := func(p *peer) { p.session(); p.linger() }
	for _, tc := range []struct {
		interval time.Duration
		misses   int
		end      time.Duration // 0: it goes on
	}{
		{15 * time.Second, 3, time.Minute},
		{2 * time.Second, 1, 4 * time.Second},
		{time.Second, 0, 0},
		{0, 3, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := connectTo(t, newDialer(t, play(c, silent)), c.client())
			client.SetKeepalive(tc.interval, tc.misses)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			start := time.Now()
			err := client.Run(ctx, sshclient.Command{Args: "x"})
			if tc.end == 0 && !errors.Is(err, context.DeadlineExceeded) || tc.end > 0 && (time.Since(start) != tc.end || !errors.Is(err, sshclient.ErrNoAnswer)) {
				t.Errorf("%v, %d: %v after %v", tc.interval, tc.misses, err, time.Since(start))
			}
		})
	}
}

// What a key sends is one piece for the node, as it was one here: programs tell a
// lone Esc from an arrow key by that. (users.md #11340)
func TestInputIsNotSplit(t *testing.T) {
	c := newCluster(t)
	keys := []string{"\x1b[A", "~", "\x1b[1;5C", "\r", "\x1bOP"}
	got := make(chan string)
	client := connect(t, c, &node{session: command(func(ch ssh.Channel, _ string) uint32 {
		buf := make([]byte, 100)
		for range keys {
			n, _ := ch.Read(buf)
			got <- string(buf[:n])
		}
		return 0
	})})
	i := 0
	stdin := readerFunc(func(p []byte) (int, error) {
		if i > 0 {
			if sent := <-got; sent != keys[i-1] {
				t.Errorf("%q arrived as %q", keys[i-1], sent)
			}
		}
		if i == len(keys) {
			return 0, io.EOF
		}
		i++
		return copy(p, keys[i-1]), nil
	})
	err := client.Run(deadline(t), sshclient.Command{Args: "x", PTY: &sshclient.PTY{}, EscapeChar: '%', Stdin: stdin})
	if err != nil {
		t.Error(err)
	}
}
