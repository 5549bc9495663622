package keyring

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// canaries puts programs into PATH, and into the working directory, that write
// down that they ran. The function returned is the path of that record.
func canaries(t *testing.T) (record string) {
	t.Helper()
	dir := t.TempDir()
	record = filepath.Join(dir, "ran")
	for _, name := range []string{"dbus-launch", "security", "dbus-daemon", "sh"} {
		program := "#!/bin/sh\necho " + name + " >> '" + record + "'\necho DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(program), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Chdir(dir)
	if err := exec.Command("dbus-launch").Run(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(record); err != nil {
		t.Fatalf("a canary that ran left no record: %v", err)
	}
	return record
}

func wantNothingRan(t *testing.T, record string) {
	t.Helper()
	if ran, err := os.ReadFile(record); err == nil {
		t.Errorf("programs ran: %q", ran)
	}
}

// case K01, case K08: a container, a cron job: no bus, and nothing is started.
func TestNoBus(t *testing.T) {
	record := canaries(t)
	dir := t.TempDir()
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	t.Setenv("XDG_RUNTIME_DIR", dir)
	checkLeaks(t)
	start := time.Now()
	allCalls(t, System{}, ErrUnavailable, "no D-Bus session bus", "DBUS_SESSION_BUS_ADDRESS is not set and "+dir+"/bus does not exist")
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %v to find out", took)
	}
	wantNothingRan(t, record)
	if value := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); value != "" {
		t.Errorf("DBUS_SESSION_BUS_ADDRESS became %q", value)
	}
}

// case K01, case K08: addresses that would run a program, look into the working
// directory or go to the network.
func TestAddressesThatAreRefused(t *testing.T) {
	record := canaries(t)
	dir := filepath.Dir(record)
	network := listen(t, "tcp", "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(network.Addr().String())
	beside := listen(t, "unix", filepath.Join(dir, "bus")) // the working directory
	t.Setenv("XDG_RUNTIME_DIR", dir)                       // no way out either
	checkLeaks(t)
	for _, address := range []string{
		"autolaunch:", "autolaunch:scope=*install-path", "unixexec:path=" + dir + "/dbus-launch", "unixexec:path=dbus-launch", "launchd:env=PATH", "disabled:", "systemd:",
		"tcp:host=127.0.0.1,port=" + port, "nonce-tcp:host=127.0.0.1,port=" + port + ",noncefile=" + record, "vsock:cid=2,port=1",
		" ", ";", ":", "unix", "unix:", "unix:path", "unix:path=", "unix:abstract=", "unix:path=bus", "unix:path=./bus", "unix:path=@bus", "unix:path=%zz", "unix:guid=1",
		"unix:dir=/tmp", "unix:tmpdir=/tmp", "unix:runtime=yes", "unix:path=/a,abstract=b", "unix:path=/a,path=" + dir + "/bus", "UNIX:path=" + dir + "/bus", dir + "/bus",
		"unix:path=" + dir + "/bus;", ";unix:path=" + dir + "/bus", "unix:path=" + dir + "/bus;autolaunch:", "unix:path=/nonexistent;tcp:host=127.0.0.1,port=" + port,
	} {
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
		allCalls(t, hasty(), ErrUnavailable, "no D-Bus session bus: DBUS_SESSION_BUS_ADDRESS is "+strconv.Quote(address)+": ")
		if value := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); value != address {
			t.Errorf("DBUS_SESSION_BUS_ADDRESS became %q, was %q", value, address)
		}
	}
	wantNothingRan(t, record)
	wantNobody(t, network)
	wantNobody(t, beside)
}

// case K08: a runtime directory that is relative is not looked into.
func TestRelativeRuntimeDirectory(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	for _, dir := range []string{"", ".", "run"} {
		t.Setenv("XDG_RUNTIME_DIR", dir)
		addresses, _, err := busAddresses()
		if err != nil || len(addresses) != 1 || !strings.HasPrefix(addresses[0], "/run/user/") {
			t.Errorf("XDG_RUNTIME_DIR=%q: %q, %v", dir, addresses, err)
		}
	}
}

func TestAddressesThatAreUsed(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/nonexistent")
	for value, want := range map[string]string{
		"unix:path=/run/user/1000/bus":                             "/run/user/1000/bus",
		"unix:path=/run/user/1000/bus,guid=0123":                   "/run/user/1000/bus",
		"unix:abstract=/tmp/dbus-x,guid=0123;unix:path=/tmp/a%20b": "@/tmp/dbus-x /tmp/a b",
		"unix:path=/a%2cb%3b+c":                                    "/a,b;+c",
		"":                                                         "/nonexistent/bus",
	} {
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", value)
		if got, _, err := busAddresses(); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %q, %v, want %q", value, got, err, want)
		}
	}
}

// What is at the path has to be a socket of ours.
func TestFilesThatAreNoBus(t *testing.T) {
	dir := t.TempDir()
	testenv.Write(t, filepath.Join(dir, "file"), "")
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("missing", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	checkLeaks(t)
	for name, words := range map[string]string{
		"missing": "does not exist", "dangling": "does not exist", "file": "is not a socket", "fifo": "is not a socket", ".": "is not a socket", "file/bus": "not a directory",
	} {
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+dir+"/"+name)
		allCalls(t, hasty(), ErrUnavailable, "no D-Bus session bus: DBUS_SESSION_BUS_ADDRESS is set, but ", words)
	}
}

// A socket of another user is not spoken to: whoever listens there would be
// given the key.
func TestSocketOfAnotherUser(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	socket := listen(t, "unix", path)
	if os.Geteuid() != 0 {
		if err := checkSocket(path, os.Geteuid()+1); err == nil || !strings.Contains(err.Error(), "belongs to uid") {
			t.Errorf("a socket of another user: %v", err)
		}
		t.Skip("only root can give a socket away")
	}
	if err := os.Chown(path, 4321, 4321); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+path)
	checkLeaks(t)
	allCalls(t, hasty(), ErrUnavailable, path+" belongs to uid 4321, not to us (uid 0)")
	wantNobody(t, socket)
}

// Nor is the bus of another user behind a socket that looks like ours, or one
// that has no file.
func TestBusOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start a bus for somebody else")
	}
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	dir, err := os.MkdirTemp("", "bus")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "bus")
	for _, address := range []string{"unix:path=" + path, "unix:abstract=" + path} {
		testenv.NewBusAt(t, address, nobody).Use(t)
		if strings.HasPrefix(address, "unix:path=") {
			allCalls(t, hasty(), ErrUnavailable, path+" belongs to uid 65534")
			if err := os.Chown(path, 0, 0); err != nil {
				t.Fatal(err)
			}
		}
		allCalls(t, hasty(), ErrUnavailable, path+" is served by uid 65534, not by us (uid 0)")
	}
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// wantNobody wants that nobody has connected.
func wantNobody(t *testing.T, l net.Listener) {
	t.Helper()
	if err := l.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if conn, err := l.Accept(); err == nil {
		conn.Close()
		t.Errorf("somebody connected to %s", l.Addr())
	}
}
