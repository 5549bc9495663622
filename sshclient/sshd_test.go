//go:build linux || darwin

package sshclient_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/sshclient"
)

// sshd is OpenSSH's server as a dialer: one process for each connection, with
// the connection as its standard input, as inetd would start it.
type sshd struct {
	path, config string
	wg           sync.WaitGroup
}

// startSSHD prepares an sshd that has a host certificate and lets in who has a
// user certificate, with the permissions given beside that for a terminal; it
// returns the client's configuration as well.
func startSSHD(t *testing.T, permits ...string) (*sshd, *ssh.ClientConfig, sshclient.Target) {
	t.Helper()
	path := testenv.Program(t, "sshd")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if me.Uid == "0" {
		// sshd as root wants an empty directory to lock its unprivileged half into.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			testenv.Missing(t, "sshd as root needs /run/sshd: "+err.Error())
		}
	}
	c := newCluster(t)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	hostKey, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{
		Key: hostKey, CertType: ssh.HostCert, KeyId: "interop", ValidPrincipals: []string{host}, ValidBefore: ssh.CertTimeInfinity,
	}
	if err := cert.SignCert(rand.Reader, c.hostCA); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("HostKey %s\nHostCertificate %s\nTrustedUserCAKeys %s\nAuthorizedKeysFile none\nPidFile none\n"+
		"UsePAM no\nStrictModes no\nPermitRootLogin yes\nAcceptEnv LANG LC_*\nLogLevel VERBOSE\nPrintMotd no\nPrintLastLog no\n"+
		"Subsystem sftp internal-sftp\nBanner %s\nSetEnv HOME=%s\n", // not the developer's dot files
		write("host", pem.EncodeToMemory(block)), write("host-cert.pub", ssh.MarshalAuthorizedKey(cert)),
		write("user_ca.pub", ssh.MarshalAuthorizedKey(c.userCA.PublicKey())), write("banner", []byte("authorised use only\n")), dir)
	d := &sshd{path: path, config: write("sshd_config", []byte(config))}
	t.Cleanup(d.wg.Wait)
	if out, err := exec.Command(path, "-t", "-f", d.config).CombinedOutput(); err != nil {
		t.Fatalf("sshd -t: %v\n%s", err, out)
	}
	c.user = certify(t, c.userCA, ssh.UserCert, []string{me.Username}, func(cert *ssh.Certificate) {
		cert.Extensions = map[string]string{"permit-pty": ""}
		for _, permit := range permits {
			cert.Extensions[permit] = ""
		}
	})
	return d, c.client(), sshclient.Target{Login: me.Username, Host: host}
}

func (d *sshd) DialNode(context.Context, string, string) (net.Conn, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	server, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	defer server.Close()
	file, err := server.(*net.TCPConn).File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd := exec.Command(d.path, "-i", "-e", "-f", d.config)
	cmd.Stdin, cmd.Stdout = file, file
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d.wg.Go(func() {
		_ = cmd.Wait() // its status is that of the connection's end
		if os.Getenv("SSHD_LOG") != "" {
			fmt.Fprintln(os.Stderr, log.String())
		}
	})
	return client, nil
}

// Interoperation with OpenSSH, on one connection.
func TestOpenSSH(t *testing.T) {
	d, cfg, target := startSSHD(t)
	var banner strings.Builder
	cfg.BannerCallback = func(s string) error { banner.WriteString(s); return nil }
	client, err := sshclient.Dial(deadline(t), d, target, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if banner.String() != "authorised use only\n" {
		t.Errorf("banner %q", &banner)
	}
	t.Run("streams and status", func(t *testing.T) {
		var out, errs strings.Builder
		err := client.Run(deadline(t), sshclient.Command{
			Args: `read line; echo "out $line $LANG"; echo err >&2; exit 42`, Stdin: strings.NewReader("in\n"),
			Stdout: &out, Stderr: &errs, Env: map[string]string{"LANG": "C.UTF-8", "NOT_ACCEPTED": "x"},
		})
		if as[*sshclient.ExitError](t, err).Status != 42 || out.String() != "out in C.UTF-8\n" || errs.String() != "err\n" {
			t.Errorf("%v, stdout %q, stderr %q", err, &out, &errs)
		}
	})
	t.Run("success", func(t *testing.T) {
		if out, err := run(t, client, sshclient.Command{Args: "echo hi"}); out != "hi\n" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
	})
	t.Run("killed", func(t *testing.T) {
		_, err := run(t, client, sshclient.Command{Args: "kill -TERM $$"})
		if exit := as[*sshclient.ExitError](t, err); exit.Signal != "TERM" || exit.Status != 143 {
			t.Errorf("%+v", exit)
		}
	})
	t.Run("shell", func(t *testing.T) {
		out, err := run(t, client, sshclient.Command{Stdin: strings.NewReader("echo from the shell\nexit 3\n")})
		if as[*sshclient.ExitError](t, err).Status != 3 || !strings.Contains(out, "from the shell") {
			t.Errorf("%q, %v", out, err)
		}
	})
	t.Run("large", func(t *testing.T) {
		const size = 64 << 20
		h := sha256.New()
		err := client.Run(deadline(t), sshclient.Command{Args: "cat", Stdin: &pattern{left: size}, Stdout: h})
		if err != nil || hex.EncodeToString(h.Sum(nil)) != patternSum(size) {
			t.Errorf("64 MiB through cat: %v", err)
		}
	})
	t.Run("input nobody reads", func(t *testing.T) {
		if _, err := run(t, client, sshclient.Command{Args: "true", Stdin: &pattern{left: 1 << 40}}); err != nil {
			t.Error(err)
		}
	})
	t.Run("terminal", func(t *testing.T) { testTerminal(t, client) })
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		keys, typed := io.Pipe()
		defer typed.Close()
		err := client.Run(ctx, sshclient.Command{
			Args: "echo; exec cat", Stdin: keys, // cat ends when its input does
			Stdout: writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }),
		})
		wantOp(t, err, sshclient.OpSession)
	})
}

// A real terminal has a device, a name, a size that follows ours, and ends a
// program when the interrupt key is typed.
func testTerminal(t *testing.T, client *sshclient.Client) {
	resize := make(chan sshclient.Size, 1)
	keys, typed := io.Pipe()
	defer typed.Close()
	screen := &screen{wait: map[string]func(){
		"ready":   func() { resize <- sshclient.Size{Cols: 132, Rows: 43} },
		"resized": func() { typed.Write([]byte{3}) },
	}}
	err := client.Run(deadline(t), sshclient.Command{
		Args: `tty; echo $TERM; stty size; trap 'stty size; echo resized' WINCH; trap 'exit 9' INT; echo ready; while :; do sleep 0.05; done`,
		PTY:  &sshclient.PTY{Term: "vt220", Size: sshclient.Size{Cols: 80, Rows: 24}, Resize: resize}, Stdin: keys, Stdout: screen,
	})
	if as[*sshclient.ExitError](t, err).Status != 9 {
		t.Error(err)
	}
	for _, want := range []string{"/dev/", "vt220", "24 80", "43 132"} {
		if !strings.Contains(screen.text, want) {
			t.Errorf("no %q on the terminal:\n%s", want, screen.text)
		}
	}
}

// screen does something once when a word appears.
type screen struct {
	text string
	wait map[string]func()
}

func (s *screen) Write(p []byte) (int, error) {
	s.text += string(p)
	for word, then := range s.wait {
		if strings.Contains(s.text, word) {
			delete(s.wait, word)
			go then()
		}
	}
	return len(p), nil
}

// The node is the one that decides; OpenSSH must refuse what is not its own.
func TestOpenSSHRefuses(t *testing.T) {
	d, cfg, target := startSSHD(t)
	target.Login = "daemon"
	_, err := sshclient.Dial(deadline(t), d, target, cfg)
	if got := as[*sshclient.AuthError](t, err); got.Login != "daemon" {
		t.Errorf("%+v", got)
	}
	stranger := newCluster(t)
	_, err = sshclient.Dial(deadline(t), d, target, stranger.client())
	as[*sshclient.HostKeyError](t, err)
	target.Host = "web-2"
	_, err = sshclient.Dial(deadline(t), d, target, cfg)
	as[*sshclient.HostKeyError](t, err)
}
