package sshclient_test

import (
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/sshclient"
)

// case S01: nothing may come before the list of algorithms, and it must be one.
func TestFirstPacketIsTheListOfAlgorithms(t *testing.T) {
	c := newCluster(t)
	for name, first := range map[string]func(p *peer) []byte{
		"ignore":    func(p *peer) []byte { return message(2, "x") },
		"debug":     func(p *peer) []byte { return message(4, false, "x", "") },
		"empty":     func(p *peer) []byte { return nil },
		"too short": func(p *peer) []byte { return p.kexInit()[:40] },
		"too long":  func(p *peer) []byte { return append(p.kexInit(), 0) },
	} {
		for _, cipher := range []string{ssh.CipherChaCha20Poly1305, ssh.CipherAES128GCM} {
			err := refusedDial(t, c.client(), play(c, func(p *peer) {
				p.lists.kex, p.lists.ciphers = p.lists.kex[:1], []string{cipher}
				p.raw(append([]byte(p.version+"\r\n"), p.pack(first(p))...))
				p.logIn()
			}))
			wantOp(t, err, sshclient.OpHandshake)
			if !strings.Contains(err.Error(), "list of algorithms") {
				t.Errorf("%s, %s: %v", name, cipher, err)
			}
		}
	}
}

// case S10, case S12, case S24: a session that is not started ends after half a
// minute, with its connection and before the terminal is changed.
func TestStartHasADeadline(t *testing.T) {
	c := newCluster(t)
	grant := func(p *peer, upTo string) {
		for {
			var req struct {
				Channel   uint32
				Name      string
				WantReply bool
				Rest      []byte `ssh:"rest"`
			}
			p.check(ssh.Unmarshal(p.expect(98)[1:], &req))
			if req.Name == upTo {
				p.linger()
				return
			}
			if req.WantReply {
				p.send(99, p.theirs)
			}
		}
	}
	for name, script := range map[string]func(p *peer){
		"session":  func(p *peer) { p.logIn(); p.linger() },
		"pty":      func(p *peer) { p.logIn(); p.openChannel(100, 100); grant(p, "pty-req") },
		"exec":     func(p *peer) { p.logIn(); p.openChannel(100, 100); grant(p, "exec") },
		"new keys": func(p *peer) { p.logIn(); p.openChannel(100, 100); p.raw(p.pack(p.kexInit())); p.linger() },
		"busy": func(p *peer) {
			p.logIn()
			p.openChannel(100, 100)
			go func() { defer func() { _ = recover() }(); p.linger() }()
			for {
				p.send(2, "wait")
				time.Sleep(time.Second) // in a bubble
			}
		},
	} {
		for timeout, want := range map[time.Duration]time.Duration{0: 30 * time.Second, 5 * time.Second: 5 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				cfg := c.client()
				cfg.Timeout = timeout
				client := connectTo(t, newDialer(t, play(c, script)), cfg)
				start := time.Now()
				err := client.Run(t.Context(), sshclient.Command{Args: "x", PTY: &sshclient.PTY{}, Started: func() { t.Error("started") }})
				wantOp(t, err, sshclient.OpSession)
				if time.Since(start) != want {
					t.Errorf("%s: it took %v", name, time.Since(start))
				}
				if !errors.Is(err, sshclient.ErrNoAnswer) {
					t.Errorf("%s: %v", name, err)
				}
				printable(t, err)
				synctest.Wait()
				if err := client.Run(t.Context(), sshclient.Command{Args: "x"}); err == nil || time.Since(start) > 35*time.Second {
					t.Errorf("%s: the connection is still there: %v", name, err)
				}
			})
		}
	}
}

// case S24: the terminal is changed once, when the command has been granted and
// before there is output, and not at all if it is refused.
func TestStarted(t *testing.T) {
	c := newCluster(t)
	client := connect(t, c, &node{session: command(func(ch ssh.Channel, _ string) uint32 {
		io.WriteString(ch, "output")
		return 3
	})})
	begun := 0
	err := client.Run(deadline(t), sshclient.Command{Args: "x", PTY: &sshclient.PTY{}, Started: func() { begun++ },
		Stdin: readerFunc(func([]byte) (int, error) {
			if begun != 1 {
				t.Error("read before the start")
			}
			return 0, io.EOF
		}),
		Stdout: writerFunc(func(p []byte) (int, error) {
			if begun != 1 {
				t.Error("output before the start")
			}
			return len(p), nil
		})})
	if as[*sshclient.ExitError](t, err).Status != 3 || begun != 1 {
		t.Errorf("%v, started %d times", err, begun)
	}
	client = connect(t, c, &node{session: func(ch ssh.Channel, reqs <-chan *ssh.Request) {
		go ch.Close()
		ssh.DiscardRequests(reqs)
	}})
	err = client.Run(deadline(t), sshclient.Command{Args: "x", Started: func() { t.Error("started") }})
	as[*sshclient.RefusedError](t, err)
}

// case S10, case S12: a node that falls silent is asked, and given up after a minute.
func TestSilentNode(t *testing.T) {
	c := newCluster(t)
	for name, tc := range map[string]struct {
		script func(p *peer)
		took   time.Duration
		asked  int32
	}{
		"silent":        {func(p *peer) {}, time.Minute, 1},
		"output before": {func(p *peer) { time.Sleep(20 * time.Second); p.data("x") }, 90 * time.Second, 1},
		"new keys":      {func(p *peer) { time.Sleep(time.Second); p.raw(p.pack(p.kexInit())) }, 75 * time.Second, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var asked atomic.Int32
			client := connectTo(t, newDialer(t, play(c, func(p *peer) {
				p.session()
				tc.script(p)
				for {
					if packet := p.recv(); packet[0] == 80 {
						asked.Add(1)
					}
				}
			})), c.client())
			start := time.Now()
			err := client.Run(t.Context(), sshclient.Command{Args: "x"})
			wantOp(t, err, sshclient.OpSession)
			if !errors.Is(err, sshclient.ErrNoAnswer) || time.Since(start) != tc.took || asked.Load() != tc.asked {
				t.Errorf("%s: %v after %v, asked %d times", name, err, time.Since(start), asked.Load())
			}
		})
	}
}

// A node that answers may take its time, and one that talks is not asked.
func TestKeepalive(t *testing.T) {
	c := newCluster(t)
	for name, tc := range map[string]struct {
		busy  bool
		asked int32
	}{"quiet": {false, 120}, "talks": {true, 0}} {
		synctest.Test(t, func(t *testing.T) {
			var asked atomic.Int32
			client := connectTo(t, newDialer(t, play(c, func(p *peer) {
				p.session()
				var mu sync.Mutex // guards sending
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() { _ = recover() }()
					for {
						if packet := p.recv(); packet[0] == 80 {
							asked.Add(1)
							mu.Lock()
							p.send(82)
							mu.Unlock()
						}
					}
				}()
				for range 360 {
					time.Sleep(10 * time.Second) // in a bubble
					if tc.busy {
						mu.Lock()
						p.data("x")
						mu.Unlock()
					}
				}
				mu.Lock()
				p.exitStatus(4)
				p.closeChannel()
				mu.Unlock()
				<-done
			})), c.client())
			err := client.Run(t.Context(), sshclient.Command{Args: "x"})
			if as[*sshclient.ExitError](t, err).Status != 4 || asked.Load() < tc.asked-1 || asked.Load() > tc.asked+1 {
				t.Errorf("%s: %v, asked %d times, want about %d", name, err, asked.Load(), tc.asked)
			}
			client.Close()
		})
	}
}

// case S12: the user can leave a session whose node takes and sends nothing.
func TestEscapeFromStuckSession(t *testing.T) {
	c := newCluster(t)
	for name, script := range map[string]func(p *peer){
		"no room":  func(p *peer) { p.logIn(); p.openChannel(0, 100); p.startCommand(); p.linger() },
		"new keys": func(p *peer) { p.session(); p.raw(p.pack(p.kexInit())); p.linger() },
	} {
		synctest.Test(t, func(t *testing.T) {
			client := connectTo(t, newDialer(t, play(c, script)), c.client())
			input, keys := io.Pipe()
			go func() {
				for range 5000 {
					keys.Write([]byte("typed in vain "))
				}
				keys.Write([]byte("\r~"))
				time.Sleep(time.Second) // in a bubble
				keys.Write([]byte("."))
			}()
			start := time.Now()
			err := client.Run(t.Context(), sshclient.Command{PTY: &sshclient.PTY{}, Stdin: input, EscapeChar: '~'})
			wantOp(t, err, sshclient.OpSession)
			if !errors.Is(err, sshclient.ErrEscaped) || time.Since(start) != time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
			client.Close()
			input.Close()
		})
	}
}

// case S12: what is no escape sequence arrives as it was typed, and only a
// terminal has them.
func TestEscapeCharacterInInput(t *testing.T) {
	c := newCluster(t)
	client := connect(t, c, &node{session: command(echo)})
	for _, tc := range []struct {
		pty        *sshclient.PTY
		char       byte
		want, send string
	}{
		{&sshclient.PTY{}, '~', "~x~.\r~.", "~x~.\r~~."},
		{&sshclient.PTY{}, '~', "x\n~", "x\n~"},
		{&sshclient.PTY{}, '%', "~.%.", "~.%."},
		{&sshclient.PTY{}, 0, "\x00.~.", "\x00.~."},
		{nil, '~', "~.~~.", "~.~~."},
	} {
		in := strings.NewReader(tc.send)
		out, err := run(t, client, sshclient.Command{Args: "cat", PTY: tc.pty, EscapeChar: tc.char, Stdin: in})
		if out != tc.want || err != nil {
			t.Errorf("%q came back as %q, %v", tc.send, out, err)
		}
	}
	big := strings.Repeat("~~ paste\r", 400_000) // more than may wait
	out, err := run(t, client, sshclient.Command{Args: "cat", PTY: &sshclient.PTY{}, EscapeChar: '~', Stdin: strings.NewReader(big)})
	if want := strings.ReplaceAll(big, "~~", "~"); out != want || err != nil {
		t.Errorf("%d bytes came back, want %d: %v", len(out), len(want), err)
	}
}

// case T05: the words of a node start no line.
func TestNodeTextStartsNoLine(t *testing.T) {
	const words = "no\nWARNING: your key leaked\r\n\n" + "ERROR: run this\n"
	for _, err := range []error{
		&sshclient.Error{Op: sshclient.OpDial, Host: "h", Err: errors.New(words)},
		&sshclient.HostKeyError{Host: "h", Err: errors.New(words)},
		&sshclient.AuthError{Host: "h", Message: words},
		&sshclient.RefusedError{Host: "h", Message: words + strings.Repeat("x\n", 5000)},
	} {
		lines := strings.Split(err.Error(), "\n")
		for _, line := range lines[1:] {
			if line != "" && !strings.HasPrefix(line, "    ") {
				t.Errorf("%q has the line %q", err, line)
			}
		}
		if len(lines) > 10 || len(err.Error()) > 2<<10 {
			t.Errorf("%d lines", len(lines))
		}
	}
}
