package devcluster

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// testClock is a time that tests set.
type testClock struct {
	mu sync.Mutex
	t  time.Time
}

func newTestClock() *testClock { return &testClock{t: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)} }

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *testClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// fixture is a running cluster with one user, alice.
type fixture struct {
	*Cluster
	t      *testing.T
	clock  *testClock
	secret string
}

const alicePassword = "correct horse battery"

func startCluster(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	clock := newTestClock()
	cfg := Config{Dir: t.TempDir(), Addr: "127.0.0.1:0", Clock: clock.Now, PasswordCost: bcrypt.MinCost, NoRateLimit: true}
	if change != nil {
		change(&cfg)
	}
	c, err := Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	f := &fixture{Cluster: c, t: t, clock: clock}
	en, err := c.AddUser(UserSpec{Name: "alice", Password: alicePassword, Roles: []string{"access"}, Logins: []string{"root", "alice"}})
	if err != nil {
		t.Fatal(err)
	}
	f.secret = en.TOTPSecret
	return f
}

func (f *fixture) code() string {
	f.t.Helper()
	code, err := totp.GenerateCode(f.secret, f.clock.Now())
	if err != nil {
		f.t.Fatal(err)
	}
	return code
}

// webClient trusts the cluster's own web CA and nothing else.
func (f *fixture) webClient() *http.Client {
	f.t.Helper()
	raw, err := os.ReadFile(f.CAFile())
	if err != nil {
		f.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(raw)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Time: f.clock.Now}}
	f.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// do makes one call and returns the answer with its body.
func (f *fixture) do(method, path, body string) (*http.Response, []byte) {
	f.t.Helper()
	req, err := http.NewRequest(method, "https://"+f.PublicAddr()+path, bytes.NewReader([]byte(body)))
	if err != nil {
		f.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := f.webClient().Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp, raw
}

// login is what a client has after a login.
type login struct {
	resp       loginResponse
	sshPrivate crypto.Signer
	sshKey     ssh.Signer
	sshCert    *ssh.Certificate
	tlsKey     crypto.Signer
	tlsCert    *x509.Certificate
	hostCAs    *x509.CertPool
}

// finish makes the body of a finish request with fresh keys.
func finishBody(t *testing.T, l *login, change func(map[string]any)) string {
	t.Helper()
	_, sshKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l.sshPrivate = sshKey
	if l.sshKey, err = ssh.NewSignerFromSigner(sshKey); err != nil {
		t.Fatal(err)
	}
	tlsKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l.tlsKey = tlsKey
	der, err := x509.MarshalPKIXPublicKey(tlsKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	req := map[string]any{
		"user": "alice", "password": alicePassword, "webauthn_challenge_response": nil,
		"ssh_pub_key": ssh.MarshalAuthorizedKey(l.sshKey.PublicKey()),
		"tls_pub_key": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		"ttl":         12 * time.Hour, "RouteToCluster": "", "KubernetesCluster": "",
	}
	change(req)
	raw, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// login logs alice in; change may alter the request.
func (f *fixture) login(change func(map[string]any)) *login {
	f.t.Helper()
	l := new(login)
	body := finishBody(f.t, l, func(m map[string]any) {
		if f.secret != "" {
			m["totp_code"] = f.code()
		}
		if change != nil {
			change(m)
		}
	})
	resp, raw := f.do(http.MethodPost, "/webapi/mfa/login/finish", body)
	if resp.StatusCode != http.StatusOK {
		f.t.Fatalf("finish: %s %s", resp.Status, raw)
	}
	if err := json.Unmarshal(raw, &l.resp); err != nil {
		f.t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(l.resp.Cert)
	if err != nil {
		f.t.Fatal(err)
	}
	l.sshCert = key.(*ssh.Certificate)
	l.tlsCert = parseCert(f.t, l.resp.TLSCert)
	l.hostCAs = x509.NewCertPool()
	l.hostCAs.AppendCertsFromPEM(l.resp.HostSigners[0].TLSCerts[0])
	return l
}

func parseCert(t *testing.T, b []byte) *x509.Certificate {
	t.Helper()
	block, rest := pem.Decode(b)
	if block == nil || len(rest) > 0 {
		t.Fatalf("not one PEM block: %q", b)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// tlsConfig is that of the client's connections B and C.
func (f *fixture) tlsConfig(l *login, protos ...string) *tls.Config {
	return &tls.Config{
		RootCAs: l.hostCAs, ServerName: encodeCluster(f.Name()), NextProtos: protos, Time: f.clock.Now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{l.tlsCert.Raw}, PrivateKey: l.tlsKey}, nil
		},
	}
}

// dial opens a gRPC connection by the given ALPN list.
func (f *fixture) dial(l *login, protos ...string) *grpc.ClientConn {
	f.t.Helper()
	return f.dialAt(f.Addr(), l, protos...)
}

func (f *fixture) dialAt(address string, l *login, protos ...string) *grpc.ClientConn {
	f.t.Helper()
	cfg := f.tlsConfig(l, protos...)
	cc, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", addr)
		}),
		grpc.WithTransportCredentials(noCredentials{}))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// noCredentials leave the connection as the dialer made it.
type noCredentials struct{ handshaken }

func (noCredentials) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return conn, authInfo{}, nil
}

func (n noCredentials) Clone() credentials.TransportCredentials { return n }

func (f *fixture) auth(l *login) *grpc.ClientConn {
	return f.dial(l, alpnAuth+encodeCluster(f.Name()), alpnH2)
}

func (f *fixture) transport(l *login) *grpc.ClientConn { return f.dial(l, alpnSSH, alpnH2) }

// streamConn is the bytes of a ProxySSH stream as a connection.
type streamConn struct {
	net.Conn
	cancel context.CancelFunc
}

func (s *streamConn) Close() error {
	s.cancel()
	return s.Conn.Close()
}

// proxySSH opens a stream to a target and waits for the details.
func (f *fixture) proxySSH(cc *grpc.ClientConn, target string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := cc.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/"+transportName+"/ProxySSH")
	if err != nil {
		cancel()
		return nil, err
	}
	if err := stream.SendMsg(&pb.ProxySSHRequest{DialTarget: &pb.TargetHost{HostPort: target, Cluster: f.Name()}}); err != nil {
		cancel()
		return nil, err
	}
	first := new(pb.ProxySSHResponse)
	if err := stream.RecvMsg(first); err != nil {
		cancel()
		return nil, err
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		for {
			resp := new(pb.ProxySSHResponse)
			if stream.RecvMsg(resp) != nil {
				return
			}
			if _, err := far.Write(resp.GetSsh().GetPayload()); err != nil {
				return
			}
		}
	}()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := far.Read(buf)
			if err != nil {
				return
			}
			if stream.SendMsg(&pb.ProxySSHRequest{Frame: &pb.ProxySSHRequest_Ssh{Ssh: &pb.Frame{Payload: append([]byte(nil), buf[:n]...)}}}) != nil {
				return
			}
		}
	}()
	return &streamConn{near, cancel}, nil
}

// ssh connects to a node as a client does that checks the host certificate.
func (f *fixture) ssh(l *login, cc *grpc.ClientConn, host, user string) (*ssh.Client, error) {
	conn, err := f.proxySSH(cc, host+":0")
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewCertSigner(l.sshCert, l.sshKey)
	if err != nil {
		return nil, err
	}
	ca, _, _, _, err := ssh.ParseAuthorizedKey(l.resp.HostSigners[0].CheckingKeys[0])
	if err != nil {
		return nil, err
	}
	checker := &ssh.CertChecker{
		Clock: f.clock.Now,
		IsHostAuthority: func(auth ssh.PublicKey, _ string) bool {
			return bytes.Equal(auth.Marshal(), ca.Marshal())
		},
	}
	sc, chans, reqs, err := ssh.NewClientConn(conn, host+":22", &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: checker.CheckHostKey,
	})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return ssh.NewClient(sc, chans, reqs), nil
}

func TestWholePath(t *testing.T) {
	for _, suite := range []string{suiteBalanced, suiteLegacy} {
		t.Run(suite, func(t *testing.T) {
			f := startCluster(t, func(c *Config) { c.Suite = suite })
			resp, raw := f.do(http.MethodGet, "/webapi/ping", "")
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("ping: %s %s", resp.Status, raw)
			}
			l := f.login(nil)
			list := new(pb.ListUnifiedResourcesResponse)
			err := f.auth(l).Invoke(t.Context(), "/proto.AuthService/ListUnifiedResources", &pb.ListUnifiedResourcesRequest{Kinds: []string{"node"}}, list)
			if err != nil {
				t.Fatal(err)
			}
			if len(list.Resources) != 1 || list.Resources[0].Node.Spec.Hostname != "node-1" {
				t.Fatalf("resources: %v", list)
			}
			client, err := f.ssh(l, f.transport(l), "node-1", "alice")
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			session, err := client.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			out, err := session.Output("echo hi; exit 3")
			if ee, ok := err.(*ssh.ExitError); !ok || ee.ExitStatus() != 3 || string(out) != "hi\n" {
				t.Fatalf("exec: %q, %v", out, err)
			}
		})
	}
}
