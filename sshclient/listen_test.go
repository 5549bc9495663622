package sshclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/sshclient"
)

// forwarder is a node that forwards: every channel and every global request is
// the test's.
type forwarder struct {
	channel func(ssh.NewChannel)
	request func(*ssh.ServerConn, *ssh.Request)
}

func (f *forwarder) serve(c *cluster) func(net.Conn) {
	return func(raw net.Conn) {
		conn, chans, reqs, err := ssh.NewServerConn(raw, c.server())
		if err != nil {
			return
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for r := range reqs {
				if f.request != nil {
					f.request(conn, r)
				} else if r.WantReply {
					r.Reply(r.Type == "keepalive@openssh.com", nil)
				}
			}
		})
		for ch := range chans {
			wg.Go(func() { f.channel(ch) })
		}
		wg.Wait()
	}
}

// forwardedTo is the data of forwarded-tcpip.
func forwardedTo(host string, port uint32) []byte {
	return ssh.Marshal(struct {
		Host   string
		Port   uint32
		Origin string
		From   uint32
	}{host, port, "192.0.2.1", 4711})
}

// whoAsks answers a connection with the name of the listener it came to.
func whoAsks(name string) func(*sshclient.Incoming) {
	return func(in *sshclient.Incoming) {
		stream, err := in.Accept()
		if err != nil {
			return
		}
		io.WriteString(stream, name)
		stream.Close()
	}
}

// opened is what a node gets that opens a channel towards us: the name of the
// listener, or "not requested".
func opened(conn *ssh.ServerConn, kind string, data []byte) string {
	ch, reqs, err := conn.OpenChannel(kind, data)
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) {
		return refused.Message
	}
	if err != nil {
		return err.Error()
	}
	go ssh.DiscardRequests(reqs)
	name, _ := io.ReadAll(ch)
	ch.Close()
	return string(name)
}

// case S08, case S20: a node gets through to what was asked for, and to nothing else.
func TestOnlyWhatWasAskedFor(t *testing.T) {
	c := newCluster(t)
	conns := make(chan *ssh.ServerConn, 1)
	f := &forwarder{request: func(conn *ssh.ServerConn, r *ssh.Request) {
		select {
		case conns <- conn:
		default:
		}
		var reply []byte
		if r.Type == "tcpip-forward" && strings.HasSuffix(string(r.Payload), "\x00\x00\x00\x00") {
			reply = []byte{0, 0, 0x9c, 0x40} // 40000
		}
		if r.WantReply {
			r.Reply(true, reply)
		}
	}}
	client := connectTo(t, newDialer(t, f.serve(c)), c.client())
	ctx := deadline(t)
	listen := func(network, address string) *sshclient.Listener {
		l, err := client.Listen(ctx, network, address, whoAsks(address))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first := listen("tcp", "localhost:8080")
	listen("tcp", "10.0.0.1:9090")
	listen("tcp", "10.0.0.2:9090")
	if l := listen("tcp", "localhost:0"); l.Port() != 40000 {
		t.Errorf("port %d", l.Port())
	}
	listen("unix", "/tmp/asked")
	conn := <-conns
	const tcp, unix, no = "forwarded-tcpip", "forwarded-streamlocal@openssh.com", "not requested"
	path := func(p string) []byte { return ssh.Marshal(struct{ Path, Reserved string }{p, ""}) }
	check := func(kind string, data []byte, want string) {
		t.Helper()
		if got := opened(conn, kind, data); got != want {
			t.Errorf("%s %q: %s, want %s", kind, data, got, want)
		}
	}
	check(tcp, forwardedTo("localhost", 8080), "localhost:8080")
	check(tcp, forwardedTo("127.0.0.1", 8080), "localhost:8080") // the node's word for it
	check(tcp, forwardedTo("10.0.0.2", 9090), "10.0.0.2:9090")
	check(tcp, forwardedTo("10.0.0.3", 9090), no) // which of the two?
	check(tcp, forwardedTo("localhost", 40000), "localhost:0")
	check(tcp, forwardedTo("localhost", 8081), no)
	check(tcp, forwardedTo("localhost", 0), no)
	check(tcp, forwardedTo("localhost", 1<<16+8080), no)
	check(tcp, nil, no)
	check(tcp, []byte("\xff\xff\xff\xff"), no)
	check(unix, path("/tmp/asked"), "/tmp/asked")
	check(unix, path("/tmp/other"), no)
	check(unix, path(""), no)
	check(unix, forwardedTo("localhost", 8080), no)
	check("x11", forwardedTo("localhost", 8080), no)
	check("auth-agent@openssh.com", nil, no)
	check("direct-tcpip", forwardedTo("localhost", 8080), no)
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	check(tcp, forwardedTo("localhost", 8080), no)
}

// A node may use a port before its answer has said which one it is. It is held until
// then, a few at a time; what turns out to be another one's is rejected.
func TestPortBeforeTheAnswer(t *testing.T) {
	c := newCluster(t)
	answers := make(chan string, 100)
	f := &forwarder{request: func(conn *ssh.ServerConn, r *ssh.Request) {
		var opening sync.WaitGroup
		for i := range 40 { // case S20: a flood
			port := uint32(40000 + i%2)
			opening.Go(func() { answers <- opened(conn, "forwarded-tcpip", forwardedTo("localhost", port)) })
		}
		for range 40 - 16 {
			if got := <-answers; got != "not requested" {
				t.Errorf("beyond the limit: %s", got)
			}
		}
		r.Reply(true, []byte{0, 0, 0x9c, 0x40})
		opening.Wait()
		close(answers)
	}}
	client := connectTo(t, newDialer(t, f.serve(c)), c.client())
	if _, err := client.Listen(deadline(t), "tcp", "localhost:0", whoAsks("mine")); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for answer := range answers {
		count[answer]++
	}
	if count["mine"]+count["not requested"] != 16 || len(count) > 2 {
		t.Errorf("%v", count)
	}
}

// case S09, case S20: answers that are none.
func TestAnswersToListen(t *testing.T) {
	c := newCluster(t)
	for name, tc := range map[string]struct {
		reply []byte
		yes   bool
		want  string
	}{
		"no":               {nil, false, `node web-1 refused the request "tcpip-forward"`},
		"no, with a port":  {[]byte{0, 0, 0, 80}, false, `refused the request`},
		"yes, and no port": {nil, true, "does not say on which port"},
		"port 0":           {[]byte{0, 0, 0, 0}, true, "does not say on which port"},
		"port 65536":       {[]byte{0, 1, 0, 0}, true, "does not say on which port"},
		"port 1 GB":        {make([]byte, 30000), true, "does not say on which port"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &forwarder{request: func(_ *ssh.ServerConn, r *ssh.Request) { r.Reply(tc.yes, tc.reply) }}
			client := connectTo(t, newDialer(t, f.serve(c)), c.client())
			_, err := client.Listen(deadline(t), "tcp", "localhost:0", whoAsks("mine"))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %s", err, tc.want)
			}
		})
	}
}

// case S09: a node that answers everything twice, and what nobody has asked.
func TestDoubleReplies(t *testing.T) {
	c := newCluster(t)
	client := connectTo(t, newDialer(t, play(c, func(p *peer) {
		p.logIn()
		for {
			if packet := p.recv(); packet[0] == 80 {
				for range 50 {
					p.send(81)
				}
			}
		}
	})), c.client())
	for port := range 5 {
		if _, err := client.Listen(deadline(t), "tcp", fmt.Sprintf("localhost:%d", 8080+port), whoAsks("x")); err != nil {
			t.Error(err)
		}
	}
}

// A node that does not answer holds up nobody for long, and nobody who has enough.
func TestForwardingHasDeadlines(t *testing.T) {
	c := newCluster(t)
	for name, tc := range map[string]struct {
		call func(context.Context, *sshclient.Client) error
		took time.Duration
	}{
		"listen": {func(ctx context.Context, client *sshclient.Client) error {
			_, err := client.Listen(ctx, "tcp", "localhost:80", whoAsks("x"))
			return err
		}, 30 * time.Second},
		"dial": {func(ctx context.Context, client *sshclient.Client) error {
			_, err := client.Dial(ctx, "tcp", "localhost:80")
			return err
		}, 2 * time.Minute},
	} {
		silent := func(f func(*testing.T, *sshclient.Client)) {
			synctest.Test(t, func(t *testing.T) {
				f(t, connectTo(t, newDialer(t, play(c, func(p *peer) { p.logIn(); p.linger() })), c.client()))
			})
		}
		silent(func(t *testing.T, client *sshclient.Client) {
			start := time.Now()
			err := tc.call(t.Context(), client)
			wantOp(t, err, sshclient.OpSession)
			if !errors.Is(err, sshclient.ErrNoAnswer) || time.Since(start) != tc.took {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
		})
		silent(func(t *testing.T, client *sshclient.Client) {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := tc.call(ctx, client); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
		})
		silent(func(t *testing.T, client *sshclient.Client) {
			start := time.Now()
			time.AfterFunc(time.Second, func() { client.Close() })
			if err := tc.call(t.Context(), client); err == nil || time.Since(start) > 2*time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
		})
	}
}

// case S10, case S12: without a command, too, silence is noticed, and the end.
func TestWait(t *testing.T) {
	c := newCluster(t)
	for name, tc := range map[string]struct {
		script func(*peer)
		took   time.Duration
		check  func(error) string
	}{
		"silent": {func(p *peer) { p.linger() }, time.Minute, func(err error) string {
			if !errors.Is(err, sshclient.ErrNoAnswer) {
				return "want ErrNoAnswer"
			}
			return ""
		}},
		"closed":  {func(p *peer) { time.Sleep(5 * time.Second) }, 5 * time.Second, isLost},
		"hostile": {func(p *peer) { p.send(1, uint32(11), "bye\x1b[2J", ""); p.linger() }, 0, says(`bye\x1b[2J`)},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := connectTo(t, newDialer(t, play(c, func(p *peer) { p.logIn(); tc.script(p) })), c.client())
			start := time.Now()
			err := client.Wait(t.Context())
			wantOp(t, err, sshclient.OpSession)
			if wrong := tc.check(err); wrong != "" || time.Since(start) != tc.took {
				t.Errorf("%s: %v after %v; %s", name, err, time.Since(start), wrong)
			}
			printable(t, err)
		})
	}
	f := &forwarder{}
	client := connectTo(t, newDialer(t, f.serve(c)), c.client())
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if err := client.Wait(ctx); !errors.Is(err, enough) {
		t.Error(err)
	}
}

// What a refused channel is told as: safe to print, bounded, either way of saying no.
func TestRefusedDial(t *testing.T) {
	c := newCluster(t)
	f := &forwarder{channel: func(ch ssh.NewChannel) {
		if ch.ChannelType() == "direct-tcpip" {
			ch.Reject(ssh.ConnectionFailed, "no\x1b[2J way")
			return
		}
		channel, reqs, err := ch.Accept()
		if err != nil {
			return
		}
		go ssh.DiscardRequests(reqs)
		io.WriteString(channel.Stderr(), "forbidden\x1b[2J\n"+strings.Repeat("x", 1<<20))
		channel.Close()
	}}
	client := connectTo(t, newDialer(t, f.serve(c)), c.client())
	_, err := client.Dial(deadline(t), "tcp", "db:5432")
	if got := as[*sshclient.RefusedError](t, err); got.Request != "direct-tcpip" || got.Message != `no\x1b[2J way` {
		t.Errorf("%+v", got)
	}
	stream, err := client.Dial(deadline(t), "unix", "/run/x")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if data, err := io.ReadAll(stream); len(data) > 0 || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	if why := stream.Refusal(); !strings.HasPrefix(why, `forbidden\x1b[2J`) || len(why) > 8<<10 {
		t.Errorf("%.200q", why)
	}
	for _, address := range []string{"db", "db:99999", "db:http", ":", ""} {
		if _, err := client.Dial(deadline(t), "tcp", address); err == nil {
			t.Errorf("%q was dialled", address)
		}
	}
}

// Before is waited for while the session is opened, and can call it off.
func TestBefore(t *testing.T) {
	c := newCluster(t)
	ran := make(chan string, 1)
	client := connect(t, c, &node{session: command(func(_ ssh.Channel, args string) uint32 { ran <- args; return 0 })})
	ready := false
	if err := client.Run(deadline(t), sshclient.Command{Args: "x", Before: func() error { ready = len(ran) == 0; return nil }}); err != nil || !ready {
		t.Errorf("%v, %v", err, ready)
	}
	<-ran
	no := errors.New("not now")
	if err := client.Run(deadline(t), sshclient.Command{Args: "x", Before: func() error { return no }}); err != no || len(ran) > 0 {
		t.Errorf("%v, ran %d", err, len(ran))
	}
}
