package devcluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

func TestEncodedNames(t *testing.T) {
	for name, want := range map[string]string{
		"example.com":   "6578616d706c652e636f6d.teleport.cluster.local",
		"probe.example": "70726f62652e6578616d706c65.teleport.cluster.local",
	} {
		if got := encodeCluster(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
		if got, ok := decodeCluster(want); !ok || got != name {
			t.Errorf("%s: %s %v", want, got, ok)
		}
	}
	if name, ok := decodeCluster(clusterSuffix); !ok || name != "" {
		t.Error("no cluster given")
	}
	for _, bad := range []string{"", "xyz." + clusterSuffix, "example.com"} {
		if _, ok := decodeCluster(bad); ok {
			t.Errorf("%q decoded", bad)
		}
	}
}

// tlsDial shakes hands and waits for what the server says about it.
func (f *fixture) tlsDial(cfg *tls.Config) (*tls.ConnectionState, error) {
	f.t.Helper()
	return f.tlsDialAt(f.Addr(), cfg)
}

func (f *fixture) tlsDialAt(addr string, cfg *tls.Config) (*tls.ConnectionState, error) {
	f.t.Helper()
	conn, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	state := conn.ConnectionState()
	if cfg.GetClientCertificate == nil {
		return &state, nil
	}
	// In TLS 1.3 the server judges the client's certificate after the client
	// is done: its HTTP/2 settings, or an alert, come next.
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		return nil, err
	}
	if _, err := conn.Read(make([]byte, 9)); err != nil {
		return nil, err
	}
	return &state, nil
}

func TestRoutes(t *testing.T) {
	f := startCluster(t, nil)
	l := f.login(nil)
	web := f.webClient().Transport.(interface{ CloseIdleConnections() })
	defer web.CloseIdleConnections()
	roots := x509.NewCertPool()
	roots.AddCert(f.auths.web.tlsCert)
	encoded := encodeCluster(f.Name())
	asWeb := func(protos ...string) *tls.Config {
		return &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: protos, Time: f.clock.Now}
	}
	named := func(cfg *tls.Config, sni string) *tls.Config {
		cfg.ServerName = sni
		return cfg
	}
	tests := []struct {
		name   string
		cfg    *tls.Config
		proto  string
		issuer *x509.Certificate // nil: refused
	}{
		{"no list", asWeb(), "", f.auths.web.tlsCert},
		{"http", asWeb("http/1.1"), "http/1.1", f.auths.web.tlsCert},
		{"browser", asWeb("h2", "http/1.1"), "http/1.1", f.auths.web.tlsCert},
		{"h2 only", asWeb("h2"), "h2", f.auths.web.tlsCert},
		{"by address", named(asWeb(), "127.0.0.1"), "", f.auths.web.tlsCert},
		{"upgrade probe", asWeb(alpnTunnel), alpnTunnel, f.auths.web.tlsCert},
		{"unknown, then http", asWeb("nope", "http/1.1"), "http/1.1", f.auths.web.tlsCert},
		{"unknown", asWeb("nope"), "", nil},
		{"legacy ssh", asWeb("teleport-proxy-ssh"), "", nil},
		{"transport", f.tlsConfig(l, alpnSSH, alpnH2), alpnH2, f.auths.host.tlsCert},
		{"transport without h2", f.tlsConfig(l, alpnSSH), alpnSSH, f.auths.host.tlsCert},
		{"auth", f.tlsConfig(l, alpnAuth+encoded, alpnH2), alpnH2, f.auths.host.tlsCert},
		{"auth of no cluster", f.tlsConfig(l, alpnAuth+clusterSuffix, alpnH2), alpnH2, f.auths.host.tlsCert},
		{"auth by SNI alone", f.tlsConfig(l, alpnH2), "", nil}, // the names are what routes
		{"auth of another", f.tlsConfig(l, alpnAuth+encodeCluster("leaf"), alpnH2), "", nil},
		{"auth of nonsense", f.tlsConfig(l, alpnAuth+"zz."+clusterSuffix, alpnH2), "", nil},
		{"transport without certificate", named(asWeb(alpnSSH, alpnH2), encoded), "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			state, err := f.tlsDial(test.cfg)
			if test.issuer == nil {
				if err == nil {
					t.Fatal("connected")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if state.NegotiatedProtocol != test.proto {
				t.Errorf("protocol %q, want %q", state.NegotiatedProtocol, test.proto)
			}
			leaf := state.PeerCertificates[0]
			if err := leaf.CheckSignatureFrom(test.issuer); err != nil {
				t.Error(err)
			}
			if test.issuer == f.auths.host.tlsCert && (leaf.Subject.CommonName != f.settings.HostID+"."+f.Name() ||
				attribute(leaf, attrCluster) != f.Name() || !slices.Equal(leaf.DNSNames, []string{"*." + clusterSuffix, clusterSuffix})) {
				t.Errorf("host certificate %v %v", leaf.Subject, leaf.DNSNames)
			}
		})
	}
}

func TestHTTP2OnTheWeb(t *testing.T) {
	f := startCluster(t, nil)
	client := f.webClient()
	tr := client.Transport.(*http.Transport)
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetHTTP2(true)
	resp, err := client.Get("https://" + f.PublicAddr() + "/webapi/find")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK {
		t.Errorf("%s %s", resp.Proto, resp.Status)
	}
}

func TestPublicAddress(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.PublicAddr = "tele.example.test:443" })
	if f.PublicAddr() != "tele.example.test:443" {
		t.Error(f.PublicAddr())
	}
	roots := x509.NewCertPool()
	roots.AddCert(f.auths.web.tlsCert)
	for _, name := range []string{"tele.example.test", "localhost", "127.0.0.1", "::1"} {
		if _, err := f.tlsDial(&tls.Config{RootCAs: roots, ServerName: name, Time: f.clock.Now}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClientCertificates(t *testing.T) {
	f := startCluster(t, nil)
	l := f.login(func(m map[string]any) { m["ttl"] = time.Hour })
	cfg := func(version uint16) *tls.Config {
		c := f.tlsConfig(l, alpnSSH, alpnH2)
		c.MaxVersion = version
		return c
	}
	versions := []uint16{tls.VersionTLS12, tls.VersionTLS13}
	for _, v := range versions {
		if _, err := f.tlsDial(cfg(v)); err != nil {
			t.Fatal(err)
		}
		chain := cfg(v)
		chain.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{l.tlsCert.Raw, f.auths.user.tlsCert.Raw}, PrivateKey: l.tlsKey}, nil
		}
		if _, err := f.tlsDial(chain); err == nil {
			t.Error("a chain was accepted")
		}
	}
	other := startCluster(t, func(c *Config) { c.Name = f.Name() })
	foreign := other.login(nil)
	mixed := cfg(tls.VersionTLS13)
	mixed.GetClientCertificate = other.tlsConfig(foreign).GetClientCertificate
	if _, err := f.tlsDial(mixed); err == nil {
		t.Error("a certificate of another cluster was accepted")
	}
	f.clock.Advance(time.Hour + time.Second)
	for _, v := range versions {
		_, err := f.tlsDial(cfg(v))
		if err == nil || !strings.Contains(err.Error(), "tls: expired certificate") {
			t.Errorf("expired, TLS %x: %v", v, err)
		}
	}
}

func TestAuthThroughProxyCluster(t *testing.T) {
	f := startCluster(t, nil)
	l := f.login(nil)
	tr := f.transport(l)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := tr.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/"+transportName+"/ProxyCluster")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(&pb.ProxyClusterRequest{Cluster: f.Name()}); err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		for {
			resp := new(pb.ProxyClusterResponse)
			if stream.RecvMsg(resp) != nil {
				_ = far.Close()
				return
			}
			if _, err := far.Write(resp.Frame.Payload); err != nil {
				return
			}
		}
	}()
	go func() {
		buf := make([]byte, 1000)
		for {
			n, err := far.Read(buf)
			if err != nil {
				return
			}
			if stream.SendMsg(&pb.ProxyClusterRequest{Frame: &pb.Frame{Payload: slices.Clone(buf[:n])}}) != nil {
				return
			}
		}
	}()
	used := false
	cc, err := grpc.NewClient("passthrough:///auth", grpc.WithTransportCredentials(noCredentials{}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			if used {
				return nil, errors.New("one connection only")
			}
			used = true
			conn := tls.Client(near, f.tlsConfig(l, alpnH2))
			return conn, conn.HandshakeContext(ctx)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	resp := new(pb.PingResponse)
	if err := cc.Invoke(t.Context(), "/proto.AuthService/Ping", new(pb.Empty), resp); err != nil {
		t.Fatal(err)
	}
	if host, _, _ := net.SplitHostPort(resp.RemoteAddr); host != "127.0.0.1" || resp.ClusterName != f.Name() {
		t.Errorf("ping: %v", resp)
	}
}
