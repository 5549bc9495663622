package networktest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

const (
	// canary begins every secret; none may be shown.
	canary        = "canary-"
	alicePassword = canary + "password-alice"
	proxyPassword = canary + "proxy-password"
	// name is one that no resolver knows: what reaches it went through a proxy.
	name = "tele.test"
	// patience limits every wait.
	patience = 60 * time.Second
)

// testOnlyDir is removed after all tests.
var testOnlyDir string

// testOnlyProgram builds tsh once for all tests that need it.
var testOnlyProgram = sync.OnceValues(func() (string, error) {
	path := filepath.Join(testOnlyDir, "tsh")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/tsh").CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if testOnlyDir, err = os.MkdirTemp("", "networktest-"); err != nil {
		panic(err)
	}
	status := m.Run()
	_ = os.RemoveAll(testOnlyDir)
	os.Exit(status)
}

// world is a person at a machine.
type world struct {
	t       *testing.T
	program string
	env     []string
}

func newWorld(t *testing.T, env ...string) *world {
	t.Helper()
	program, err := testOnlyProgram()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	base := []string{"HOME=" + home, "TELEPORT_HOME=" + filepath.Join(home, "state"), "PATH=" + os.Getenv("PATH"), "NO_COLOR=1", "LANG=C.UTF-8"}
	return &world{t, program, append(base, env...)}
}

// with is the same machine with more in the environment.
func (w *world) with(env ...string) *world {
	return &world{w.t, w.program, append(append([]string{}, w.env...), env...)}
}

// run runs tsh; whatever it shows holds no secret.
func (w *world) run(input string, args ...string) (stdout, stderr string, err error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.program, args...)
	var out, problems bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = w.env, strings.NewReader(input), &out, &problems
	err = cmd.Run()
	// case L23
	if all := out.String() + problems.String(); strings.Contains(all, canary) || strings.Contains(all, "Y2FuYXJ5") {
		w.t.Errorf("tsh %v shows a secret:\n%s", args, all)
	}
	return out.String(), problems.String(), err
}

// must runs what has to work.
func (w *world) must(input string, args ...string) string {
	w.t.Helper()
	out, problems, err := w.run(input, args...)
	if err != nil {
		w.t.Fatalf("tsh %v: %v\n%s%s", args, err, out, problems)
	}
	return out
}

// fails runs what has to fail, saying so in these words.
func (w *world) fails(words, input string, args ...string) {
	w.t.Helper()
	out, problems, err := w.run(input, args...)
	if err == nil || !strings.Contains(problems, words) {
		w.t.Errorf("tsh %v: %v, want %q\n%s%s", args, err, words, out, problems)
	}
}

func (w *world) login(proxy string, args ...string) {
	w.t.Helper()
	w.must(alicePassword+"\n", append([]string{"login", "--proxy=" + proxy, "--user=alice", "--password-stdin", "--debug"}, args...)...)
}

// journey looks around and runs a command on a server.
func (w *world) journey() {
	w.t.Helper()
	if out := w.must("", "ls", "--debug"); !strings.Contains(out, "node-1") {
		w.t.Errorf("ls: %s", out)
	}
	if out := w.must("", "ssh", "--debug", "root@node-1", "echo it works"); out != "it works\n" {
		w.t.Errorf("ssh: %q", out)
	}
}

// stored is what the profile of a proxy says.
func (w *world) stored(proxy string) string {
	w.t.Helper()
	for _, v := range w.env {
		if home, ok := strings.CutPrefix(v, "TELEPORT_HOME="); ok {
			data, err := os.ReadFile(filepath.Join(home, proxy+".yaml"))
			if err != nil {
				w.t.Fatal(err)
			}
			return string(data)
		}
	}
	return ""
}

// startCluster starts a cluster that alice may use.
func startCluster(t *testing.T, change func(*devcluster.Config)) *devcluster.Cluster {
	t.Helper()
	cfg := devcluster.Config{Dir: t.TempDir(), Addr: "127.0.0.1:0", PublicAddr: name + ":443", SecondFactor: "off", PasswordCost: 4, NoRateLimit: true, Home: t.TempDir()}
	if change != nil {
		change(&cfg)
	}
	c, err := devcluster.Start(context.WithoutCancel(t.Context()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.AddUser(devcluster.UserSpec{Name: "alice", Password: alicePassword, Roles: []string{"access"}, Logins: []string{"root"}}); err != nil {
		t.Fatal(err)
	}
	return c
}

// freePort is a port that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// daemon runs a program until the test is over, and waits until it listens.
func daemon(t *testing.T, addr, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(testenv.Program(t, program), args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		ended <- nil
	})
	waitUntil(t, func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", program, err, said.String())
		default:
		}
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// waitUntil returns once it is so; what another program does cannot be waited
// for otherwise.
func waitUntil(t *testing.T, so func() bool) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-late.C:
			t.Fatal("it does not happen")
		case <-again.C:
		}
	}
}

// relay is a port that leads to another, and counts.
type relay struct {
	listens string
	conns   atomic.Int32
}

func startRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r := &relay{listens: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.conns.Add(1)
			go splice(conn, to)
		}
	}()
	return r
}

// splice copies both ways until either ends.
func splice(conn net.Conn, to string) {
	defer conn.Close()
	far, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	go func() {
		_, _ = io.Copy(far, conn)
		_ = far.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(conn, far)
}

// certify makes an authority and a certificate of it for localhost and name, in
// PEM files.
func certify(t *testing.T) (caFile, certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	caKey, key := newKey(), newKey()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "load balancer CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	issuer := testenv.Issuer{Cert: ca, Key: caKey}
	ca = issuer.Sign(t, ca, caKey.Public())
	issuer.Cert = ca
	cert := issuer.Sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "load balancer"}, DNSNames: []string{"localhost", name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key.Public())
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(file, kind string, data []byte) string {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("ca.pem", "CERTIFICATE", ca.Raw), write("cert.pem", "CERTIFICATE", cert.Raw), write("key.pem", "PRIVATE KEY", der)
}
