package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seed-087d674e/tsh/internal/wire"
)

func TestDialNode(t *testing.T) {
	ca := newAuthority(t, "example.com")
	hello := make(chan []string, 1)
	cfg := clusterServer(t, ca)
	cfg.GetConfigForClient = helloTo(hello)
	early := make(chan struct{})
	server := startTransport(t, cfg, func(s *service) error {
		first, err := s.recv()
		if want := "0a16" + "0a07" + hexOf("web-1:0") + "120b" + hexOf("example.com"); err != nil || hexOf(string(first)) != want || s.method != methodProxySSH {
			t.Errorf("%s began with %x, %v", s.method, first, err)
		}
		// The client's first bytes come before we have said anything.
		if b, err := s.recvFrame(); err != nil || string(b) != "SSH-2.0-x\r\n" {
			t.Errorf("early frame %q, %v", b, err)
		}
		close(early)
		if s.details() != nil || s.sendFrame("SSH-2.0-") != nil || s.sendFrame("") != nil || s.SendMsg([]byte{}) != nil || s.sendFrame("node\r\n") != nil {
			t.Error("sending failed")
		}
		var got []byte
		sizes := 0
		for len(got) < 100000 {
			b, err := s.recvFrame()
			if err != nil || len(b) > 16<<10 {
				t.Errorf("frame of %d bytes, %v", len(b), err)
				return err
			}
			got, sizes = append(got, b...), sizes+1
		}
		if sizes != 7 {
			t.Errorf("%d frames", sizes)
		}
		return s.sendFrame("bye")
	})
	tr := dialTransport(t, server.config(t, ca))
	conn, err := tr.DialNode(testContext(t), "web-1:0", "example.com")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "SSH-2.0-x\r\n"); err != nil {
		t.Fatal(err)
	}
	<-early
	line := make([]byte, len("SSH-2.0-node\r\n"))
	if _, err := io.ReadFull(conn, line); err != nil || string(line) != "SSH-2.0-node\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if n, err := conn.Write(bytes.Repeat([]byte("x"), 100000)); n != 100000 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if rest, err := io.ReadAll(conn); string(rest) != "bye" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	if got, want := <-hello, []string{"6578616d706c652e636f6d.teleport.cluster.local", "teleport-proxy-ssh-grpc", "h2"}; !slices.Equal(got, want) {
		t.Errorf("hello %q", got)
	}
	if conn.RemoteAddr().String() != "web-1:0" || conn.Close() != nil || server.conns.Load() != 1 {
		t.Errorf("%v, %d connections", conn.RemoteAddr(), server.conns.Load())
	}
}

// Clusters of version 14 negotiate no ALPN on this connection.
func TestDialNodeWithoutALPN(t *testing.T) {
	ca := newAuthority(t, "example.com")
	cfg := clusterServer(t, ca)
	cfg.NextProtos = nil
	server := startTransport(t, cfg, func(s *service) error {
		_, _ = s.recv()
		return s.details()
	})
	conn, err := dialTransport(t, server.config(t, ca)).DialNode(testContext(t), "n:0", "example.com")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
}

func TestDialNodeErrors(t *testing.T) {
	ca := newAuthority(t, "example.com")
	server := startTransport(t, clusterServer(t, ca), func(s *service) error {
		b, _ := s.recv()
		var m wire.ProxySSHRequest
		_ = wire.Unmarshal(b, &m)
		switch m.DialTarget.HostPort {
		case "offline:0":
			return status.Error(codes.Unavailable, "target host offline is offline or does not exist")
		case "uuid:0":
			return status.Error(codes.NotFound, "unable to locate node matching UUID-like target uuid")
		case "two:0":
			return status.Error(codes.NotFound, "ambiguous host could match multiple nodes\n\terr-node-is-ambiguous")
		case "old:0":
			return status.Error(codes.Unavailable, "err-node-is-ambiguous")
		case "denied:0":
			return status.Error(codes.PermissionDenied, "no\x1b[2J")
		case "broken:0":
			return s.SendMsg([]byte{0x80})
		case "later:0":
			_ = s.details()
			_ = s.sendFrame("x")
			return status.Error(codes.Unavailable, "the node went away")
		}
		return nil // "the first bytes are no SSH"
	})
	tr := dialTransport(t, server.config(t, ca))
	for target, want := range map[string]struct {
		missing, ambiguous, denied bool
		text                       string
	}{
		"offline:0": {missing: true, text: "target host offline is offline or does not exist"},
		"uuid:0":    {missing: true, text: "unable to locate node"},
		"two:0":     {ambiguous: true, text: "multiple nodes\n    \terr-"},
		"old:0":     {ambiguous: true, text: "err-node"},
		"denied:0":  {denied: true, text: `no\x1b[2J`},
		"silent:0":  {text: "before it reached silent:0"},
		"later:0":   {missing: true, text: "the node went away"},
	} {
		conn, err := tr.DialNode(testContext(t), target, "example.com")
		if err == nil {
			_, err = io.ReadAll(conn)
			if _, werr := conn.Write([]byte("SSH-2.0-x\r\n")); werr == nil {
				t.Errorf("%s: writing works after the end", target)
			}
			_ = conn.Close()
		}
		var failed *NodeError
		if !errors.As(err, &failed) || failed.Missing() != want.missing || failed.Ambiguous() != want.ambiguous ||
			failed.Denied() != want.denied || !strings.Contains(err.Error(), want.text) || failed.Target != target {
			t.Errorf("%s: %v", target, err)
		}
	}
	conn, err := tr.DialNode(testContext(t), "broken:0", "example.com")
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("a message that is none: %v", err)
	}
	if server.conns.Load() != 1 {
		t.Errorf("%d connections", server.conns.Load())
	}
}

// Who only writes learns why the proxy has refused, too: an SSH client sends its
// version before it reads.
func TestWritersLearnWhyTheProxyRefused(t *testing.T) {
	ca := newAuthority(t, "example.com")
	server := startTransport(t, clusterServer(t, ca), func(s *service) error {
		_, _ = s.recv()
		_ = s.SendHeader(metadata.Pairs("version", "18.3.0")) // so that the status comes alone, after it
		return status.Error(codes.NotFound, "ambiguous host could match multiple nodes")
	})
	tr := dialTransport(t, server.config(t, ca))
	for range 20 {
		conn, err := tr.DialNode(testContext(t), "two:0", "example.com")
		for err == nil {
			_, err = conn.Write([]byte("SSH-2.0-x\r\n"))
		}
		var failed *NodeError
		if !errors.As(err, &failed) || !failed.Ambiguous() {
			t.Fatalf("error %v", err)
		}
	}
}

// idleServer says that nodes named reached-… have been reached, and no more
// until the call ends, which it reports.
func idleServer(t *testing.T) (*transportServer, *Transport, <-chan struct{}) {
	ca := newAuthority(t, "example.com")
	ended := make(chan struct{}, 3)
	server := startTransport(t, clusterServer(t, ca), func(s *service) error {
		b, _ := s.recv()
		if bytes.Contains(b, []byte("reached")) {
			_ = s.details()
			_ = s.sendFrame("x")
		}
		<-s.Context().Done()
		ended <- struct{}{}
		return nil
	})
	return server, dialTransport(t, server.config(t, ca)), ended
}

// The context ends the attempt to reach the node, and nothing after that.
func TestDialNodeContext(t *testing.T) {
	_, tr, ended := idleServer(t)
	why := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(testContext(t))
	conn, err := tr.DialNode(ctx, "never:0", "example.com")
	if err != nil {
		t.Fatal(err)
	}
	cancel(why)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, why) {
		t.Errorf("reading after the context: %v", err)
	}
	<-ended

	ctx, cancel = context.WithCancelCause(testContext(t))
	if conn, err = tr.DialNode(ctx, "reached:0", "example.com"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel(why)
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Errorf("the context of the dial ended the connection: %v", err)
	}
	_ = conn.Close()
	<-ended
}

func TestDialNodeEnds(t *testing.T) {
	server, tr, ended := idleServer(t)
	for name, tt := range map[string]struct {
		end  func(net.Conn) error
		want error
	}{
		"a deadline that passes":  {func(c net.Conn) error { return c.SetReadDeadline(time.Now().Add(time.Millisecond)) }, os.ErrDeadlineExceeded},
		"one that has passed":     {func(c net.Conn) error { return c.SetDeadline(time.Now().Add(-time.Second)) }, os.ErrDeadlineExceeded},
		"a deadline for writing":  {func(c net.Conn) error { return c.SetWriteDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"closed while it is read": {net.Conn.Close, net.ErrClosed},
	} {
		conn, err := tr.DialNode(testContext(t), "reached:0", "example.com")
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
		read := make(chan error, 1)
		go func() {
			_, err := io.ReadAll(conn)
			read <- err
		}()
		if err := tt.end(conn); err != nil {
			t.Error(err)
		}
		<-ended // the server was told
		if err := <-read; !errors.Is(err, tt.want) {
			t.Errorf("%s: reading: %v", name, err)
		}
		if _, err := conn.Write([]byte("x")); !errors.Is(err, tt.want) {
			t.Errorf("%s: writing: %v", name, err)
		}
	}
	if server.conns.Load() != 1 {
		t.Errorf("%d connections", server.conns.Load())
	}
}

// case N17: what the proxy says of itself does not matter, its certificate does.
func TestDialVerifiesTheCluster(t *testing.T) {
	ca, other := newAuthority(t, "example.com"), newAuthority(t, "example.com")
	server := startTransport(t, clusterServer(t, other), func(*service) error { return nil })
	cfg := server.config(t, ca)
	cfg.Insecure = true // concerns only web servers
	for _, dial := range []func() error{
		func() error { _, err := Dial(testContext(t), cfg); return err },
		func() error { _, err := DialAuth(testContext(t), cfg); return err },
	} {
		err := dial()
		var trust *TrustError
		if err == nil || errors.As(err, &trust) || !strings.Contains(err.Error(), "does not prove to belong to cluster example.com") {
			t.Errorf("another authority: %v", err)
		}
	}
	web := startTLS(t, serverConfig(t, ca), func(*tls.Conn) {}) // the right authority, an ordinary name
	cfg.WebAddr = web.addr
	if _, err := Dial(testContext(t), cfg); err == nil || !strings.Contains(err.Error(), "does not prove") {
		t.Errorf("a certificate for another name: %v", err)
	}
	// A leaf cluster that the identity trusts too is not the root cluster.
	leaf := newAuthority(t, "leaf.example.com")
	posing := startTransport(t, clusterServer(t, leaf), func(*service) error { return nil })
	cfg = posing.config(t, ca)
	cfg.TLS.RootCAs.AddCert(leaf.cert)
	if _, err := Dial(testContext(t), cfg); err == nil || !strings.Contains(err.Error(), "another cluster's authority") {
		t.Errorf("a leaf that poses as the root: %v", err)
	}
	cfg.Cluster = ""
	if _, err := Dial(testContext(t), cfg); err == nil {
		t.Error("dialled without a cluster")
	}
}

func TestExpiredIdentity(t *testing.T) {
	ca := newAuthority(t, "example.com")
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		server := clusterServer(t, ca)
		server.MinVersion, server.MaxVersion = version, version
		s := startTransport(t, server, func(*service) error { return nil })
		cfg := s.config(t, ca)
		cfg.TLS = clientIdentity(t, ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
		tr, err := Dial(testContext(t), cfg)
		if err == nil { // TLS 1.3: the server says so after the handshake
			defer func() { _ = tr.Close() }()
			var conn net.Conn
			if conn, err = tr.DialNode(testContext(t), "n:0", "example.com"); err == nil {
				_, err = conn.Read(make([]byte, 1))
			}
		}
		if !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), s.addr) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Without TLS routing the auth server is reached through the transport service.
func TestDialAuthThroughTransport(t *testing.T) {
	ca := newAuthority(t, "example.com")
	inner := clusterServer(t, ca)
	hello := make(chan []string, 1)
	inner.GetConfigForClient = helloTo(hello)
	ended := make(chan struct{})
	server := startTransport(t, clusterServer(t, ca), func(s *service) error {
		defer close(ended)
		first, err := s.recv()
		if err != nil || string(first) != "\x0a\x0bexample.com" || s.method != methodProxyCluster {
			t.Errorf("%s began with %x, %v", s.method, first, err)
		}
		secured := tls.Server(&clusterStream{service: s}, inner)
		_, err = io.Copy(secured, secured)
		return err
	})
	cfg := server.config(t, ca)
	cfg.SSHAddr, cfg.WebAddr, cfg.TLSRouting = cfg.WebAddr, "", false
	conn, err := DialAuth(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(conn, "echo") }()
	got := make([]byte, 4)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "echo" {
		t.Errorf("%q, %v", got, err)
	}
	if got := <-hello; !slices.Equal(got, []string{"6578616d706c652e636f6d.teleport.cluster.local", "h2"}) {
		t.Errorf("hello %q", got)
	}
	_ = conn.Close()
	<-ended
	if server.conns.Load() != 1 {
		t.Errorf("%d connections", server.conns.Load())
	}
}
