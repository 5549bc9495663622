package sshclient_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/sshclient"
)

func TestRun(t *testing.T) {
	c := newCluster(t)
	client := connect(t, c, &node{session: command(func(ch ssh.Channel, args string) uint32 {
		input, _ := io.ReadAll(ch)
		fmt.Fprintf(ch, "ran %q with %q", args, input)
		fmt.Fprint(ch.Stderr(), "and complained")
		if args == "" {
			return 0
		}
		return 42
	})})
	var out, errs bytes.Buffer
	err := client.Run(deadline(t), sshclient.Command{
		Args: "do it", Stdin: strings.NewReader("input"), Stdout: &out, Stderr: &errs,
	})
	if exit := as[*sshclient.ExitError](t, err); exit.Status != 42 || exit.Signal != "" {
		t.Errorf("exit: %+v", exit)
	}
	if out.String() != `ran "do it" with "input"` || errs.String() != "and complained" {
		t.Errorf("stdout %q, stderr %q", &out, &errs)
	}
	// A shell, without any stream, on the same connection.
	if err := client.Run(deadline(t), sshclient.Command{}); err != nil {
		t.Errorf("second session: %v", err)
	}
}

func TestDialAsksForTheTarget(t *testing.T) {
	c := newCluster(t)
	user := make(chan string, 2)
	n := &node{config: c.server(), session: command(echo), conn: func(conn *ssh.ServerConn) { user <- conn.User() }}
	d := newDialer(t, n.serve)
	connectTo(t, d, c.client())
	if want := []string{"web-1:0", "example.com"}; !equal(d.asked, want) {
		t.Errorf("dialed %q, want %q", d.asked, want)
	}
	if got := <-user; got != login {
		t.Errorf("logged in as %q", got)
	}
	// Without a login the configuration's user it is.
	cfg := c.client()
	cfg.User = login
	client, err := sshclient.Dial(t.Context(), d, sshclient.Target{Host: host, Port: 2222}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if got := <-user; got != login || d.asked[2] != "web-1:2222" {
		t.Errorf("logged in as %q at %q", got, d.asked[2])
	}
}

func equal(a, b []string) bool { return strings.Join(a, "|") == strings.Join(b, "|") }

// record notes the requests of a session before the command, as name and payload in hex.
func record(into chan<- []string, version string) *node {
	return &node{session: func(ch ssh.Channel, reqs <-chan *ssh.Request) {
		var seen []string
		for r := range reqs {
			seen = append(seen, fmt.Sprintf("%s %v %s", r.Type, r.WantReply, hex.EncodeToString(r.Payload)))
			r.Reply(true, nil)
			if r.Type == "exec" || r.Type == "shell" {
				break
			}
		}
		go ssh.DiscardRequests(reqs)
		into <- seen
		exit(ch, 0)
	}, config: &ssh.ServerConfig{ServerVersion: version}}
}

// The bytes are those of the reference client.
func TestRequestsOnTheWire(t *testing.T) {
	str := func(s string) string { return fmt.Sprintf("%08x%x", len(s), s) }
	const pty = "pty-req true 00000005787465726d000000500000001800000280000000c00000000100"
	for _, tc := range []struct {
		name, version string
		cmd           sshclient.Command
		want          []string
	}{
		{
			"teleport", "SSH-2.0-Teleport resume-v1", sshclient.Command{
				Args: "ls", Env: map[string]string{"LANG": "C.UTF"},
				PTY: &sshclient.PTY{Term: "xterm", Size: sshclient.Size{Cols: 80, Rows: 24}},
			},
			[]string{"envs@goteleport.com false 00000010" + hex.EncodeToString([]byte(`{"LANG":"C.UTF"}`)), pty, "exec true " + str("ls")},
		},
		{
			"others", "SSH-2.0-OpenSSH_9.2", sshclient.Command{
				Env: map[string]string{"LC_B": "2", "LC_A": "1"},
				PTY: &sshclient.PTY{Size: sshclient.Size{Cols: 80, Rows: 24}},
			},
			[]string{"env false " + str("LC_A") + str("1"), "env false " + str("LC_B") + str("2"), pty, "shell true "},
		},
		{"nothing", "SSH-2.0-Teleport", sshclient.Command{Args: "x"}, []string{"exec true " + str("x")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t)
			seen := make(chan []string, 1)
			n := record(seen, tc.version)
			version := n.config.ServerVersion
			n.config = c.server()
			n.config.ServerVersion = version
			if err := connect(t, c, n).Run(deadline(t), tc.cmd); err != nil {
				t.Fatal(err)
			}
			if got := <-seen; !equal(got, tc.want) {
				t.Errorf("requests\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}

func TestResize(t *testing.T) {
	c := newCluster(t)
	client := connect(t, c, &node{session: func(ch ssh.Channel, reqs <-chan *ssh.Request) {
		for r := range reqs {
			r.Reply(true, nil)
			if r.Type == "window-change" {
				fmt.Fprintf(ch, "%x\n", r.Payload)
				if bytes.HasPrefix(r.Payload, []byte{0, 0, 0, 3}) {
					exit(ch, 0)
				}
			}
		}
	}})
	resize := make(chan sshclient.Size)
	go func() {
		for cols := range 3 {
			resize <- sshclient.Size{Cols: cols + 1, Rows: 50}
		}
		close(resize)
	}()
	out, err := run(t, client, sshclient.Command{PTY: &sshclient.PTY{Resize: resize}})
	want := "00000001000000320000000800000190\n00000002000000320000001000000190\n00000003000000320000001800000190\n"
	if out != want || err != nil {
		t.Errorf("window changes %q, %v, want %q", out, err, want)
	}
}

// A command's words on stderr and its refusal come in either order.
func TestRefusals(t *testing.T) {
	const words = "\x1b[2Jaccess denied to alice"
	refuse := func(at string, before bool, shut bool) func(ssh.Channel, <-chan *ssh.Request) {
		return func(ch ssh.Channel, reqs <-chan *ssh.Request) {
			for r := range reqs {
				if r.Type != at {
					r.Reply(true, nil)
					continue
				}
				if before {
					io.WriteString(ch.Stderr(), words+"\r\n")
				}
				r.Reply(false, nil)
				if !before {
					io.WriteString(ch.Stderr(), words+"\n")
				}
				if shut {
					ch.Close()
				}
			}
		}
	}
	const said = `\x1b[2Jaccess denied to alice`
	for name, tc := range map[string]struct {
		session       func(ssh.Channel, <-chan *ssh.Request)
		request, want string
	}{
		"words, no, close": {refuse("exec", true, true), "exec", said},
		"no, words, close": {refuse("exec", false, true), "exec", said},
		"no, words":        {refuse("exec", false, false), "exec", said},
		"no terminal":      {refuse("pty-req", true, true), "pty-req", said},
		"only closes": {func(ch ssh.Channel, reqs <-chan *ssh.Request) {
			<-reqs
			ch.Close()
		}, "pty-req", ""},
		"no session": {nil, "session", `too many \x1b[31msessions`},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				n := &node{config: c.server(), session: tc.session}
				client := connect(t, c, n)
				err := client.Run(t.Context(), sshclient.Command{Args: "x", PTY: &sshclient.PTY{}})
				refused := as[*sshclient.RefusedError](t, err)
				if refused.Request != tc.request || refused.Message != tc.want || refused.Host != host {
					t.Errorf("refusal %+v, want of %q with %q", refused, tc.request, tc.want)
				}
				if took := time.Since(start); took > 1100*time.Millisecond {
					t.Errorf("it took %v to know that", took)
				}
			})
		})
	}
}

func TestBlockedInputDoesNotHold(t *testing.T) {
	c := newCluster(t)
	client := connect(t, c, &node{session: command(func(ssh.Channel, string) uint32 { return 7 })})
	never, w := io.Pipe()
	defer w.Close()
	err := client.Run(deadline(t), sshclient.Command{Args: "x", Stdin: never})
	if as[*sshclient.ExitError](t, err).Status != 7 {
		t.Error(err)
	}
}

func TestFailingStreams(t *testing.T) {
	c := newCluster(t)
	boom := errors.New("disk on fire")
	client := connect(t, c, &node{session: command(func(ch ssh.Channel, args string) uint32 {
		if args == "talk" {
			for {
				if _, err := io.WriteString(ch, "and on and on"); err != nil {
					return 0
				}
			}
		}
		return echo(ch, args)
	})})
	err := client.Run(deadline(t), sshclient.Command{Args: "talk", Stdout: writerFunc(func([]byte) (int, error) { return 0, boom })})
	wantOp(t, err, sshclient.OpSession)
	if !errors.Is(err, boom) {
		t.Errorf("broken output: %v", err)
	}
	input := io.MultiReader(strings.NewReader("some"), readerFunc(func([]byte) (int, error) { return 0, boom }))
	out, err := run(t, client, sshclient.Command{Args: "cat", Stdin: input})
	wantOp(t, err, sshclient.OpSession)
	if !errors.Is(err, boom) || out != "some" {
		t.Errorf("broken input: %q, %v", out, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// When the context ends, nothing more is written and Run is back at once, even
// if the node does not care.
func TestCancel(t *testing.T) {
	c := newCluster(t)
	for name, tc := range map[string]struct {
		script func(p *peer)
		output string
	}{
		"node is silent": {func(p *peer) { p.session(); p.data("begun"); p.linger() }, "begun"},
		"node writes on and on": {func(p *peer) {
			p.session()
			for {
				p.data("begun")
				p.recv() // the input, or the end
			}
		}, "begunbegun"},
		"no answer to exec":    {func(p *peer) { p.logIn(); p.openChannel(100, 100); p.linger() }, ""},
		"no answer to session": {func(p *peer) { p.logIn(); p.linger() }, ""},
		"input does not fit":   {func(p *peer) { p.logIn(); p.openChannel(0, 100); p.startCommand(); p.linger() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := connectTo(t, newDialer(t, play(c, tc.script)), c.client())
				reason := errors.New("changed my mind")
				ctx, cancel := context.WithCancelCause(t.Context())
				var out bytes.Buffer
				result := make(chan error)
				input, w := io.Pipe()
				go func() {
					result <- client.Run(ctx, sshclient.Command{Args: "x", Stdin: input, Stdout: &out})
				}()
				go w.Write([]byte("data that the node may or may not take"))
				synctest.Wait()
				start := time.Now()
				cancel(reason)
				err := <-result
				wantOp(t, err, sshclient.OpSession)
				if !errors.Is(err, reason) || time.Since(start) != 0 {
					t.Errorf("%v after %v", err, time.Since(start))
				}
				if !strings.HasPrefix(out.String(), tc.output) { // more may come until Run is back
					t.Errorf("output %q", &out)
				}
				w.Close()
			})
		})
	}
}

func TestCancelledOutputIsShut(t *testing.T) {
	c := newCluster(t)
	synctest.Test(t, func(t *testing.T) {
		more := make(chan bool)
		client := connectTo(t, newDialer(t, play(c, func(p *peer) {
			p.session()
			<-more
			p.data("too late")
			p.linger()
		})), c.client())
		ctx, cancel := context.WithCancel(t.Context())
		var out bytes.Buffer
		time.AfterFunc(time.Second, cancel)
		err := client.Run(ctx, sshclient.Command{Args: "x", Stdout: &out})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(more)
		synctest.Wait()
		if out.Len() > 0 {
			t.Errorf("after Run: %q", &out)
		}
	})
}

func TestManySessionsAtOnce(t *testing.T) {
	c := newCluster(t)
	client := connect(t, c, &node{session: command(echo)})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			text := strings.Repeat(fmt.Sprint(i), 10_000)
			if out, err := run(t, client, sshclient.Command{Args: "cat", Stdin: strings.NewReader(text)}); out != text || err != nil {
				t.Errorf("session %d: %d bytes, %v", i, len(out), err)
			}
		})
	}
	wg.Wait()
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if err := client.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	_, err := run(t, client, sshclient.Command{Args: "cat"})
	wantOp(t, err, sshclient.OpSession)
}

func TestConnectionLost(t *testing.T) {
	c := newCluster(t)
	d := newDialer(t, (&node{config: c.server(), session: command(echo)}).serve)
	client := connectTo(t, d, c.client())
	never, w := io.Pipe()
	defer w.Close()
	err := client.Run(deadline(t), sshclient.Command{
		Args: "cat", Stdin: io.MultiReader(strings.NewReader("x"), never),
		Stdout: writerFunc(func(p []byte) (int, error) { d.net.Cut(); return len(p), nil }),
	})
	wantOp(t, err, sshclient.OpSession)
	if !strings.Contains(err.Error(), "connection lost") || errors.Is(err, sshclient.ErrNoExitStatus) {
		t.Error(err)
	}
}
