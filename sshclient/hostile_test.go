package sshclient_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/sshclient"
)

// refusedDial returns the error of a login on serve, which must fail, in a
// bubble: within its fake half minute, and leaving no goroutine behind.
func refusedDial(t *testing.T, cfg *ssh.ClientConfig, serve func(net.Conn)) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var client *sshclient.Client
		if client, err = sshclient.Dial(t.Context(), newDialer(t, serve), target(), cfg); err == nil {
			client.Close()
			t.Fatal("logged in")
		}
		printable(t, err)
	})
	return err
}

// printable says that an error can be shown on a terminal (cases T01, T05).
func printable(t testing.TB, err error) {
	t.Helper()
	if msg := err.Error(); strings.ContainsAny(msg, "\x1b\r\x00\u009b\u202e") || len(msg) > 6<<10 {
		t.Errorf("error is not fit to be shown: %.200q (%d bytes)", msg, len(msg))
	}
}

// case S01: without strict key exchange no mode is used in which packets can be
// taken out unseen, and the client always asks for it.
func TestPrefixTruncation(t *testing.T) {
	c := newCluster(t)
	server := func(strict bool, ciphers, macs []string) func(net.Conn) {
		return play(c, func(p *peer) {
			p.lists.ciphers, p.lists.macs = ciphers, macs
			if !strict {
				p.lists.kex = p.lists.kex[:1]
			}
			p.session()
			p.exitStatus(0)
			p.closeChannel()
			p.linger()
		})
	}
	chacha := []string{ssh.CipherChaCha20Poly1305}
	ctr := []string{ssh.CipherAES128CTR}
	for _, serve := range []func(net.Conn){
		server(false, chacha, nil),
		server(false, ctr, []string{ssh.HMACSHA256ETM}),
		server(false, ctr, []string{ssh.HMACSHA512ETM, ssh.HMACSHA256}),
	} {
		err := refusedDial(t, c.client(), serve)
		wantOp(t, err, sshclient.OpHandshake)
		if !strings.Contains(err.Error(), "CVE-2023-48795") {
			t.Error(err)
		}
	}
	gcm := []string{ssh.CipherAES128GCM}
	for _, strict := range []bool{true, false} {
		client := connectTo(t, newDialer(t, server(strict, gcm, []string{ssh.HMACSHA256ETM})), c.client())
		if _, err := run(t, client, sshclient.Command{Args: "x"}); err != nil {
			t.Error(err)
		}
	}
	offered := make(chan string, 1)
	refusedDial(t, c.client(), play(c, func(p *peer) {
		p.exchangeVersions()
		p.raw(p.pack(p.kexInit()))
		offered <- string(p.recv())
	}))
	if list := <-offered; !strings.Contains(list, "kex-strict-c-v00@openssh.com") || strings.Contains(list, "sha1") || strings.Contains(list, "cbc") {
		t.Errorf("the client offers %q", list)
	}
}

// case S02: a node must show a certificate of this cluster for this host.
func TestHostCertificates(t *testing.T) {
	c := newCluster(t)
	stranger := newSigner(t)
	names := []string{host}
	bare := newSigner(t)
	for name, key := range map[string]ssh.Signer{
		"plain key":         bare,
		"unknown authority": certify(t, stranger, ssh.HostCert, names),
		"user authority":    certify(t, c.userCA, ssh.HostCert, names),
		"other host":        certify(t, c.hostCA, ssh.HostCert, []string{"web-2", "web-1.example.com"}),
		"every host":        certify(t, c.hostCA, ssh.HostCert, nil),
		"of a user":         certify(t, c.hostCA, ssh.UserCert, names),
		"expired":           certify(t, c.hostCA, ssh.HostCert, names, func(c *ssh.Certificate) { c.ValidBefore = 1000 }),
		"not yet valid":     certify(t, c.hostCA, ssh.HostCert, names, func(c *ssh.Certificate) { c.ValidAfter = 1 << 40 }),
		"critical option": certify(t, c.hostCA, ssh.HostCert, names, func(c *ssh.Certificate) {
			c.CriticalOptions = map[string]string{"unknown\x1b": "x"}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			offered := false
			cfg := c.server()
			cfg.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
				offered = true
				return nil, nil
			}
			cfg = withHostKey(cfg, key)
			err := refusedDial(t, c.client(), (&node{config: cfg}).serve)
			if got := as[*sshclient.HostKeyError](t, err); got.Host != host {
				t.Errorf("%+v", got)
			}
			if offered {
				t.Error("the node was shown our certificate")
			}
		})
	}
}

func withHostKey(cfg *ssh.ServerConfig, key ssh.Signer) *ssh.ServerConfig {
	fresh := &ssh.ServerConfig{
		Config: cfg.Config, ServerVersion: cfg.ServerVersion, PublicKeyCallback: cfg.PublicKeyCallback,
		PasswordCallback: cfg.PasswordCallback, NoClientAuth: cfg.NoClientAuth, BannerCallback: cfg.BannerCallback,
	}
	fresh.AddHostKey(key)
	return fresh
}

// case S02: an authority that is itself a certificate must not be followed, and
// a plain key under the name of a certificate is still a plain key.
func TestForgedHostCertificates(t *testing.T) {
	c := newCluster(t)
	middle := certify(t, c.hostCA, ssh.HostCert, []string{host})
	signer := newSigner(t)
	nested := &ssh.Certificate{
		Key: signer.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{host}, ValidBefore: ssh.CertTimeInfinity,
		Nonce: make([]byte, 32), SignatureKey: middle.PublicKey(),
	}
	nested.Signature, _ = middle.Sign(rand.Reader, []byte("whatever"))
	certSigner, err := ssh.NewCertSigner(nested, signer)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]ssh.Signer{"nested": certSigner, "plain key": signer} {
		t.Run(name, func(t *testing.T) {
			refusedDial(t, c.client(), play(c, func(p *peer) {
				p.host = key
				p.logIn()
				t.Error("logged in")
			}))
		})
	}
}

// case S05: what comes before the version line is bounded, and nothing of it is shown.
func TestPreamble(t *testing.T) {
	c := newCluster(t)
	forever := func(what string) func(net.Conn) {
		return func(conn net.Conn) {
			go io.Copy(io.Discard, conn)
			for {
				if _, err := io.WriteString(conn, what); err != nil {
					return
				}
			}
		}
	}
	for name, serve := range map[string]func(net.Conn){
		"lines without end":      forever("\x1b[2Jwait\r\n"),
		"empty lines":            forever("\n"),
		"a line without end":     forever("x"),
		"a version without end":  func(conn net.Conn) { io.WriteString(conn, "SSH-2.0-"); forever("\x00")(conn) },
		"SSH in the second line": func(conn net.Conn) { io.WriteString(conn, "\x00\x1b\n"); forever("S\nSSH")(conn) },
		"HTTP":                   func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			wantOp(t, refusedDial(t, c.client(), serve), sshclient.OpHandshake)
		})
	}
	// A few lines are allowed, and odd characters in the version hurt nobody.
	for _, version := range []string{"SSH-2.0-\x1b[2J\x00\u202e", "SSH-2.0-Teleport "} {
		client := connectTo(t, newDialer(t, play(c, func(p *peer) {
			p.raw([]byte("Welcome\r\nnot SSH-2.0\r\n"))
			p.version = version
			p.session()
			p.exitStatus(0)
			p.closeChannel()
			p.linger()
		})), c.client())
		if _, err := run(t, client, sshclient.Command{Args: "x", Env: map[string]string{"LANG": "C"}}); err != nil {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

// case S06: the text before the login reaches the caller as it is, at most 64 KiB of it.
func TestBanner(t *testing.T) {
	c := newCluster(t)
	const piece = "\x1b]0;owned\a" // raw: the caller cleans
	for name, tc := range map[string]struct {
		messages []string
		want     string
	}{
		"one":   {[]string{piece}, piece},
		"empty": {[]string{"", piece, ""}, piece},
		"large": {[]string{strings.Repeat("x", 200_000)}, strings.Repeat("x", 64<<10)},
		"flood": {slices.Repeat([]string{strings.Repeat("y", 30_000)}, 40), strings.Repeat("y", 64<<10)},
	} {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			cfg := c.client()
			cfg.BannerCallback = func(message string) error { got.WriteString(message); return nil }
			serve := play(c, func(p *peer) {
				p.exchangeKeys()
				p.acceptService()
				for _, m := range tc.messages {
					p.send(53, m, "")
				}
				p.authenticate()
				p.linger()
			})
			connectTo(t, newDialer(t, serve), cfg)
			if got.String() != tc.want {
				t.Errorf("banner of %d bytes, want %d", got.Len(), len(tc.want))
			}
			cfg.BannerCallback = nil
			connectTo(t, newDialer(t, serve), cfg)
		})
	}
}

// case S15: nothing but the certificate answers whatever the node asks for.
func TestPromptsAreNotAnswered(t *testing.T) {
	c := newCluster(t)
	asked := make(chan string, 10)
	cfg := &ssh.ServerConfig{
		PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			asked <- "password " + string(password)
			return nil, nil
		},
		KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			answers, err := ask("login", "", []string{"Password:"}, []bool{false})
			asked <- fmt.Sprint("keyboard-interactive", answers, err)
			return nil, nil
		},
	}
	cfg.AddHostKey(c.hostKey)
	client := c.client()
	// Even if the configuration holds answers.
	client.Auth = append([]ssh.AuthMethod{ssh.Password("hunter2"), ssh.KeyboardInteractive(
		func(string, string, []string, []bool) ([]string, error) { return []string{"hunter2"}, nil },
	)}, client.Auth...)
	err := refusedDial(t, client, (&node{config: cfg}).serve)
	refused := as[*sshclient.AuthError](t, err)
	slices.Sort(refused.Methods)
	if refused.Login != login || refused.Host != host || !slices.Equal(refused.Methods, []string{"keyboard-interactive", "password"}) {
		t.Errorf("%+v", refused)
	}
	select {
	case what := <-asked:
		t.Errorf("the node was answered: %s", what)
	default:
	}
	// A node that wants a password after the certificate gets none either.
	refused = as[*sshclient.AuthError](t, refusedDial(t, client, play(c, func(p *peer) {
		p.exchangeKeys()
		p.acceptService()
		p.authRequest()
		p.send(51, "publickey,password", false)
		request := p.authRequest()
		p.send(60, request.algo, request.key)
		p.authRequest()
		p.send(51, "password\x1b[2J", true)
		t.Errorf("then came %+v", p.authRequest())
	})))
	if !slices.Equal(refused.Methods, []string{`password\x1b[2J`}) {
		t.Errorf("%+v", refused)
	}
}

// case S16: who needs no proof of who we are, or never has enough of it, is not our node.
func TestTrivialAuthentication(t *testing.T) {
	c := newCluster(t)
	open := &ssh.ServerConfig{NoClientAuth: true}
	open.AddHostKey(c.hostKey)
	err := refusedDial(t, c.client(), (&node{config: open}).serve)
	wantOp(t, err, sshclient.OpHandshake)
	if !strings.Contains(err.Error(), "no proof of identity") {
		t.Error(err)
	}
	attempts := 0
	err = refusedDial(t, c.client(), play(c, func(p *peer) {
		p.exchangeKeys()
		p.acceptService()
		for {
			request := p.authRequest()
			attempts = p.attempts
			if request.method == "publickey" && !request.signed {
				p.send(60, request.algo, request.key)
				continue
			}
			p.send(51, "publickey", true) // partial success
		}
	}))
	as[*sshclient.AuthError](t, err)
	if attempts > 3 {
		t.Errorf("the client tried %d times", attempts)
	}
}

func TestRefusedLogin(t *testing.T) {
	c := newCluster(t)
	err := refusedDial(t, c.client(), (&node{config: func() *ssh.ServerConfig {
		cfg := c.server()
		cfg.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, errors.New("no such login")
		}
		return cfg
	}()}).serve)
	refused := as[*sshclient.AuthError](t, err)
	if refused.Login != login || !slices.Equal(refused.Methods, []string{"publickey"}) || err.Error() != `node web-1 refused the login "alice"` {
		t.Errorf("%+v: %v", refused, err)
	}
	// A node may hang up instead, and say why. Before its host key was checked
	// that is not an answer to a login.
	bye := func(p *peer) { p.send(1, uint32(2), "too many \x1b[31mfailures", "") }
	refused = as[*sshclient.AuthError](t, refusedDial(t, c.client(), play(c, func(p *peer) {
		p.exchangeKeys()
		p.acceptService()
		bye(p)
		p.linger()
	})))
	if refused.Message != `too many \x1b[31mfailures` {
		t.Errorf("%+v", refused)
	}
	wantOp(t, refusedDial(t, c.client(), play(c, func(p *peer) {
		p.exchangeVersions()
		bye(p)
		p.linger()
	})), sshclient.OpHandshake)
	// A connection that breaks during the login is not a refusal.
	wantOp(t, refusedDial(t, c.client(), play(c, func(p *peer) {
		p.exchangeKeys()
		p.acceptService()
		p.authRequest()
	})), sshclient.OpHandshake)
}
