package testenv

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

const (
	startWithin   = 20 * time.Second
	secretsName   = "org.freedesktop.secrets"
	secretsPath   = dbus.ObjectPath("/org/freedesktop/secrets")
	loginPath     = secretsPath + "/collection/login"
	keyringSecret = "a password typed at login"
)

// busConfig starts nothing on demand: what a test does not start is not there.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
`

// Bus is a D-Bus session of the test's own, with nothing on it.
type Bus struct {
	Process
	dir  string
	addr string
}

// NewBus starts a bus that ends with the test.
func NewBus(t testing.TB) *Bus {
	t.Helper()
	return NewBusAt(t, "", nil)
}

// NewBusAt is NewBus with the address to listen at, if it is not empty, and of
// another user if credential names one.
func NewBusAt(t testing.TB, address string, credential *syscall.Credential) *Bus {
	t.Helper()
	program := Program(t, "dbus-daemon")
	// Not t.TempDir: the path of a socket has 107 bytes at most.
	dir, err := os.MkdirTemp("", "bus")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if address == "" {
		address = "unix:path=" + filepath.Join(dir, "bus")
	}
	config := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, address), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // another user reads its configuration
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config-file="+config, "--nofork", "--nosyslog", "--print-address=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	b := &Bus{dir: dir, addr: address, Process: Process{cmd: cmd}}
	b.start(t, filepath.Join(dir, "bus.log"))
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- text
	}()
	select {
	case text := <-line:
		if text == "" {
			t.Fatalf("dbus-daemon does not start: %s", b.output())
		}
	case <-time.After(startWithin):
		t.Fatalf("dbus-daemon does not say that it listens: %s", b.output())
	}
	return b
}

// Address is where the bus listens, as in DBUS_SESSION_BUS_ADDRESS.
func (b *Bus) Address() string { return b.addr }

// Env is what makes this the session of a program, as "name=value". There is
// no second bus that it could find.
func (b *Bus) Env() []string {
	return []string{"DBUS_SESSION_BUS_ADDRESS=" + b.addr, "XDG_RUNTIME_DIR=" + b.dir}
}

// Use makes this the session of the test's own process.
func (b *Bus) Use(t testing.TB) {
	t.Helper()
	for _, pair := range b.Env() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
}

// Dial is a connection that is open until the test ends.
func (b *Bus) Dial(t testing.TB) *dbus.Conn {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel) // closes the connection
	patience := time.AfterFunc(startWithin, cancel)
	defer patience.Stop()
	conn, err := dbus.Connect(b.addr, dbus.WithContext(ctx))
	if err != nil {
		t.Fatalf("%v, %s", err, b.output())
	}
	return conn
}

// SecretService is a bus with a real gnome-keyring-daemon, its login keyring
// unlocked and empty.
type SecretService struct {
	*Bus
	Daemon Process
	conn   *dbus.Conn
}

// NewSecretService starts both; they end with the test and leave nothing. The
// person's own keyring is not touched: the daemon has a home of its own.
func NewSecretService(t testing.TB) *SecretService {
	t.Helper()
	program := Program(t, "gnome-keyring-daemon")
	s := &SecretService{Bus: NewBus(t)}
	home := filepath.Join(s.dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--unlock", "--components=secrets", "--foreground")
	cmd.Env = append(s.Env(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "PATH=/nonexistent")
	cmd.Dir = home
	cmd.Stdin = strings.NewReader(keyringSecret)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.Daemon = Process{cmd: cmd}
	s.conn = s.Dial(t)
	s.startDaemon(t)
	return s
}

// startDaemon waits until the login keyring is there and unlocked. It looks again
// whenever something happened on the bus.
func (s *SecretService) startDaemon(t testing.TB) {
	t.Helper()
	watching := s.Bus.Dial(t)
	defer watching.Close()
	signals := make(chan *dbus.Signal, 64)
	watching.Signal(signals)
	for _, rule := range []dbus.MatchOption{dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchSender(secretsName)} {
		if err := watching.AddMatchSignal(rule); err != nil {
			t.Fatal(err)
		}
	}
	s.Daemon.start(t, filepath.Join(s.dir, "keyring.log"))
	deadline := time.After(startWithin)
	for !s.unlocked() {
		select {
		case <-signals:
		case <-s.Daemon.done:
			t.Fatalf("gnome-keyring-daemon does not start: %s", s.Daemon.output())
		case <-deadline:
			t.Fatalf("gnome-keyring-daemon does not unlock the login keyring: %s", s.Daemon.output())
		}
	}
}

func (s *SecretService) unlocked() bool {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	var locked dbus.Variant
	err := s.conn.Object(secretsName, loginPath).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0,
		"org.freedesktop.Secret.Collection", "Locked").Store(&locked)
	return err == nil && locked.Value() == false
}

// Lock locks the login keyring, as a screen saver may do. Unlocking it takes a
// prompt, and this session has no program to show one.
func (s *SecretService) Lock(t testing.TB) {
	t.Helper()
	var locked []dbus.ObjectPath
	var prompt dbus.ObjectPath
	err := s.conn.Object(secretsName, secretsPath).Call("org.freedesktop.Secret.Service.Lock", 0, []dbus.ObjectPath{loginPath}).Store(&locked, &prompt)
	if err != nil || !slices.Contains(locked, loginPath) {
		t.Fatalf("locking: %v, locked %v", err, locked)
	}
}

// Unlock unlocks the login keyring with its password, as a desktop does at login.
func (s *SecretService) Unlock(t testing.TB) {
	t.Helper()
	service := s.conn.Object(secretsName, secretsPath)
	var ignored dbus.Variant
	var session dbus.ObjectPath
	if err := service.Call("org.freedesktop.Secret.Service.OpenSession", 0, "plain", dbus.MakeVariant("")).Store(&ignored, &session); err != nil {
		t.Fatal(err)
	}
	secret := struct {
		Session           dbus.ObjectPath
		Parameters, Value []byte
		ContentType       string
	}{session, []byte{}, []byte(keyringSecret), "text/plain"}
	err := service.Call("org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface.UnlockWithMasterPassword", 0, loginPath, secret).Err
	if err != nil {
		t.Fatal(err)
	}
}

// Process is a program that runs beside the test.
type Process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
	kill sync.Once
}

func (p *Process) start(t testing.TB, log string) {
	t.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p.log, p.done = log, make(chan struct{})
	p.cmd.Stderr = out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.Kill)
}

// Kill ends the program at once and waits until it is gone.
func (p *Process) Kill() {
	p.kill.Do(func() { p.cmd.Process.Kill() })
	<-p.done
}

// Suspend stops the program: it keeps its sockets and says nothing. When Suspend
// returns, it has stopped.
func (p *Process) Suspend(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGSTOP)
	err := error(unix.EINTR)
	for err == unix.EINTR {
		err = unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Resume lets a suspended program go on.
func (p *Process) Resume(t testing.TB) { p.signal(t, syscall.SIGCONT) }

func (p *Process) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// output is what the program complained about.
func (p *Process) output() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return "it says:\n" + string(data)
}
