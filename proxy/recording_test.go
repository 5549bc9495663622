package proxy

import (
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/wire"
)

// watchedAgent sets SSH_AUTH_SOCK to an agent that counts who comes.
func watchedAgent(t *testing.T) *atomic.Int32 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Skipf("no sockets: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("SSH_AUTH_SOCK", path)
	var came atomic.Int32
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			_ = conn.Close()
		}
	}()
	return &came
}

// listKeys is the request of the agent protocol that lists keys, with its length.
const listKeys = "\x00\x00\x00\x01\x0b"

// case P02: a proxy that says it records sessions and asks for the agent, in frames of the
// transport service. It gets no byte of one, and none of the connection is lost over it.
func TestAgentFramesAreNotAnswered(t *testing.T) {
	came := watchedAgent(t)
	ca := newAuthority(t, "example.com")
	answered := make(chan int, 1)
	s := startTransport(t, clusterServer(t, ca), func(s *service) error {
		if _, err := s.recv(); err != nil {
			return err
		}
		agent := wire.Marshal(&wire.ProxySSHResponse{Agent: &wire.Frame{Payload: []byte(listKeys)}})
		// In the first answer as well, and in one message with what belongs to the connection.
		_ = s.SendMsg(wire.Marshal(&wire.ProxySSHResponse{Details: &wire.ClusterDetails{}, Agent: &wire.Frame{Payload: []byte(listKeys)}}))
		_ = s.SendMsg(agent)
		_ = s.sendFrame("SSH-2.0-Teleport\r\n")
		_ = s.SendMsg(agent)
		_ = s.SendMsg(wire.Marshal(&wire.ProxySSHResponse{SSH: &wire.Frame{Payload: []byte("rest")}, Agent: &wire.Frame{Payload: []byte(listKeys)}}))
		frames := 0
		for {
			b, err := s.recv()
			if err != nil {
				answered <- frames
				return nil
			}
			var m wire.ProxySSHRequest
			if wire.Unmarshal(b, &m) != nil || m.Agent != nil {
				frames++
			}
		}
	})
	conn, err := dialTransport(t, s.config(t, ca)).DialNode(testContext(t), "node:0", "example.com")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "SSH-2.0-tsh\r\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len("SSH-2.0-Teleport\r\nrest"))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "SSH-2.0-Teleport\r\nrest" {
		t.Errorf("%q, %v", got, err)
	}
	_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	if n := <-answered; n != 0 || came.Load() != 0 {
		t.Errorf("%d frames of an agent, which was asked %d times", n, came.Load())
	}
	_ = conn.Close()
}

// case P02: the SSH server of a proxy, which says that it records, and opens what would
// reach the agent. It is not asked whether it does, is offered no agent, and gets none.
func TestSSHProxyGetsNoAgent(t *testing.T) {
	came := watchedAgent(t)
	ca := newAuthority(t, "example.com")
	host, err := ssh.NewSignerFromSigner(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked []string
	note := func(kind string) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, kind)
	}
	opened := make(chan error, 2)
	p := startPeer(t, func(raw net.Conn) {
		config := &ssh.ServerConfig{NoClientAuth: true}
		config.AddHostKey(host)
		conn, channels, requests, err := ssh.NewServerConn(raw, config)
		if err != nil {
			return
		}
		go func() {
			for req := range requests {
				note(req.Type)
				_ = req.Reply(true, ssh.Marshal(struct{ Recording, FIPS bool }{true, false}))
			}
		}()
		for _, kind := range []string{"auth-agent@openssh.com", "auth-agent"} {
			_, _, err := conn.OpenChannel(kind, nil)
			opened <- err
		}
		for ch := range channels {
			channel, requests, err := ch.Accept()
			if err != nil {
				return
			}
			for req := range requests {
				note(req.Type)
				_ = req.Reply(true, nil)
				_, _ = io.WriteString(channel, "SSH-2.0-Teleport\r\n")
			}
		}
	})
	cfg := Config{SSHAddr: p.addr, Cluster: "example.com", TLS: clientIdentity(t, ca, nil)}
	cfg.SSH = func() (*ssh.ClientConfig, error) {
		return &ssh.ClientConfig{User: "alice", HostKeyCallback: ssh.InsecureIgnoreHostKey()}, nil
	}
	conn, err := dialTransport(t, cfg).DialNode(testContext(t), "node:0", "example.com")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if line := make([]byte, 18); true {
		if _, err := io.ReadFull(conn, line); err != nil || !strings.HasPrefix(string(line), "SSH-2.0-") {
			t.Errorf("%q, %v", line, err)
		}
	}
	for range 2 {
		if err := <-opened; err == nil {
			t.Error("a channel to the agent was accepted")
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(asked, []string{"subsystem"}) || came.Load() != 0 {
		t.Errorf("the proxy was asked %q, the agent %d times", asked, came.Load())
	}
}
