package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/rpc"
)

// A proxy with a port for SSH serves the transport service there. One that does not, or
// has something in front of it that only lets SSH through, is asked in the way of old:
// as an SSH server whose subsystems are connections.

// maxRefusal bounds what is read of the reason for a refusal.
const maxRefusal = 4 << 10

// closePatience is how long the end of a channel may take.
const closePatience = dialTimeout

// mayBeSSH reports whether err, of a TLS handshake, may be due to an SSH server at the
// other end: it says so, or ends what it does not understand.
func (c *Config) mayBeSSH(err error) bool {
	if err == nil || c.TLSRouting || c.AnyCluster || c.SSH == nil {
		return false
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return string(record.RecordHeader[:4]) == "SSH-"
	}
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

// sshProxy is a connection to the SSH server of a proxy.
type sshProxy struct {
	client *ssh.Client
	addr   string
	made   time.Time
	over   chan struct{} // closed when the connection has ended
}

// connectSSH makes the transport one that asks the SSH server, if that lets us in.
func (t *Transport) connectSSH(ctx context.Context) (*sshProxy, error) {
	t.mu.Lock()
	current := t.ssh
	t.mu.Unlock()
	if current != nil {
		select {
		case <-current.over:
		default:
			return current, nil
		}
	}
	fresh, err := t.cfg.dialSSH(ctx)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.overSSH, t.ssh = true, fresh
	t.allSSH = append(t.allSSH, fresh)
	if t.closed {
		_ = fresh.client.Close()
		return nil, net.ErrClosed
	}
	return fresh, nil
}

// asksSSH reports whether the SSH server is what is asked.
func (t *Transport) asksSSH() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.overSSH
}

// dialOverSSH connects to what a subsystem of the SSH server names.
func (t *Transport) dialOverSSH(ctx context.Context, remote, subsystem string) (net.Conn, error) {
	p, err := t.connectSSH(ctx)
	if err != nil {
		return nil, err
	}
	return p.open(ctx, remote, "session", "subsystem", ssh.Marshal(struct{ Name string }{subsystem}))
}

// renewSSH is Renew for the SSH server.
func (t *Transport) renewSSH(age time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ssh != nil && time.Since(t.ssh.made) >= age {
		t.ssh = nil
	}
}

// closeSSH ends all connections to the SSH server.
func (t *Transport) closeSSH() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, p := range t.allSSH {
		_ = p.client.Close()
	}
}

// dialSSH logs in to the SSH server of the proxy, which has to prove with a host
// certificate that it is one of the cluster.
func (c *Config) dialSSH(ctx context.Context) (*sshProxy, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	config, err := c.SSH()
	if err != nil {
		return nil, err
	}
	raw, err := c.raw(ctx)
	if err != nil {
		return nil, err
	}
	return logInSSH(ctx, raw, c.SSHAddr, config)
}

// logInSSH logs in to the SSH server of a proxy at the other end of raw, which it closes
// if that fails.
func logInSSH(ctx context.Context, raw net.Conn, addr string, config *ssh.ClientConfig) (*sshProxy, error) {
	// No SHA-1, no CBC; and nothing that does not notice when packets are taken out of the
	// stream at its start (CVE-2023-48795), whether the server has the answer to that or not.
	config.KeyExchanges = []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519, ssh.KeyExchangeECDHP256,
		ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521, ssh.KeyExchangeDH14SHA256}
	config.Ciphers = []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR}
	config.MACs = []string{ssh.HMACSHA256, ssh.HMACSHA512}
	stop := closeOnDone(ctx, raw)
	conn, channels, requests, err := ssh.NewClientConn(raw, addr, config)
	if err != nil {
		stop()
		_ = raw.Close()
		return nil, &netError{addr, fmt.Errorf("its SSH server: %w", causeOr(ctx, err))}
	}
	stop()
	slog.Debug("connected", "addr", addr, "for", "SSH")
	p := &sshProxy{ssh.NewClient(conn, channels, requests), addr, time.Now(), make(chan struct{})}
	go func() {
		_ = p.client.Wait()
		close(p.over)
	}()
	return p, nil
}

// open has the proxy connect to remote, which is what a request in a channel of that kind asks for.
func (p *sshProxy) open(ctx context.Context, remote, kind, request string, payload []byte) (net.Conn, error) {
	type opened struct {
		conn net.Conn
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		conn, err := p.request(remote, kind, request, payload)
		done <- opened{conn, err}
	}()
	select {
	case o := <-done:
		return o.conn, o.err
	case <-ctx.Done():
		go func() {
			if o := <-done; o.conn != nil {
				_ = o.conn.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

func (p *sshProxy) request(remote, kind, request string, payload []byte) (net.Conn, error) {
	channel, requests, err := p.client.OpenChannel(kind, nil)
	if err != nil {
		return nil, &netError{p.addr, err}
	}
	ended := make(chan struct{})
	go func() {
		ssh.DiscardRequests(requests)
		close(ended)
	}()
	accepted, err := channel.SendRequest(request, true, payload)
	if err == nil && accepted {
		go io.Copy(io.Discard, channel.Stderr())
		return &channelConn{Channel: channel, remote: remote, ended: ended, whole: p.client}, nil
	}
	said, _ := io.ReadAll(io.LimitReader(channel.Stderr(), maxRefusal))
	_ = channel.Close()
	message := string(bytes.TrimSpace(said))
	if message == "" {
		message = "the proxy does not connect to " + remote
	}
	code := rpc.Unavailable
	if strings.Contains(message, "access denied") {
		code = rpc.PermissionDenied
	}
	return nil, &NodeError{Target: remote, Message: message, code: code}
}

// channelConn is a connection carried by a channel.
type channelConn struct {
	_ [0]func() // never compared
	ssh.Channel
	remote string
	ended  <-chan struct{} // by both sides
	whole  io.Closer       // what the channel is in
	alone  bool            // nothing else is in it

	mu     sync.Mutex
	timers [2]*time.Timer
	late   bool
}

func (c *channelConn) Read(p []byte) (int, error) {
	n, err := c.Channel.Read(p)
	return n, c.explain(err)
}

func (c *channelConn) Write(p []byte) (int, error) {
	n, err := c.Channel.Write(p)
	return n, c.explain(err)
}

// carriedAlone has conn, if it is a channel, end with all that it is in.
func carriedAlone(conn net.Conn, whole io.Closer) {
	if c, ok := conn.(*channelConn); ok {
		c.whole, c.alone = whole, true
	}
}

// Close implements net.Conn. To end a channel is to ask the other side, and reads wait for
// the answer; who gives none has all ended.
func (c *channelConn) Close() error {
	if c.alone {
		return c.whole.Close()
	}
	time.AfterFunc(closePatience, func() {
		select {
		case <-c.ended:
		default:
			_ = c.whole.Close()
		}
	})
	return c.Channel.Close()
}

func (c *channelConn) explain(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && c.late {
		return os.ErrDeadlineExceeded
	}
	return err
}

// LocalAddr implements net.Conn.
func (c *channelConn) LocalAddr() net.Addr { return streamAddr("local") }

// RemoteAddr implements net.Conn: what was asked for.
func (c *channelConn) RemoteAddr() net.Addr { return streamAddr(c.remote) }

// SetDeadline implements net.Conn; one that passes ends the connection.
func (c *channelConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn, see SetDeadline.
func (c *channelConn) SetReadDeadline(t time.Time) error { return c.setTimer(0, t) }

// SetWriteDeadline implements net.Conn, see SetDeadline.
func (c *channelConn) SetWriteDeadline(t time.Time) error { return c.setTimer(1, t) }

func (c *channelConn) setTimer(which int, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timers[which] != nil {
		c.timers[which].Stop()
		c.timers[which] = nil
	}
	if !t.IsZero() {
		c.timers[which] = time.AfterFunc(time.Until(t), func() {
			c.mu.Lock()
			c.late = true
			c.mu.Unlock()
			_ = c.Close()
		})
	}
	return nil
}
