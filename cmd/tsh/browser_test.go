package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// case L12: a browser that crashes is reaped and mentioned, one that hangs is not
// waited for; the link works all the same, and tsh is done when the person is.
func TestBrowserTroubles(t *testing.T) {
	c, err := devcluster.Start(context.Background(), devcluster.Config{
		Dir: t.TempDir(), Addr: "127.0.0.1:0", SecondFactor: "off", PasswordCost: 4,
		Connectors: []devcluster.Connector{{Kind: "github", Name: "gh"}}, DefaultConnector: "gh",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	bin := t.TempDir()
	for _, name := range []string{"tsh", "fakebrowser"} {
		if err := os.Symlink(os.Args[0], filepath.Join(bin, name)); err != nil {
			t.Skip(err)
		}
	}
	for _, trouble := range []string{"crash", "hang"} {
		t.Run(trouble, func(t *testing.T) {
			dir := t.TempDir()
			pidFile, messages := filepath.Join(dir, "pid"), filepath.Join(dir, "messages")
			out, err := os.Create(messages)
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, filepath.Join(bin, "tsh"), "login", "--proxy="+c.PublicAddr(), "--browser="+filepath.Join(bin, "fakebrowser"))
			cmd.Env = append(os.Environ(), "TELEPORT_HOME="+filepath.Join(dir, "home"), "SSL_CERT_FILE="+c.CAFile(), "TELEPORT_PROXY=", "SSH_AUTH_SOCK=", "PERSON="+trouble, "BROWSER_LOG="+pidFile)
			cmd.Stdout, cmd.Stderr = out, out // files: nobody waits for the browser to close a pipe
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// What is waited for is printed once the browser has been reaped, or has begun to hang.
			said := func() string { text, _ := os.ReadFile(messages); return string(text) }
			ready := func() bool {
				pid, _ := os.ReadFile(pidFile)
				return trouble == "crash" && strings.Contains(said(), "could not be opened (exit status 3); the link above works") || len(pid) > 0
			}
			for !ready() {
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
					t.Fatalf("it hangs: %s", said())
				}
			}
			if pid, err := os.ReadFile(pidFile); err == nil {
				number, _ := strconv.Atoi(string(pid))
				if p, err := os.FindProcess(number); err == nil {
					t.Cleanup(func() { _ = p.Kill() })
				}
			}
			link := awaitLink(bufio.NewReader(strings.NewReader(said())))
			if _, err := surf(link, "alice", c.CAFile()); err != nil {
				t.Error(err)
			}
			if err := cmd.Wait(); err != nil || !strings.Contains(said(), "Logged in as:       alice") {
				t.Errorf("%v: %s", err, said())
			}
		})
	}
}
