package proxy

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// deafConn reads on but lets nobody hear of it once it is deaf.
type deafConn struct {
	net.Conn
	deaf atomic.Bool
}

func (d *deafConn) Read(p []byte) (int, error) {
	for {
		n, err := d.Conn.Read(p)
		if err != nil || !d.deaf.Load() {
			return n, err
		}
	}
}

// startDeafSSH is an SSH server that grants the first request in a channel and from then on
// does nothing: not even the end of the channel is answered. The channel that it returns
// gets a token when a connection has ended.
func startDeafSSH(t *testing.T) (addr string, ended <-chan struct{}) {
	t.Helper()
	host, err := ssh.NewSignerFromSigner(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{}, 4)
	p := startPeer(t, func(raw net.Conn) {
		config := &ssh.ServerConfig{NoClientAuth: true}
		config.AddHostKey(host)
		conn := &deafConn{Conn: raw}
		server, channels, requests, err := ssh.NewServerConn(conn, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		_, asked, err := (<-channels).Accept()
		if err != nil {
			return
		}
		req := <-asked
		conn.deaf.Store(true)
		_ = req.Reply(true, nil)
		_ = server.Wait()
		over <- struct{}{}
	})
	return p.addr, over
}

// Who hangs behind an SSH server that hangs too, is left when the time is up: neither the
// call nor the connection stays.
func TestSSHServerThatHangs(t *testing.T) {
	ca := newAuthority(t, "example.com")
	for name, dial := range map[string]func(context.Context, *Config) (net.Conn, error){
		"tunnel":    func(ctx context.Context, c *Config) (net.Conn, error) { return c.DialTunnel(ctx) },
		"SSH proxy": func(ctx context.Context, c *Config) (net.Conn, error) { return DialAuth(ctx, *c) },
	} {
		t.Run(name, func(t *testing.T) {
			addr, ended := startDeafSSH(t)
			cfg := &Config{SSHAddr: addr, Cluster: "example.com", TLS: clientIdentity(t, ca, nil)}
			cfg.SSH = func() (*ssh.ClientConfig, error) {
				return &ssh.ClientConfig{User: "alice", HostKeyCallback: ssh.InsecureIgnoreHostKey()}, nil
			}
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			defer cancel()
			failed := make(chan error, 1)
			go func() {
				_, err := dial(ctx, cfg)
				failed <- err
			}()
			late := time.After(10 * time.Second)
			select {
			case err := <-failed:
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			case <-late:
				t.Fatal("it goes on after the deadline")
			}
			select {
			case <-ended:
			case <-late:
				t.Error("the connection stays")
			}
		})
	}
}
