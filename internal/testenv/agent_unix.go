//go:build unix

package testenv

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Agent starts a real ssh-agent without keys and returns the path of its socket,
// for SSH_AUTH_SOCK. It ends with the test, or before when stop is called.
func Agent(t testing.TB) (socket string, stop func()) {
	t.Helper()
	program := Program(t, "ssh-agent")
	// t.TempDir contains the name of the test, and a socket's path has 104 bytes.
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "socket")
	cmd := exec.Command(program, "-D", "-a", socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // says that it was killed
	})
	t.Cleanup(stop)
	// It says where it listens once it does.
	late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("ssh-agent did not start: %q, %v", line, err)
	}
	return socket, stop
}
