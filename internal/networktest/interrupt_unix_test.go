//go:build unix

package networktest

import (
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// case N05: whatever the proxy does with its time, ^C ends the program at once.
func TestInterruptWhileTheProxyIsSilent(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"accepts and says nothing": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"a byte at a time": func(c net.Conn) {
			for every := time.NewTicker(100 * time.Millisecond); ; <-every.C { // the pace of the peer
				if _, err := c.Write([]byte{22}); err != nil {
					every.Stop()
					return
				}
			}
		},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		reached := make(chan struct{}, 4)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				reached <- struct{}{}
				go func() { defer conn.Close(); serve(conn) }()
			}
		}()
		for _, args := range [][]string{{"login", "--password-stdin"}, {"doctor"}} {
			w := newWorld(t)
			cmd := exec.Command(w.program, append(args, "--proxy="+l.Addr().String(), "--user=alice")...)
			cmd.Env = w.env
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			watchdog := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
			<-reached
			start := time.Now()
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			watchdog.Stop()
			took := time.Since(start)
			if code := cmd.ProcessState.ExitCode(); code != 130 || took > time.Second {
				t.Errorf("%s, %s: status %d after %v", name, strings.Join(args, " "), code, took)
			}
			t.Logf("%s, %s: %v", name, args[0], took)
		}
		_ = l.Close()
	}
}
