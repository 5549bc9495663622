package networktest

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// case N04: answers without end leave the program small.
func TestMemory(t *testing.T) {
	caFile, certFile, keyFile := certify(t)
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	space := []byte(strings.Repeat(" ", 1<<20))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"cluster_name":"`)
		for range 2048 { // two gigabytes, unless the client has enough
			if _, err := w.Write(space); err != nil {
				return
			}
		}
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.StartTLS()
	defer s.Close()
	_, port, _ := strings.Cut(s.Listener.Addr().String(), ":")
	w := newWorld(t)
	cmd := exec.CommandContext(t.Context(), w.program, "login", "--proxy=localhost:"+port, "--user=alice", "--password-stdin", "--ca-file="+caFile)
	cmd.Env, cmd.Stdin = w.env, strings.NewReader(alicePassword)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(out), "the answer has more than 1048576 bytes") {
		t.Fatalf("%v\n%s", err, out)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		t.Fatal("the system does not say how much memory it took")
	}
	if used := usage.Maxrss >> 10; used > 64 {
		t.Errorf("%d MiB", used)
	}
}
