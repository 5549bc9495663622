package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// maxPromptDelay is from the start of the program to its first question.
const maxPromptDelay = 50 * time.Millisecond

// case L30: a terminal that never answers is asked nothing, and the question is
// there at once, however far the proxy is.
func TestPromptComesAtOnce(t *testing.T) {
	c := startFarCluster(t, "otp")
	c.login(t)
	c.net.SetDelay(time.Second)
	withinBudget(t, func(t *testing.T) error {
		cmd := exec.Command(releasedTsh(t), "login", "--force")
		cmd.Env = append(c.env, "TERM=dumb")
		begun := time.Now()
		f, err := pty.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		screen := watchedScreen(t, f)
		asked := screen.waitFor("Password for alice on localhost: ")
		took := time.Since(begun)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if !asked || strings.Contains(screen.text(), "\x1b") {
			t.Fatalf("the terminal shows:\n%q", screen.text())
		}
		if took > maxPromptDelay {
			return fmt.Errorf("the question took %s, the limit is %s", took, maxPromptDelay)
		}
		t.Logf("the question took %s", took)
		return nil
	})
}
