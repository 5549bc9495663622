package devcluster

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	osuser "os/user"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/ssh"
)

const (
	// statusNotStarted is the exit status of a program that cannot start.
	statusNotStarted = 255
	// hangUpGrace is how long a child may take to end after its client left.
	hangUpGrace = time.Second
	// drainGrace is how long a terminal may deliver output after its shell
	// has ended.
	drainGrace = time.Second
	// maxEnv bounds the variables that one session may set.
	maxEnv = 512
)

// session is one session channel: variables, a terminal perhaps, one program.
type session struct {
	nc      *nodeConn
	channel ssh.Channel
	id      string
	env     []string
	pty     *ptyRequest
	child   *child
	untrack func() // once the program has ended
	sftp    bool   // the SFTP subsystem was asked for instead
	refused bool   // the channel is closed once the answer is out
	ended   sync.WaitGroup
	left    chan struct{} // closed when the client is gone
	lent    lentThings
	record  sessionRecord
}

// ptyRequest is the payload of pty-req (RFC 4254, 6.2).
type ptyRequest struct {
	Term          string
	Cols, Rows    uint32
	Width, Height uint32
	Modes         string
}

// windowChange is the payload of window-change (RFC 4254, 6.7).
type windowChange struct{ Cols, Rows, Width, Height uint32 }

// serveSession answers the requests of one channel until the client closes it
// or the connection ends; then nothing of the session is left.
func (nc *nodeConn) serveSession(channel ssh.Channel, requests <-chan *ssh.Request) {
	s := &session{nc: nc, channel: channel, id: uuid.NewString(), left: make(chan struct{})}
	for req := range requests {
		ok := s.handle(req)
		if req.WantReply {
			_ = req.Reply(ok, nil)
		}
		if s.refused {
			_ = channel.Close()
		}
		if ok && (req.Type == "shell" || req.Type == "exec") {
			s.noteStart(req.Type)
			s.begin()
		}
		if ok && req.Type == "subsystem" {
			s.noteStart(req.Type)
			s.ended.Go(s.serveSFTP)
		}
	}
	close(s.left)
	s.lent.close()
	s.ended.Wait()
	_ = channel.Close()
}

// handle answers one request; the reply says whether it was understood and done.
func (s *session) handle(req *ssh.Request) bool {
	if s.nc.refusesRequest(req) {
		return s.fail(s.nc.refusal)
	}
	switch req.Type {
	case "env":
		var kv struct{ Name, Value string }
		return ssh.Unmarshal(req.Payload, &kv) == nil && s.setEnv(kv.Name, kv.Value)
	case "envs@goteleport.com":
		return s.setEnvs(req.Payload)
	case "pty-req":
		return s.openTerminal(req.Payload)
	case "shell":
		return s.start("")
	case "exec":
		var cmd struct{ Command string }
		return ssh.Unmarshal(req.Payload, &cmd) == nil && s.start(cmd.Command)
	case "window-change":
		return s.resize(req.Payload)
	case "signal":
		return s.signal(req)
	case "auth-agent-req@openssh.com":
		return s.lendAgent()
	case "x11-req":
		return s.lendDisplay(req.Payload)
	case "subsystem":
		var sub struct{ Name string }
		return ssh.Unmarshal(req.Payload, &sub) == nil && s.startSubsystem(sub.Name)
	}
	return false
}

// openTerminal makes the program that comes next run on a terminal.
func (s *session) openTerminal(payload []byte) bool {
	p := new(ptyRequest)
	if ssh.Unmarshal(payload, p) != nil || s.child != nil || s.pty != nil {
		return false
	}
	if !ptySupported {
		return s.fail("this node has no terminals on this operating system")
	}
	s.pty = p
	return true
}

// resize changes the size of the terminal, also of one that is not in use yet.
func (s *session) resize(payload []byte) bool {
	var w windowChange
	if ssh.Unmarshal(payload, &w) != nil || s.pty == nil {
		return false
	}
	s.pty.Cols, s.pty.Rows, s.pty.Width, s.pty.Height = w.Cols, w.Rows, w.Width, w.Height
	return s.child == nil || s.child.resize(w) == nil
}

// fail tells the client why a request was refused and closes the channel once
// the answer is out.
func (s *session) fail(text string) bool {
	_, _ = io.WriteString(s.channel.Stderr(), text+"\r\n")
	s.refused = true
	return false
}

// signal delivers a signal to the program. Nodes of 18.x answer a signal that
// wants a reply with no, so that one is not delivered either.
func (s *session) signal(req *ssh.Request) bool {
	var sig struct{ Name string }
	if !req.WantReply && s.child != nil && ssh.Unmarshal(req.Payload, &sig) == nil {
		s.child.signal(sig.Name)
	}
	return false
}

// setEnv takes a variable for the program. Those that change how programs are
// loaded are dropped; the client is not told.
func (s *session) setEnv(name, value string) bool {
	bad := name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) ||
		strings.HasPrefix(name, "LD_") || strings.HasPrefix(name, "DYLD_")
	if !bad && len(s.env) < maxEnv {
		s.env = append(s.env, name+"="+value)
	}
	return true
}

func (s *session) setEnvs(payload []byte) bool {
	var raw struct{ JSON string }
	var vars map[string]string
	if ssh.Unmarshal(payload, &raw) != nil || json.Unmarshal([]byte(raw.JSON), &vars) != nil {
		return false
	}
	for name, value := range vars {
		s.setEnv(name, value)
	}
	return true
}

// start runs the command, or a login shell if it is empty.
func (s *session) start(command string) bool {
	if s.child != nil || s.sftp {
		return false
	}
	s.untrack = s.track() // before the program runs, which may ask for it
	child, err := startChild(childSpec{command: command, env: s.childEnv(), dir: s.nc.cluster.nodeHome(), pty: s.pty})
	if err != nil {
		s.nc.cluster.log.Error("program not started", "node", s.nc.node.hostname, "reason", err)
		child = failedChild(err)
	}
	s.child = child
	return true
}

// begin copies input and output and waits for the program, after the answer to
// its request is out.
func (s *session) begin() {
	if s.pty != nil {
		_, _ = s.channel.SendRequest("current-session-id@goteleport.com", false, []byte(s.id))
	}
	s.ended.Go(s.run)
	// This one ends with the channel, which the client may keep open.
	s.nc.cluster.goFunc(func() {
		_, _ = io.Copy(s.child.stdin, s.channel)
		if s.pty == nil {
			_ = s.child.stdin.Close()
		}
	})
}

// run delivers the output, then the exit status, and closes the channel. If
// the client leaves first, the program and all its children are ended.
func (s *session) run() {
	defer s.noteEnd()
	defer s.untrack()
	c := s.child
	var copies sync.WaitGroup
	copies.Go(func() { s.record.copied(io.Copy(s.channel, c.stdout)) })
	if c.stderr != nil {
		copies.Go(func() { s.record.copied(io.Copy(s.channel.Stderr(), c.stderr)) })
	}
	drained := make(chan struct{})
	go func() {
		copies.Wait()
		close(drained)
	}()
	if s.await(drained) {
		c.hangUp()
		status := c.reap()
		s.record.ends(status)
		_, _ = s.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
		_ = s.channel.Close()
		if s.pty != nil {
			c.hangUpJobs()
		}
	} else {
		c.hangUp()
		c.hangUpJobs()
		select {
		case <-c.exited:
		case <-time.After(hangUpGrace):
		}
		c.kill()
		c.reap()
	}
	c.release()
	<-drained
	_ = s.channel.Close()
}

// await waits until the program has ended and its output is out; false means
// that the client left before.
func (s *session) await(drained <-chan struct{}) bool {
	select {
	case <-s.child.exited:
	case <-s.left:
		return false
	}
	var late <-chan time.Time
	if s.pty != nil {
		timer := time.NewTimer(drainGrace)
		defer timer.Stop()
		late = timer.C
	}
	for {
		select {
		case <-drained:
			return true
		case <-s.left:
			return false
		case <-late:
			s.child.release()
		}
	}
}

// childEnv is the environment of the program: a fresh one, what the client
// sent, and what the node says.
func (s *session) childEnv() []string {
	var env []string
	for _, name := range inheritedEnv() {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	env = append(env, "HOME="+s.nc.cluster.nodeHome(), "SHELL="+loginShell())
	if u, err := osuser.Current(); err == nil {
		env = append(env, "USER="+u.Username, "LOGNAME="+u.Username)
	}
	env = append(env, s.env...)
	set := s.nc.cluster.settings
	clientIP, clientPort, _ := net.SplitHostPort(s.nc.conn.RemoteAddr().String())
	nodeIP, nodePort, _ := net.SplitHostPort(s.nc.node.addr)
	env = append(env,
		fmt.Sprintf("SSH_CLIENT=%s %s %s", clientIP, clientPort, nodePort),
		fmt.Sprintf("SSH_CONNECTION=%s %s %s %s", clientIP, clientPort, nodeIP, nodePort),
		"SSH_SESSION_ID="+s.id,
		"TELEPORT_SESSION="+s.id,
		"SSH_TELEPORT_USER="+s.nc.teleportUser,
		"SSH_TELEPORT_HOST_UUID="+s.nc.node.id,
		"SSH_TELEPORT_CLUSTER_NAME="+set.Name,
		"SSH_SESSION_WEBPROXY_ADDR="+set.PublicAddr,
	)
	if s.pty != nil && !strings.ContainsRune(s.pty.Term, 0) {
		env = append(env, "TERM="+or(s.pty.Term, "xterm"))
	}
	return env
}

func homeDir() string {
	if home, err := os.UserHomeDir(); err == nil {
		if info, err := os.Stat(home); err == nil && info.IsDir() {
			return home
		}
	}
	return string(os.PathSeparator)
}

// failedChild stands for a program that could not be started: it says why and
// has status 255.
func failedChild(err error) *child {
	c := &child{
		stdin: nopWriteCloser{io.Discard}, stdout: io.NopCloser(strings.NewReader("")),
		stderr: io.NopCloser(strings.NewReader(err.Error() + "\r\n")), exited: make(chan struct{}), status: statusNotStarted,
	}
	close(c.exited)
	return c
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }
