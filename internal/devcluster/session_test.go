//go:build unix

package devcluster

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func newSession(t *testing.T, client *ssh.Client) *ssh.Session {
	t.Helper()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// exitStatus is the status that a session ended with, -1 without one.
func exitStatus(err error) int {
	var ee *ssh.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ee):
		return ee.ExitStatus()
	}
	return -1
}

func TestCommands(t *testing.T) {
	f := startCluster(t, nil)
	client := f.sshClient("alice")
	tests := []struct {
		command, stdin, stdout, stderr string
		status                         int
	}{
		{command: "echo out; echo err >&2", stdout: "out\n", stderr: "err\n"},
		{command: "exit 42", status: 42},
		{command: "cat; exit 7", stdin: "through\n", stdout: "through\n", status: 7},
		{command: "kill -TERM $$", status: 128 + 15},
		{command: "no-such-program-here 2>/dev/null", status: 127},
		{command: "head -c 300000 /dev/zero | wc -c | tr -d ' '", stdout: "300000\n"},
	}
	for _, test := range tests {
		t.Run(test.command, func(t *testing.T) {
			s := newSession(t, client)
			var stdout, stderr bytes.Buffer
			s.Stdin, s.Stdout, s.Stderr = strings.NewReader(test.stdin), &stdout, &stderr
			err := s.Run(test.command)
			if exitStatus(err) != test.status || stdout.String() != test.stdout || stderr.String() != test.stderr {
				t.Errorf("%v, %q, %q", err, stdout.String(), stderr.String())
			}
		})
	}
}

func TestLargeTransfer(t *testing.T) {
	f := startCluster(t, nil)
	s := newSession(t, f.sshClient("alice"))
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var out bytes.Buffer
	s.Stdin, s.Stdout = bytes.NewReader(data), &out
	if err := s.Run("cat"); err != nil || !bytes.Equal(out.Bytes(), data) {
		t.Errorf("%v, %d bytes of %d", err, out.Len(), len(data))
	}
}

func TestEnvironment(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.PublicAddr = "tele.example.test:3080" })
	f.Cluster.settings.PublicAddr = "localhost:" + port(t, f.Addr()) // reachable for the login
	client := f.sshClient("alice")
	s := newSession(t, client)
	vars, _ := json.Marshal(map[string]string{"LANG": "C.UTF-8", "LD_PRELOAD": "/x", "SSH_TELEPORT_USER": "mallory", "A=B": "x"})
	if ok, err := s.SendRequest("envs@goteleport.com", true, ssh.Marshal(struct{ S string }{string(vars)})); !ok || err != nil {
		t.Errorf("envs: %v, %v", ok, err)
	}
	if ok, err := s.SendRequest("envs@goteleport.com", true, ssh.Marshal(struct{ S string }{"[]"})); ok || err != nil {
		t.Errorf("bad envs: %v, %v", ok, err)
	}
	for name, value := range map[string]string{"FOO": "bar baz", "DYLD_INSERT_LIBRARIES": "/x"} {
		if err := s.Setenv(name, value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("DEVCLUSTER_PRIVATE", "x")
	out, err := s.Output("env")
	if err != nil {
		t.Fatal(err)
	}
	env := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		env[name] = value
	}
	n := f.nodes[0]
	for name, want := range map[string]string{
		"FOO": "bar baz", "LANG": "C.UTF-8", "SSH_TELEPORT_USER": "alice", "SSH_TELEPORT_HOST_UUID": n.id,
		"SSH_TELEPORT_CLUSTER_NAME": "dev.example", "SSH_SESSION_WEBPROXY_ADDR": f.PublicAddr(),
		"TELEPORT_SESSION": env["SSH_SESSION_ID"], "LD_PRELOAD": "", "DYLD_INSERT_LIBRARIES": "", "DEVCLUSTER_PRIVATE": "", "TERM": "",
	} {
		if env[name] != want {
			t.Errorf("%s=%q, want %q", name, env[name], want)
		}
	}
	if !looksLikeID(env["SSH_SESSION_ID"]) || !strings.HasPrefix(env["SSH_CONNECTION"], "127.0.0.1 ") ||
		!strings.HasSuffix(env["SSH_CONNECTION"], " 127.0.0.1 3022") || !strings.HasSuffix(env["SSH_CLIENT"], " 3022") {
		t.Errorf("%q", env)
	}
}

func port(t *testing.T, addr string) string {
	t.Helper()
	return addr[strings.LastIndexByte(addr, ':')+1:]
}

// expecter reads a terminal until a text comes.
type expecter struct {
	t *testing.T
	r *bufio.Reader
}

func (e *expecter) expect(text string) string {
	e.t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), text) {
		c, err := e.r.ReadByte()
		if err != nil {
			e.t.Fatalf("%v before %q; got %q", err, text, b.String())
		}
		b.WriteByte(c)
		if b.Len() > 1<<16 {
			e.t.Fatalf("no %q in %q…", text, b.String()[:500])
		}
	}
	return b.String()
}

func TestTerminal(t *testing.T) {
	f := startCluster(t, nil)
	client := f.sshClient("alice")
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer channel.Close()
	ids := make(chan string, 1)
	statuses := make(chan uint32, 1)
	go func() {
		for req := range requests {
			switch req.Type {
			case "current-session-id@goteleport.com":
				ids <- string(req.Payload)
			case "exit-status":
				var s struct{ Status uint32 }
				if ssh.Unmarshal(req.Payload, &s) == nil {
					statuses <- s.Status
				}
			}
		}
		close(ids)
	}()
	send := func(want bool, name string, payload any) {
		t.Helper()
		var raw []byte
		if payload != nil {
			raw = ssh.Marshal(payload)
		}
		if ok, err := channel.SendRequest(name, true, raw); err != nil || ok != want {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	send(true, "env", struct{ N, V string }{"PS1", "$ "})
	send(true, "pty-req", &ptyRequest{Term: "xterm-test", Cols: 81, Rows: 25, Width: 648, Height: 400, Modes: "\x00"})
	send(false, "pty-req", &ptyRequest{Term: "xterm", Cols: 1, Rows: 1})
	// Not a login shell: what the profile of whoever runs the tests does is no matter.
	send(true, "exec", struct{ C string }{"exec /bin/sh"})
	send(false, "shell", nil)
	tty := &expecter{t, bufio.NewReader(channel)}
	say := func(line string) {
		if _, err := io.WriteString(channel, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	say(`stty -echo; stty size; echo "$TERM $SSH_TTY"; tty`)
	tty.expect("25 81\r\n")
	got := strings.Fields(tty.expect("\r\n") + tty.expect("\r\n"))
	if len(got) != 3 || got[0] != "xterm-test" || got[1] != got[2] {
		t.Errorf("terminal %q", got)
	}
	if _, err := channel.SendRequest("window-change", false, ssh.Marshal(windowChange{100, 40, 0, 0})); err != nil {
		t.Fatal(err)
	}
	say(`stty size; echo "id=$SSH_SESSION_ID."`)
	tty.expect("40 100\r\n")
	tty.expect("id=")
	if id, want := strings.TrimSuffix(tty.expect("."), "."), <-ids; id != want {
		t.Errorf("session ID %q, announced %q", id, want)
	}
	say("sh -c 'echo on its way; exec sleep 1000'")
	tty.expect("on its way\r\n")
	if _, err := io.WriteString(channel, "\x03"); err != nil {
		t.Fatal(err)
	}
	say("echo back; exit 5")
	tty.expect("back\r\n")
	if status := <-statuses; status != 5 {
		t.Errorf("status %d", status)
	}
	if _, err := io.Copy(io.Discard, tty.r); err != nil {
		t.Error(err)
	}
}

func TestLoginShell(t *testing.T) {
	f := startCluster(t, nil)
	t.Setenv("HOME", t.TempDir())
	s := newSession(t, f.sshClient("alice"))
	s.Stdin = strings.NewReader("pwd; exit 6\n")
	out, err := s.Output("")
	if exitStatus(err) != 6 || !strings.HasSuffix(string(out), os.Getenv("HOME")+"\n") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestSignals(t *testing.T) {
	f := startCluster(t, nil)
	s := newSession(t, f.sshClient("alice"))
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.05; done"); err != nil {
		t.Fatal(err)
	}
	e := &expecter{t, bufio.NewReader(out)}
	e.expect("ready\n")
	// One that wants a reply is refused and not delivered.
	if ok, err := s.SendRequest("signal", true, ssh.Marshal(struct{ S string }{"KILL"})); ok || err != nil {
		t.Errorf("with reply: %v, %v", ok, err)
	}
	if err := s.Signal(ssh.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	e.expect("caught\n")
	if err := s.Wait(); exitStatus(err) != 9 {
		t.Error(err)
	}
}

func TestRefusedRequests(t *testing.T) {
	f := startCluster(t, nil)
	client := f.sshClient("alice")
	for _, name := range []string{"x11-req", "break", "nope", "window-change", "env", "pty-req", "exec"} {
		s := newSession(t, client)
		if ok, err := s.SendRequest(name, true, nil); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
		// The session goes on.
		if out, err := s.Output("echo on"); err != nil || string(out) != "on\n" {
			t.Errorf("after %s: %q, %v", name, out, err)
		}
	}
	s := newSession(t, client)
	stderr, err := s.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestSubsystem("nope"); err == nil {
		t.Error("a subsystem that does not exist was accepted")
	}
	if text, _ := io.ReadAll(stderr); !strings.Contains(string(text), "no such subsystem: nope") {
		t.Errorf("stderr %q", text)
	}
}

func TestProgramThatCannotStart(t *testing.T) {
	f := startCluster(t, nil)
	client := f.sshClient("alice")
	s := newSession(t, client)
	// Linux takes no argument of more than 128 KiB; other systems have other limits.
	var stderr bytes.Buffer
	s.Stderr = &stderr
	if err := s.Run("true " + strings.Repeat("x", 200<<10)); exitStatus(err) != statusNotStarted && exitStatus(err) != 0 {
		t.Error(err)
	} else if exitStatus(err) == statusNotStarted && stderr.Len() == 0 {
		t.Error("nothing on stderr")
	}
}

// waitGone returns when no process of that number is there.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		// A zombie that an outer init has not reaped yet is gone, too.
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// startStubborn runs a command that ignores SIGHUP with children that do, and
// returns the numbers of all.
func startStubborn(t *testing.T, s *ssh.Session) []int {
	t.Helper()
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(`trap "" HUP; sleep 1000 & sleep 1001 & echo $$ $! ; wait`); err != nil {
		t.Fatal(err)
	}
	line := (&expecter{t, bufio.NewReader(out)}).expect("\n")
	var pids []int
	for _, field := range strings.Fields(line) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func TestNothingOutlivesTheClient(t *testing.T) {
	leave := map[string]func(f *fixture, client *ssh.Client, s *ssh.Session){
		"session closed":    func(_ *fixture, _ *ssh.Client, s *ssh.Session) { _ = s.Close() },
		"connection closed": func(_ *fixture, client *ssh.Client, _ *ssh.Session) { _ = client.Close() },
		"cluster closed":    func(f *fixture, _ *ssh.Client, _ *ssh.Session) { _ = f.Close() },
	}
	for name, f := range leave {
		for _, terminal := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, terminal %v", name, terminal), func(t *testing.T) {
				t.Parallel() // each waits for the grace that a stubborn program has
				fx := startCluster(t, nil)
				client := fx.sshClient("alice")
				s := newSession(t, client)
				if terminal {
					if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
						t.Fatal(err)
					}
				}
				pids := startStubborn(t, s)
				f(fx, client, s)
				for _, pid := range pids {
					waitGone(t, pid)
				}
			})
		}
	}
}

// Output that a background process still writes is waited for, as OpenSSH does;
// one that has let go of the streams is hung up when the command ends.
func TestBackgroundProcess(t *testing.T) {
	f := startCluster(t, nil)
	client := f.sshClient("alice")
	out, err := newSession(t, client).Output("(sleep 0.2; echo late) & echo early")
	if err != nil || string(out) != "early\nlate\n" {
		t.Errorf("%q, %v", out, err)
	}
	file := filepath.Join(t.TempDir(), "pid")
	out, err = newSession(t, client).Output("sleep 1000 >/dev/null 2>&1 </dev/null & echo $! | tee " + file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	waitGone(t, pid)
}
