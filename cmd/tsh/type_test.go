package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

// typeOn runs a program on a terminal and types when it asks:
//
//	type [status=N] 'question=>answer' 'words' … -- program args…
//
// An answer is typed once the question has appeared; words without an answer
// are only waited for. An answer ends in Enter unless it is ^C, ^D or ~^Z. The answer
// %p:NAME is the user's password and %c:NAME the code of the moment. What the
// terminal showed is in the file "terminal" afterwards. The answer %n is the code
// of the new device whose secret the terminal has shown last.
func (w *world) typeOn(ts *testscript.TestScript, neg bool, args []string) {
	status, steps, command := w.parseType(ts, args)
	cmd := exec.Command(lookPath(ts, command[0]), command[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = scriptEnv(ts)
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 100})
	if errors.Is(err, pty.ErrUnsupported) {
		ts.Fatalf("no pseudo-terminals here")
	}
	ts.Check(err)
	defer f.Close()
	screen := newScreen(f)
	for _, s := range steps {
		if !screen.waitFor(s.question) {
			_ = cmd.Process.Kill()
			ts.Fatalf("%q was not asked; the terminal shows:\n%s", s.question, screen.text())
		}
		if s.answer == newCode {
			s.answer = w.codeOfNewDevice(ts, screen.text())
		}
		_, err := io.WriteString(f, s.answer)
		ts.Check(err)
	}
	got := waitStatus(cmd)
	<-screen.done
	w.terminal = strings.ReplaceAll(screen.text(), "\r\n", "\n")
	ts.Check(os.WriteFile(ts.MkAbs("terminal"), []byte(w.terminal), 0o600))
	ts.Logf("%s", w.terminal)
	if neg && got == 0 || !neg && got != status {
		ts.Fatalf("exit status %d", got)
	}
}

// lookPath finds a program in the script's own PATH, where tsh is.
func lookPath(ts *testscript.TestScript, name string) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	ts.Fatalf("type: no program %q", name)
	return ""
}

type typeStep struct{ question, answer string }

func (w *world) parseType(ts *testscript.TestScript, args []string) (status int, steps []typeStep, command []string) {
	for i, arg := range args {
		if n, ok := strings.CutPrefix(arg, "status="); ok {
			status, _ = strconv.Atoi(n)
			continue
		}
		if arg == "--" {
			command = args[i+1:]
			break
		}
		question, answer, typed := strings.Cut(arg, "=>")
		step := typeStep{question: question}
		if typed {
			step.answer = w.keys(ts, answer)
		}
		steps = append(steps, step)
	}
	if len(command) == 0 {
		ts.Fatalf("type: no program")
	}
	return status, steps, command
}

// keys are the keys that give an answer.
func (w *world) keys(ts *testscript.TestScript, answer string) string {
	switch answer {
	case "^C":
		return "\x03"
	case "~^Z":
		return "~\x1a"
	case "^D":
		return "\x04"
	case newCode:
		return newCode // known only when it is asked for
	}
	if name, ok := strings.CutPrefix(answer, "%p:"); ok {
		answer = canary + "password-" + name
	}
	if name, ok := strings.CutPrefix(answer, "%c:"); ok {
		answer = w.code(ts, name)
	}
	return answer + "\r"
}

// scriptEnv is the script's environment as a process wants it.
func scriptEnv(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{
		"HOME", "PATH", "TELEPORT_HOME", "TSH_KEYSTORE", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "TSH_CA_FILE", "PROXY", "LISTENS", "LANG", "TERM", envTestNow, envTestAhead, "TELEPORT_PROXY", "TELEPORT_USER", "TELEPORT_LOGIN",
		"NO_COLOR", "TMPDIR", "TSH_EXPIRY_WARNING", "TELEPORT_MFA_MODE", "TELEPORT_HEADLESS_SKIP_CONFIRM", envTestKeys,
		"BROWSER", "TELEPORT_LOGIN_BROWSER", "TELEPORT_LOGIN_SKIP_REMOTE_HOST_WARNING", "DISPLAY", "WSL_DISTRO_NAME", "PERSON", "BROWSER_LOG",
	} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

func waitStatus(cmd *exec.Cmd) int {
	watchdog := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	var exit *exec.ExitError
	err := cmd.Wait()
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		panic(fmt.Sprint("waiting for ", cmd.Path, ": ", err))
	}
	return 0
}

// screen gathers what a terminal shows.
type screen struct {
	mu    sync.Mutex
	shown strings.Builder
	seen  int // how much of it earlier questions have used up
	more  chan struct{}
	done  chan struct{}
}

func newScreen(r io.Reader) *screen {
	s := &screen{more: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			s.mu.Lock()
			s.shown.Write(buf[:n])
			s.mu.Unlock()
			select {
			case s.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return s
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown.String()
}

// waitFor waits until words appear after the last that were waited for.
func (s *screen) waitFor(words string) bool {
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for {
		text := s.text()
		if i := strings.Index(text[s.seen:], words); i >= 0 {
			s.seen += i + len(words)
			return true
		}
		select {
		case <-s.more:
		case <-s.done:
			text = s.text()
			return strings.Contains(text[s.seen:], words)
		case <-deadline.C:
			return false
		}
	}
}
