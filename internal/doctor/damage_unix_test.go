//go:build unix

package doctor

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/seed-087d674e/tsh/internal/sshagent"
	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/profile"
)

func mode(rel string, m os.FileMode) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		if err := os.Chmod(w.path(rel), m); err != nil {
			t.Fatal(err)
		}
	}
}

// instead puts something else in the place of a file or directory.
func instead(rel string, what func(path string) error) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		path := w.path(rel)
		if err := os.Rename(path, filepath.Join(filepath.Dir(w.home), "away")); err != nil {
			t.Fatal(err)
		}
		if err := what(path); err != nil {
			t.Fatal(err)
		}
	}
}

func fifo(path string) error { return syscall.Mkfifo(path, 0o600) }

func link(path string) error {
	dir := filepath.Dir(path)
	for filepath.Base(dir) != "home" {
		dir = filepath.Dir(dir)
	}
	return os.Symlink(filepath.Join(filepath.Dir(dir), "away"), path)
}

func platformDamages() []damage {
	const key = "keys/example.com/alice"
	return []damage{
		// case F14
		{"the directory is open", mode(".", 0o777), []string{"problem modes other users can change it (mode 0777)"}, true, true},
		{"the directory of keys is open", mode("keys", 0o770), []string{"problem modes change"}, true, true},
		{"the SSH key can be read", mode(key, 0o644), []string{"problem modes other users can read it (mode 0644)"}, true, true},
		{"the TLS key can be written", mode(key+".key", 0o602), []string{"problem modes change"}, true, true},
		{"the authorities can be changed", mode("keys/example.com/cas/harbor.pem", 0o666), []string{"problem modes change"}, true, true},
		{"the profile can be changed", mode("example.com.yaml", 0o660), []string{"problem modes change"}, true, true},
		{"public files can be read", mode("example.com.yaml", 0o644), nil, false, true},
		// case F13
		{"the SSH key is a pipe", instead(key, fifo), []string{"problem login is no regular file"}, false, false},
		{"the TLS certificate is a pipe", instead(key+".crt", fifo), []string{"problem login is no regular file"}, false, false},
		{"the SSH certificate is a pipe", instead(key+"-ssh/harbor-cert.pub", fifo), []string{"problem login not a regular file"}, false, false},
		{"the SSH certificates are a pipe", instead(key+"-ssh", fifo), []string{"problem login not a directory"}, false, false},
		{"the profile is a pipe", instead("example.com.yaml", fifo), []string{"problem current-profile does not exist", "warning profile not a regular file"}, false, false},
		{"current-profile is a pipe", instead("current-profile", fifo), []string{"problem current-profile not a regular file"}, false, true},
		{"known_hosts is a pipe", instead("known_hosts", fifo), []string{"problem login not a regular file", "problem authorities not a regular file"}, false, false},
		{"the SSH key is a link", instead(key, link), []string{"problem login symbolic link"}, false, false},
		{"the keys are a link", instead("keys", link), []string{"problem directory symbolic link"}, false, false},
		{"the authorities are a link", instead("keys/example.com/cas", link), []string{"problem login not a directory", "problem authorities symbolic link"}, false, false},
		{"an authority is a pipe", instead("keys/example.com/cas/harbor.pem", fifo), []string{"warning authorities no regular file", "problem authorities servers cannot be verified"}, false, false},
		{"our own directory is a link", instead("config/tsh", link), []string{"problem directory symbolic link"}, false, true},
	}
}

// case F13: the directory itself may be a link; what is no directory is said to be none.
func TestDirectoryItself(t *testing.T) {
	w := newWorld(t)
	w.logIn(t, gate, "alice", "harbor", profile.KeysInFiles)
	real := w.home
	w.home = filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.Symlink(real, w.home), os.Chmod(real, 0o777)); err != nil {
		t.Fatal(err)
	}
	w.look(t, true)
	w.expect(t, w.look(t, false), nil)
	w.loads(t, gate)
	for name, make := range map[string]func(path string) error{
		"is not a directory":        fifo,
		"no such file or directory": func(path string) error { return os.Symlink("nowhere", path) },
	} {
		w.home = filepath.Join(t.TempDir(), "home")
		if err := make(w.home); err != nil {
			t.Fatal(err)
		}
		w.expect(t, w.look(t, true), []string{"problem directory " + name})
	}
}

// case F13, case F17: as an ordinary user, a directory of somebody else, and one that
// cannot be written to.
func TestAsAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can be two users")
	}
	const stranger, person = 54321, 54322
	w := newWorld(t)
	w.logIn(t, gate, "alice", "harbor", profile.KeysInFiles)
	owner := func(path string, uid int) {
		t.Helper()
		if err := os.Chown(path, uid, 0); err != nil {
			t.Fatal(err)
		}
	}
	all := []string{w.home}
	for path := range contents(t, w.home) {
		all = append(all, path)
	}
	all = append(all, w.path("config/tsh/lock"))
	for _, path := range all {
		owner(path, person)
	}
	for dir := filepath.Dir(w.home); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	look := func(fix bool) []Finding {
		if err := syscall.Seteuid(person); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := syscall.Seteuid(0); err != nil {
				panic(err)
			}
		}()
		return w.look(t, fix)
	}
	w.expect(t, look(true), nil)
	mode(".", 0o500)(t, w)
	w.expect(t, look(false), []string{"problem directory cannot be written to: permission denied"})
	if fixed := look(true); len(fixed) != 1 || !fixed[0].Fixed {
		t.Error(lines(fixed))
	}
	w.expect(t, look(false), nil)
	owner(w.path("known_hosts"), stranger)
	w.expect(t, look(true), []string{"problem modes another user", "problem login another user", "problem authorities permission denied"})
	owner(w.home, stranger)
	w.expect(t, look(true), []string{"problem directory belongs to another user (uid 54321)"})
}

// case K11, case K13: an agent that does not answer is a warning and costs half a second;
// what has expired in it goes, and nothing else.
func TestAgent(t *testing.T) {
	w := newWorld(t)
	w.logIn(t, gate, "alice", "harbor", profile.KeysInFiles)
	socket, stop := testenv.Agent(t)
	t.Setenv("SSH_AUTH_SOCK", socket)
	w.expect(t, w.look(t, false), nil)

	p, id := issue(t, gate, "alice", "harbor")
	conn, err := sshagent.Dial(5 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	entry := sshagent.Entry{Proxy: p.Host(), Cluster: "harbor", User: "alice", Key: id.SSHKey, Cert: id.SSHCert, Lifetime: time.Hour}
	if err := conn.Put(entry); err != nil {
		t.Fatal(err)
	}
	foreign := addForeign(t, id.SSHCert)
	w.expect(t, w.look(t, true), nil)
	now := w.now
	w.now = now.Add(24 * time.Hour)
	found := w.look(t, true)
	if len(found) != 2 || found[1].Check != checkAgent || !found[1].Fixed {
		t.Error(lines(found))
	}
	if held := foreign(); len(held) != 1 || held[0].Comment != "mine" {
		t.Errorf("the agent holds %v", held)
	}
	w.now = now
	stop()
	started := time.Now()
	w.expect(t, w.look(t, true), []string{"warning ssh-agent cannot be used"})
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// addForeign puts the person's own key, with the same old certificate, into the agent,
// and returns how to see what is there.
func addForeign(t *testing.T, cert *ssh.Certificate) func() []*agent.Key {
	t.Helper()
	key, _ := keys(t)
	own := *cert
	own.Key = testenv.SSHSigner(t, key).PublicKey()
	ca, _ := keys(t)
	if err := own.SignCert(rand.Reader, testenv.SSHSigner(t, ca)); err != nil {
		t.Fatal(err)
	}
	dial := func(f func(agent.ExtendedAgent) error) {
		t.Helper()
		conn := dialUnix(t)
		defer conn.Close()
		if err := f(agent.NewClient(conn)); err != nil {
			t.Fatal(err)
		}
	}
	dial(func(a agent.ExtendedAgent) error {
		return a.Add(agent.AddedKey{PrivateKey: key, Certificate: &own, Comment: "mine"})
	})
	return func() (held []*agent.Key) {
		dial(func(a agent.ExtendedAgent) (err error) {
			held, err = a.List()
			return err
		})
		return held
	}
}

// A login whose key is in the agent alone needs the agent.
func TestKeyInTheAgent(t *testing.T) {
	w := newWorld(t)
	socket, stop := testenv.Agent(t)
	t.Setenv("SSH_AUTH_SOCK", socket)
	hostSSH, hostTLS := keys(t)
	userSSH, userTLS := keys(t)
	key, err := p256()
	if err != nil {
		t.Fatal(err)
	}
	p, id := certify(t, names{gate, "alice", "harbor"}, authority{hostSSH, hostTLS, userSSH, userTLS}, key, key)
	id.InAgent = true
	p.Proven = gate
	if err := w.store().Commit(t.Context(), p, id); err != nil {
		t.Fatal(err)
	}
	w.expect(t, w.look(t, true), []string{"problem login does not show it"})
	if err := profile.AddToAgent(id, w.now); err != nil {
		t.Fatal(err)
	}
	w.expect(t, w.look(t, true), nil)
	w.loads(t, gate)
	stop()
	found := w.look(t, true)
	if len(found) != 2 || found[0].Check != checkLogin || !strings.Contains(found[0].Message, "ssh-agent alone") {
		t.Error(lines(found))
	}
}
