package browsertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

// patience is for one step of one person; a machine that does much else is slow.
const patience = 90 * time.Second

// startCluster runs a cluster without a second factor.
func startCluster(t *testing.T, config devcluster.Config) *devcluster.Cluster {
	t.Helper()
	testenv.SecondRing(t)
	config.Dir, config.Addr, config.SecondFactor, config.PasswordCost = t.TempDir(), "127.0.0.1:0", "off", 4
	c, err := devcluster.Start(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// chromium starts a browser that takes the cluster's web certificate for valid,
// and no other that is not.
func chromium(t *testing.T, c *devcluster.Cluster) context.Context {
	t.Helper()
	path := testenv.Program(t, "chromium")
	conn, err := tls.Dial("tcp", c.Addr(), &tls.Config{InsecureSkipVerify: true}) // to learn the certificate
	if err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	_ = conn.Close()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WindowSize(900, 860),
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(key[:])),
		chromedp.Flag("disable-component-update", true),
		chromedp.DisableGPU,
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	// The first call starts the browser, which lives as long as that call's context.
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// do has the person do something, in time.
func do(t *testing.T, browser context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	see(t, browser, chromedp.Steps(steps...))
}

// see is what the browser says.
func see[T any](t *testing.T, browser context.Context, what chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(browser, patience)
	defer cancel()
	seen, err := chromedp.Run(ctx, what)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// keepScreen keeps what the browser shows as NAME.png.
func keepScreen(t *testing.T, browser context.Context, name string) {
	t.Helper()
	dir := os.Getenv("TSH_ARTEFACTS")
	if dir == "" {
		dir = filepath.Join("..", "..", "dist", "artefacts")
	}
	png := see(t, browser, chromedp.CaptureScreenshot())
	if !bytes.HasPrefix(png, []byte("\x89PNG")) {
		t.Errorf("screenshot %s is no PNG", name)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		t.Error(err)
	}
}

// buildTSH builds the program.
func buildTSH(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tsh")
	cmd := exec.Command(testenv.Program(t, "go"), "build", "-o", path, "github.com/seed-087d674e/tsh/cmd/tsh")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// noSecretIn fails the test if what tsh has printed shows a password, a key, or what
// seals the answer of a browser. case L23
func noSecretIn(t *testing.T, output string) {
	t.Helper()
	for _, mark := range []string{"canary", "PRIVATE KEY", "secret_key=", "response=", "PKCE", "state="} {
		if strings.Contains(output, mark) {
			t.Errorf("tsh has printed %q:\n%s", mark, output)
		}
	}
}
