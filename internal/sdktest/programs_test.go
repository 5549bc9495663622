package sdktest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

const (
	alicePassword = "canary-password-alice"
	// patience limits every wait.
	patience = time.Minute
)

// testOnlyDir holds the programs and is removed after all tests.
var testOnlyDir string

// testOnlyPrograms builds tsh and the examples once, as a user of the module builds a program
// for release.
var testOnlyPrograms = sync.OnceValue(func() error {
	out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", testOnlyDir+string(filepath.Separator),
		"../../cmd/tsh", "../../examples/...").CombinedOutput()
	if err != nil {
		return errors.New(string(out))
	}
	return nil
})

func TestMain(m *testing.M) {
	var err error
	if testOnlyDir, err = os.MkdirTemp("", "sdktest-"); err != nil {
		panic(err)
	}
	status := m.Run()
	_ = os.RemoveAll(testOnlyDir)
	os.Exit(status)
}

// program is the path of a program that was built.
func program(t *testing.T, name string) string {
	t.Helper()
	testenv.SecondRing(t) // linking all of them takes a while
	testenv.Program(t, "go")
	if err := testOnlyPrograms(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(testOnlyDir, name)
}

// world is a cluster, and a person's machine.
type world struct {
	t       *testing.T
	cluster *devcluster.Cluster
	dir     string
	env     []string
}

// newWorld starts a cluster with two servers, node-1 of development and node-2 of
// production, whose auth server and tunnel have addresses of their own.
func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	cluster, err := devcluster.Start(context.WithoutCancel(t.Context()), devcluster.Config{
		Dir: filepath.Join(dir, "cluster"), Addr: "127.0.0.1:0", AuthAddr: "127.0.0.1:0", TunnelAddr: "127.0.0.1:0",
		SecondFactor: "off", PasswordCost: 4, NoRateLimit: true, Home: t.TempDir(), Nodes: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Close() })
	if _, err := cluster.AddUser(devcluster.UserSpec{Name: "alice", Password: alicePassword, Roles: []string{"access"}, Logins: []string{"root"}}); err != nil {
		t.Fatal(err)
	}
	return &world{t, cluster, dir, []string{
		"HOME=" + dir, "TELEPORT_HOME=" + filepath.Join(dir, "tsh"), "SSL_CERT_FILE=" + cluster.CAFile(), "PATH=" + os.Getenv("PATH"),
	}}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// sign makes files with which a program is a user of the cluster.
func (w *world) sign(user, format, name string) string {
	w.t.Helper()
	out := w.path(name)
	if _, err := w.cluster.SignUser(devcluster.SignSpec{User: user, Format: format, TTL: time.Hour, Out: out, Overwrite: true}); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// login leaves alice's login in the profile directory.
func (w *world) login() {
	w.t.Helper()
	w.must(alicePassword+"\n", "tsh", "login", "--proxy="+w.cluster.PublicAddr(), "--user=alice", "--password-stdin")
}

// run runs a program and returns what it printed.
func (w *world) run(input, name string, args ...string) (out, problems string, err error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(w.t, name), args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = w.dir, w.env, strings.NewReader(input), &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

// must runs what has to work.
func (w *world) must(input, name string, args ...string) string {
	w.t.Helper()
	out, problems, err := w.run(input, name, args...)
	if err != nil {
		w.t.Fatalf("%s %v: %v\n%s%s", name, args, err, out, problems)
	}
	return out
}
