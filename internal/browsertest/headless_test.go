package browsertest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

const (
	headlessPassword = "canary-password-alice"
	// headlessPatience is what any step of the story may take.
	headlessPatience = time.Minute
)

// Somebody runs tsh ssh --headless on a machine without anything, opens the link that it
// shows in a browser elsewhere, and decides there with a security key.
func TestHeadlessInBrowser(t *testing.T) {
	c := startHeadlessCluster(t)
	tsh := buildHeadlessTsh(t)
	b := startHeadlessBrowser(t, c)
	b.registerKey(t, c)

	t.Run("approved", func(t *testing.T) {
		run := startHeadlessRun(t, c, tsh)
		b.open(t, run.link)
		b.shoot(t, "headless-1-sign-in.png")
		b.signIn(t)
		b.shoot(t, "headless-2-request.png")
		if got := b.text(t, "#id"); got != run.id {
			t.Errorf("the page shows id %s, the terminal %s", got, run.id) // case L25
		}
		if who, from := b.text(t, "#who"), b.text(t, "#from"); who != "alice" || !strings.HasPrefix(from, "127.0.0.1:") {
			t.Errorf("the page shows %s from %s", who, from)
		}
		b.click(t, "#approve", "Approved.")
		b.shoot(t, "headless-3-approved.png")
		if status := run.wait(t); status != 0 || run.out.String() != "hello\n" {
			t.Errorf("exit status %d, output %q, stderr:\n%s", status, run.out.String(), run.err.String())
		}
		run.nothingOnDisk(t)
	})
	t.Run("denied", func(t *testing.T) {
		run := startHeadlessRun(t, c, tsh)
		b.open(t, run.link)
		b.signIn(t)
		b.click(t, "#deny", "Denied.")
		b.shoot(t, "headless-4-denied.png")
		if status := run.wait(t); status != 255 || !strings.Contains(run.err.String(), "the headless login was denied") {
			t.Errorf("exit status %d, stderr:\n%s", status, run.err.String())
		}
		run.nothingOnDisk(t)
	})
}

func startHeadlessCluster(t *testing.T) *devcluster.Cluster {
	t.Helper()
	testenv.SecondRing(t)
	c, err := devcluster.Start(context.Background(), devcluster.Config{
		Dir: t.TempDir(), Addr: "127.0.0.1:0", SecondFactor: "webauthn", PasswordCost: 4, Log: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.AddUser(devcluster.UserSpec{Name: "alice", Password: headlessPassword, Roles: []string{"access"}, Logins: []string{"root"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func buildHeadlessTsh(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tsh")
	out, err := exec.Command(testenv.Program(t, "go"), "build", "-o", path, "../../cmd/tsh").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// headlessRun is a tsh that waits for an approval.
type headlessRun struct {
	cmd      *exec.Cmd
	home     string
	link, id string
	out, err bytes.Buffer
	read     chan struct{} // stderr has ended
}

func startHeadlessRun(t *testing.T, c *devcluster.Cluster, tsh string) *headlessRun {
	t.Helper()
	r := &headlessRun{home: filepath.Join(t.TempDir(), "home"), read: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), headlessPatience)
	t.Cleanup(cancel)
	r.cmd = exec.CommandContext(ctx, tsh, "ssh", "--headless", "--proxy="+c.PublicAddr(), "--user=alice", "root@node-1", "echo hello")
	r.cmd.Env = append(os.Environ(), "TELEPORT_HOME="+r.home, "SSL_CERT_FILE="+c.CAFile(), "TELEPORT_PROXY=", "TELEPORT_USER=")
	r.cmd.Stdout = &r.out
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shown := make(chan string, 1)
	go func() {
		defer close(r.read)
		link := regexp.MustCompile(`https://\S+/web/headless/(\S+)`)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			r.err.WriteString(lines.Text() + "\n")
			if found := link.FindString(lines.Text()); found != "" {
				shown <- found
			}
		}
		close(shown)
	}()
	if r.link = <-shown; r.link == "" {
		t.Fatalf("no link is shown:\n%s", r.err.String())
	}
	r.id = r.link[strings.LastIndex(r.link, "/")+1:]
	return r
}

func (r *headlessRun) wait(t *testing.T) int {
	t.Helper()
	<-r.read
	_ = r.cmd.Wait()
	noSecretIn(t, r.out.String()+r.err.String())
	return r.cmd.ProcessState.ExitCode()
}

func (r *headlessRun) nothingOnDisk(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(r.home); !os.IsNotExist(err) {
		_ = filepath.WalkDir(r.home, func(path string, _ fs.DirEntry, _ error) error {
			t.Log(path)
			return nil
		})
		t.Errorf("%s is there: %v", r.home, err)
	}
}

// headlessBrowser is a Chromium with a security key in it.
type headlessBrowser struct{ ctx context.Context }

func startHeadlessBrowser(t *testing.T, c *devcluster.Cluster) *headlessBrowser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(testenv.Program(t, "chromium")),
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()),
		// Trusting the one key leaves the page a secure context, which WebAuthn needs.
		chromedp.Flag("ignore-certificate-errors-spki-list", webKey(t, c)),
		chromedp.WindowSize(900, 700),
	)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	b := &headlessBrowser{ctx}
	// The first call starts the browser, which lives as long as the context of that call.
	_, err := chromedp.Call(ctx, webauthn.Enable, webauthn.EnableParams{})
	if err == nil {
		_, err = chromedp.Call(ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
			Options: &webauthn.VirtualAuthenticatorOptions{
				Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportUsb,
				AutomaticPresenceSimulation: true,
			},
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// webKey is the SHA-256 of the public key of the cluster's web certificate.
func webKey(t *testing.T, c *devcluster.Cluster) string {
	t.Helper()
	conn, err := tls.Dial("tcp", c.Addr(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func (b *headlessBrowser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	headlessStep(t, b, chromedp.Steps(steps...))
}

func headlessStep[T any](t *testing.T, b *headlessBrowser, a chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, headlessPatience)
	defer cancel()
	got, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// registerKey has the browser's security key registered as alice's.
func (b *headlessBrowser) registerKey(t *testing.T, c *devcluster.Cluster) {
	t.Helper()
	options, err := c.BeginRegistration("alice", false)
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`(async () => {
		const options = PublicKeyCredential.parseCreationOptionsFromJSON(%s.publicKey);
		return (await navigator.credentials.create({publicKey: options})).toJSON();
	})()`, options)
	b.do(t, chromedp.Navigate("https://"+c.PublicAddr()+"/web/login"))
	answer := headlessStep(t, b, chromedp.Evaluate[[]byte](script, chromedp.EvalAwaitPromise))
	if err := c.FinishRegistration("alice", "blue key", answer); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
}

func (b *headlessBrowser) open(t *testing.T, link string) {
	t.Helper()
	b.do(t, chromedp.Navigate(link), chromedp.WaitVisible("#signin"))
}

// signIn signs in with the password and the key, and waits for the request to appear.
func (b *headlessBrowser) signIn(t *testing.T) {
	t.Helper()
	b.do(t, chromedp.SendKeys("#user", "alice"), chromedp.SendKeys("#password", headlessPassword),
		chromedp.Click("#go"), chromedp.WaitVisible("#request"))
}

func (b *headlessBrowser) click(t *testing.T, button, message string) {
	t.Helper()
	b.do(t, chromedp.Click(button))
	headlessStep(t, b, chromedp.Poll[bool](fmt.Sprintf(`document.getElementById("message").textContent.startsWith(%q)`, message)))
}

func (b *headlessBrowser) text(t *testing.T, selector string) string {
	t.Helper()
	return headlessStep(t, b, chromedp.Text(selector))
}

// shoot keeps a picture of the page for people to look at.
func (b *headlessBrowser) shoot(t *testing.T, name string) {
	t.Helper()
	png := headlessStep(t, b, chromedp.CaptureScreenshot())
	dir := filepath.Join("..", "..", "dist", "artefacts")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), png, 0o644); err != nil {
		t.Fatal(err)
	}
}
