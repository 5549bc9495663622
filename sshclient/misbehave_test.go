package sshclient_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/sshclient"
)

// case S08, case K16, case K17: whatever a node opens towards us is refused.
func TestUnaskedChannels(t *testing.T) {
	c := newCluster(t)
	answers := make(chan error, 4)
	client := connect(t, c, &node{session: command(echo), conn: func(conn *ssh.ServerConn) {
		for _, kind := range []string{"forwarded-tcpip", "x11", "auth-agent@openssh.com", "session"} {
			_, _, err := conn.OpenChannel(kind, []byte("\x00\x00\x00\x00"))
			answers <- err
		}
	}})
	for range cap(answers) {
		var refused *ssh.OpenChannelError
		if err := <-answers; !errors.As(err, &refused) || refused.Reason != ssh.Prohibited {
			t.Errorf("answer to a channel nobody asked for: %v", err)
		}
	}
	if out, err := run(t, client, sshclient.Command{Args: "cat", Stdin: strings.NewReader("alive")}); out != "alive" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

func TestQuestionsOfTheNode(t *testing.T) {
	c := newCluster(t)
	onConn, onChannel := make(chan string, 1), make(chan string, 1)
	client := connect(t, c, &node{
		conn: func(conn *ssh.ServerConn) {
			yes, _, err := conn.SendRequest("keepalive@openssh.com", true, nil)
			no, _, err2 := conn.SendRequest("hostkeys-00@openssh.com", true, []byte("x"))
			conn.SendRequest("x-teleport-event", false, []byte("{}"))
			onConn <- fmt.Sprint(yes, no, err, err2)
		},
		session: func(ch ssh.Channel, reqs <-chan *ssh.Request) {
			command(func(ch ssh.Channel, _ string) uint32 {
				ch.SendRequest("current-session-id@goteleport.com", false, []byte("0b16..."))
				yes, err := ch.SendRequest("keepalive@openssh.com", true, nil)
				no, err2 := ch.SendRequest("exec", true, []byte("x"))
				onChannel <- fmt.Sprint(yes, no, err, err2)
				return 0
			})(ch, reqs)
		},
	})
	if err := client.Run(deadline(t), sshclient.Command{Args: "x"}); err != nil {
		t.Error(err)
	}
	const want = "true false <nil> <nil>"
	if a, b := <-onConn, <-onChannel; a != want || b != want {
		t.Errorf("answers on the connection %s, on the channel %s", a, b)
	}
}

// What a node does after the login, and how the command then ended.
type misbehaviour struct {
	name   string
	script func(p *peer)      // from the running command on
	stdin  string             // if the case needs the client to send
	output string             // what must have been written
	status int                // of an *ExitError; 0: no error; -1: an *Error
	check  func(error) string // what else is wrong with the error
}

func isNoStatus(err error) string {
	if !errors.Is(err, sshclient.ErrNoExitStatus) {
		return "want ErrNoExitStatus"
	}
	return ""
}

func isLost(err error) string {
	if errors.Is(err, sshclient.ErrNoExitStatus) || !strings.Contains(err.Error(), "connection lost") {
		return "want a lost connection"
	}
	return ""
}

func says(want string) func(error) string {
	return func(err error) string {
		if !strings.Contains(err.Error(), want) {
			return "want it to say " + want
		}
		return ""
	}
}

func exitSignal(p *peer, name string) {
	p.send(98, p.theirs, "exit-signal", false, name, false, "\x1b[2Jcore", "")
}

func misbehaviours() []misbehaviour {
	alive := func(p *peer) { // answers the question whether it is still there
		for {
			if packet := p.recv(); packet[0] == 80 {
				p.send(82)
			}
		}
	}
	bye := func(p *peer) { p.exitStatus(0); p.closeChannel(); p.linger() }
	return []misbehaviour{
		// case S07
		{"unimplemented", func(p *peer) { p.send(3, uint32(9)); p.linger() }, "", "", -1, isLost},
		{"disconnect", func(p *peer) { p.send(1, uint32(11), "bye\x1b[2J", ""); p.linger() }, "", "", -1, says(`bye\x1b[2J`)},
		// case S09
		{"global replies nobody waits for", func(p *peer) {
			for range 100 {
				p.send(81)
				p.send(82)
			}
			p.data("fine")
			bye(p)
		}, "", "fine", 0, nil},
		// case S10
		{"window overflow", func(p *peer) { p.send(93, p.theirs, uint32(1<<32-1)); p.linger() }, "", "", -1, isLost},
		{"packet beyond the maximum", func(p *peer) { p.send(94, p.theirs, make([]byte, 40<<10)); p.linger() }, "", "", -1, isLost},
		{"unknown recipient", func(p *peer) { p.send(94, uint32(99), "x"); p.linger() }, "", "", -1, isLost},
		{"request on an unknown channel", func(p *peer) {
			p.send(98, uint32(99), "exit-status", true, uint32(1))
			p.expect(100)
			bye(p)
		}, "", "", 0, nil},
		{"closed twice", func(p *peer) { p.exitStatus(0); p.closeChannel(); p.closeChannel(); p.linger() }, "", "", 0, nil},
		{"data after the end", func(p *peer) {
			p.send(96, p.theirs)
			p.data("late")
			bye(p)
		}, "", "*", 0, nil}, // its own fault if nobody reads it
		{"replies to nothing", func(p *peer) {
			for range 100 {
				p.send(99, p.theirs)
				p.send(100, p.theirs)
			}
			bye(p)
		}, "", "", 0, nil},
		{"opened twice", func(p *peer) { p.send(91, p.theirs, uint32(7), uint32(1), uint32(100)); p.linger() }, "", "", -1, isLost},
		{"short packets", func(p *peer) { p.send(94); p.linger() }, "", "", -1, isLost},
		{"lengths that lie", func(p *peer) { p.raw(p.pack([]byte{94, 0, 0, 0, 0, 255, 255, 255, 255})); p.linger() }, "", "", -1, isLost},
		{"unknown extended data", func(p *peer) { p.send(95, p.theirs, uint32(2), "x"); p.data("y"); bye(p) }, "", "y", 0, nil},
		{"requests without end before the answer", func(p *peer) {
			for range 200 {
				p.send(98, p.theirs, "x\x1b[2J", true)
			}
			bye(p)
		}, "", "", 0, nil},
		// case S11
		{"no exit status", func(p *peer) { p.data("x"); p.closeChannel(); alive(p) }, "", "x", -1, isNoStatus},
		{"no exit status, end of data", func(p *peer) { p.send(96, p.theirs); p.closeChannel(); alive(p) }, "", "", -1, isNoStatus},
		{"connection ends without a word", func(p *peer) { p.data("x") }, "", "x", -1, isLost},
		{"status without close", func(p *peer) { p.data("x"); p.exitStatus(5); p.send(96, p.theirs); p.linger() }, "", "x", 5, nil},
		{"status, then the connection ends", func(p *peer) { p.data("x"); p.exitStatus(5) }, "", "x", 5, nil},
		{"status after the end of data", func(p *peer) { p.send(96, p.theirs); p.exitStatus(6); p.closeChannel(); p.linger() }, "", "", 6, nil},
		{"status 255", func(p *peer) { p.exitStatus(255); p.closeChannel(); p.linger() }, "", "", 255, nil},
		{"status 256", func(p *peer) { p.exitStatus(256); p.closeChannel(); p.linger() }, "", "", 255, says("256")},
		{"status of Windows", func(p *peer) { p.exitStatus(0xC000013A); p.closeChannel(); p.linger() }, "", "", 255, says("3221225786")},
		{"two statuses", func(p *peer) { p.exitStatus(1); p.exitStatus(0); p.closeChannel(); p.linger() }, "", "", 1, nil},
		{"status cut short", func(p *peer) { p.send(98, p.theirs, "exit-status", false); p.closeChannel(); alive(p) }, "", "", -1, isNoStatus},
		{"signal", func(p *peer) { exitSignal(p, "TERM"); p.closeChannel(); p.linger() }, "", "", 143, says("signal TERM")},
		{"unknown signal", func(p *peer) { exitSignal(p, "\x1b[2JX"); p.closeChannel(); p.linger() }, "", "", 255, says(`\x1b[2JX`)},
		{"signal cut short", func(p *peer) { p.send(98, p.theirs, "exit-signal", false, uint32(500)); p.closeChannel(); alive(p) }, "", "", -1, isNoStatus},
		// case S13
		{"forged packet", func(p *peer) {
			packet := p.pack(message(94, p.theirs, "x"))
			packet[len(packet)-1] ^= 1
			p.raw(packet)
			p.linger()
		}, "", "", -1, isLost},
		{"packet that claims 4 GiB", func(p *peer) { p.raw([]byte{255, 255, 255, 255}); p.linger() }, "", "", -1, isLost},
		{"keys out of turn", func(p *peer) { p.send(21); p.linger() }, "", "", -1, isLost},
	}
}

func TestMisbehaviour(t *testing.T) {
	c := newCluster(t)
	for _, tc := range misbehaviours() {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := connectTo(t, newDialer(t, play(c, func(p *peer) {
					p.session()
					tc.script(p)
				})), c.client())
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var out strings.Builder
				err := client.Run(ctx, sshclient.Command{Args: "x", Stdin: strings.NewReader(tc.stdin), Stdout: &out})
				if time.Since(start) > 2*time.Second {
					t.Errorf("it took %v", time.Since(start))
				}
				if tc.output != "*" && out.String() != tc.output {
					t.Errorf("output %q, want %q", &out, tc.output)
				}
				switch {
				case tc.status > 0:
					if got := as[*sshclient.ExitError](t, err).Status; got != tc.status {
						t.Errorf("status %d, want %d", got, tc.status)
					}
				case tc.status == 0 && err != nil:
					t.Error(err)
				case tc.status < 0:
					wantOp(t, err, sshclient.OpSession)
				}
				if err != nil {
					printable(t, err)
				}
				if tc.check != nil {
					if wrong := tc.check(err); wrong != "" {
						t.Errorf("%v; %s", err, wrong)
					}
				}
			})
		})
	}
}

// case S10: sizes at their limits. A packet size below what RFC 4254 needs ends
// the connection, a small one only makes it slow.
func TestChannelSizes(t *testing.T) {
	c := newCluster(t)
	for _, tc := range []struct {
		window, packet uint32
		fails          bool
	}{{1 << 20, 0, true}, {1 << 20, 1, true}, {1 << 20, 1<<32 - 1, true}, {1 << 20, 9, false}, {1, 1 << 15, false}, {1<<32 - 1, 1 << 31, false}} {
		t.Run(fmt.Sprint(tc.window, tc.packet), func(t *testing.T) {
			const input = "some input that must arrive"
			client := connectTo(t, newDialer(t, play(c, func(p *peer) {
				p.logIn()
				p.openChannel(tc.window, tc.packet)
				p.startCommand()
				for got := ""; got != input; {
					packet := p.expect(94)
					got += string(packet[9:])
					if tc.window < 1<<20 {
						p.send(93, p.theirs, binary.BigEndian.Uint32(packet[5:]))
					}
				}
				p.exitStatus(0)
				p.closeChannel()
				p.linger()
			})), c.client())
			_, err := run(t, client, sshclient.Command{Args: "x", Stdin: strings.NewReader(input)})
			if tc.fails {
				wantOp(t, err, sshclient.OpSession)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// case S10: a node that does not care how much room there is.
func TestDataBeyondTheWindow(t *testing.T) {
	c := newCluster(t)
	client := connectTo(t, newDialer(t, play(c, func(p *peer) {
		p.logIn()
		p.openChannel(100, 100)
		for { // nobody reads before the command has been granted
			p.data(strings.Repeat("x", 32<<10))
		}
	})), c.client())
	_, err := run(t, client, sshclient.Command{Args: "x"})
	wantOp(t, err, sshclient.OpSession)
	if wrong := isLost(err); wrong != "" {
		t.Errorf("%v; %s", err, wrong)
	}
}

// case S12: a node that begins to change keys and never ends holds up what we
// send, but neither the end of the session nor our memory.
func TestKeyChangeWithoutEnd(t *testing.T) {
	c := newCluster(t)
	synctest.Test(t, func(t *testing.T) {
		client := connectTo(t, newDialer(t, play(c, func(p *peer) {
			p.session()
			p.raw(p.pack(p.kexInit()))
			p.linger()
		})), c.client())
		start := time.Now()
		var taken atomic.Int64
		input := readerFunc(func(p []byte) (int, error) { taken.Add(int64(len(p))); return len(p), nil })
		err := client.Run(t.Context(), sshclient.Command{Args: "x", Stdin: input})
		if took := time.Since(start); !errors.Is(err, sshclient.ErrNoAnswer) || took > 75*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		if n := taken.Load(); n > 8<<20 {
			t.Errorf("%d bytes of input were taken that could not be sent", n)
		}
	})
}
