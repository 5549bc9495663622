//go:build unix

package friendstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/release"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

const (
	// canary begins every secret; none may be shown.
	canary        = "canary-"
	alicePassword = canary + "password-alice"
	// patience limits every program.
	patience = 90 * time.Second
)

// testOnlyDir is removed after all tests.
var testOnlyDir string

// testOnlyProgram builds tsh once for all tests, as it is released: other programs
// start it many times.
var testOnlyProgram = sync.OnceValues(func() (string, error) {
	path := filepath.Join(testOnlyDir, "tsh")
	cmd := release.Command(context.Background(), path, "github.com/seed-087d674e/tsh/cmd/tsh")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return "", errors.New(said.String())
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if testOnlyDir, err = os.MkdirTemp("", "friends-"); err != nil {
		panic(err)
	}
	if _, err = testOnlyProgram(); err != nil {
		panic(err)
	}
	// Sessions run in this process's home directory: the start-up files of whoever
	// runs the tests are none of theirs.
	if err = os.Setenv("HOME", testOnlyDir); err != nil {
		panic(err)
	}
	status := m.Run()
	_ = os.RemoveAll(testOnlyDir)
	os.Exit(status)
}

// world is a person who has logged in and has OpenSSH configured for the cluster.
type world struct {
	t       *testing.T
	cluster *devcluster.Cluster
	tsh     string
	home    string
	me      string // the account, here and on the servers
	config  string // the file for ssh -F
	env     []string
}

// newWorld starts a cluster, logs alice in and writes what tsh config prints.
func newWorld(t *testing.T, change func(*devcluster.Config)) *world {
	t.Helper()
	testenv.Program(t, "ssh")
	tsh, err := testOnlyProgram()
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	config := devcluster.Config{
		Dir: t.TempDir(), Addr: "127.0.0.1:0", SecondFactor: "off", PasswordCost: 4, NoRateLimit: true, Log: io.Discard,
	}
	if change != nil {
		change(&config)
	}
	c, err := devcluster.Start(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.AddUser(devcluster.UserSpec{Name: "alice", Password: alicePassword, Roles: []string{"access"}, Logins: []string{me.Username}}); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	w := &world{t: t, cluster: c, tsh: tsh, home: home, me: me.Username, config: filepath.Join(home, "ssh_config")}
	w.env = []string{
		"HOME=" + home, "TELEPORT_HOME=" + filepath.Join(home, "state"), "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "NO_COLOR=1",
		"SSL_CERT_FILE=" + c.CAFile(), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
	}
	w.must(alicePassword+"\n", tsh, "login", "--proxy="+c.PublicAddr(), "--user=alice", "--password-stdin")
	w.file("ssh_config", "BatchMode yes\nGlobalKnownHostsFile none\nIdentityAgent none\n"+w.must("", tsh, "config", "-l", w.me))
	return w
}

// host is the name under which OpenSSH knows a node.
func (w *world) host(node string) string { return node + ".dev.example" }

// file writes a file below the home directory.
func (w *world) file(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// result is what a program did.
type result struct {
	out, err string
	status   int
}

// run runs a program in the home directory; whatever it shows holds no secret.
func (w *world) run(input, program string, args ...string) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	var out, problems bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = w.home, w.env, strings.NewReader(input), &out, &problems
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("%s %q: %v", program, args, err)
	}
	if ctx.Err() != nil {
		w.t.Fatalf("%s %q is not done after %v\n%s%s", program, args, patience, out.String(), problems.String())
	}
	if all := out.String() + problems.String(); strings.Contains(all, canary) {
		w.t.Errorf("%s %q shows a secret:\n%s", program, args, all)
	}
	return result{out.String(), problems.String(), cmd.ProcessState.ExitCode()}
}

// must runs what has to work, and returns its output.
func (w *world) must(input, program string, args ...string) string {
	w.t.Helper()
	r := w.run(input, program, args...)
	if r.status != 0 {
		w.t.Fatalf("%s %q: status %d\n%s%s", program, args, r.status, r.out, r.err)
	}
	return r.out
}

// want runs a program that has to end like this and to say nothing on stderr.
func (w *world) want(want result, input, program string, args ...string) {
	w.t.Helper()
	if got := w.run(input, program, args...); got != want {
		w.t.Errorf("%s %q:\n got %+v\nwant %+v", filepath.Base(program), args, got, want)
	}
}

// program is a program with OpenSSH's flags for the configuration.
func (w *world) openssh(name string, args ...string) (string, []string) {
	w.t.Helper()
	return testenv.Program(w.t, name), append([]string{"-F", w.config}, args...)
}

func (w *world) mustOpenSSH(input, name string, args ...string) string {
	w.t.Helper()
	program, all := w.openssh(name, args...)
	return w.must(input, program, all...)
}

// tree makes files to copy, with names that need quoting, and says where.
func (w *world) tree(name string) string {
	w.t.Helper()
	for i := range 20 {
		w.file(fmt.Sprintf("%s/file %d", name, i), strings.Repeat(fmt.Sprintf("line %d\n", i), i*100))
	}
	w.file(name+"/below/ä'ö.txt", "umlauts\n")
	w.file(name+"/below/empty", "")
	w.file(name+"/big", strings.Repeat("0123456789abcdef", 1<<17))
	return filepath.Join(w.home, name)
}

// same compares directories.
func (w *world) same(a, b string) {
	w.t.Helper()
	if r := w.run("", testenv.Program(w.t, "diff"), "-r", a, b); r.status != 0 {
		w.t.Errorf("%s and %s differ:\n%s%s", a, b, r.out, r.err)
	}
}
