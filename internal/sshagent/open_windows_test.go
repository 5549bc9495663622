package sshagent

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/sys/windows"
)

// pipeAgent makes a pipe that is given to serve for each connection, one at a time. It
// belongs to owner, "" for us.
func pipeAgent(t *testing.T, owner string, serve func(io.ReadWriter)) {
	t.Helper()
	path := fmt.Sprintf(`\\.\pipe\tsh-test-%d-%d`, os.Getpid(), time.Now().UnixNano())
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		t.Fatal(err)
	}
	us, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		t.Fatal(err)
	}
	if owner == "" {
		owner = us.User.Sid.String()
	}
	sd, err := windows.SecurityDescriptorFromString("O:" + owner + "D:(A;;GA;;;WD)")
	if err != nil {
		t.Fatal(err)
	}
	security := &windows.SecurityAttributes{SecurityDescriptor: sd}
	security.Length = uint32(unsafe.Sizeof(*security))
	pipe, err := windows.CreateNamedPipe(name, windows.PIPE_ACCESS_DUPLEX|windows.FILE_FLAG_OVERLAPPED,
		windows.PIPE_TYPE_BYTE|windows.PIPE_WAIT, 1, 4096, 4096, 0, security)
	if errors.Is(err, windows.ERROR_INVALID_OWNER) {
		t.Skip("skipped: only with a privilege can pipes of other users be made")
	}
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(pipe), path)
	event, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = windows.CancelIoEx(pipe, nil)
		_ = f.Close()
		<-done
		_ = windows.CloseHandle(event)
	})
	go func() {
		defer close(done)
		for {
			o := &windows.Overlapped{HEvent: event}
			var n uint32
			err := windows.ConnectNamedPipe(pipe, o)
			if errors.Is(err, windows.ERROR_IO_PENDING) {
				err = windows.GetOverlappedResult(pipe, o, &n, true)
			}
			if err != nil && !errors.Is(err, windows.ERROR_PIPE_CONNECTED) {
				return
			}
			serve(f)
			if windows.DisconnectNamedPipe(pipe) != nil {
				return
			}
		}
	}()
	t.Setenv(variable, path)
}

// The whole of a login's life in an agent behind a pipe.
func TestPipe(t *testing.T) {
	keys := agent.NewKeyring()
	pipeAgent(t, "", func(conn io.ReadWriter) { _ = agent.ServeAgent(keys, conn) })
	do := func(what string, f func(*Agent) error) {
		t.Helper()
		a, err := Dial(10 * time.Second)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := errors.Join(f(a), a.Close()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	key := newP256(t)
	do("put", func(a *Agent) error { return a.Put(login(t, key, "gate", "root", "alice")) })
	do("replace", func(a *Agent) error { return a.Put(login(t, key, "gate", "leaf", "alice")) })
	k, err := OpenKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.SignMessage(nil, []byte("x"), crypto.SHA256); err != nil {
		t.Errorf("sign: %v", err)
	}
	do("remove", func(a *Agent) error {
		if n, err := a.Remove("gate", "alice"); n != 1 || err != nil {
			return fmt.Errorf("removed %d, %v", n, err)
		}
		return nil
	})
}

// case K11: what costs no more than the limit on Windows.
func TestPipesThatAreNone(t *testing.T) {
	for value, want := range map[string]string{
		`C:\Windows`:                       "not a named pipe",
		"/tmp/ssh-x/agent.1":               "not a named pipe",
		`\\server\pipe\openssh-ssh-agent`:  "not a named pipe",
		`\\.\pipe\tsh-test-no-such-thing-`: "cannot be used",
	} {
		t.Setenv(variable, value)
		if _, err := Dial(10 * time.Second); err == nil || errors.Is(err, ErrNone) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", value, err, want)
		}
	}
	t.Setenv(variable, "")
	if path, err := address(); path != `\\.\pipe\openssh-ssh-agent` || err != nil {
		t.Errorf("%q, %v", path, err)
	}
	end := make(chan struct{})
	pipeAgent(t, "", func(io.ReadWriter) { <-end })
	defer close(end)
	a, err := Dial(100 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.List(); err == nil || !strings.Contains(err.Error(), "did not answer within 100ms") {
		t.Errorf("says nothing: %v", err)
	}
	if _, err := Dial(100 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "did not answer within 100ms") {
		t.Errorf("is busy: %v", err)
	}
}

// case K11: pipes of the system are as good as ours, those of others are refused.
func TestPipeOfAnother(t *testing.T) {
	for owner, want := range map[string]string{"SY": "", "BA": "", "S-1-5-21-1-2-3-1000": "belongs to another user (S-1-5-21-1-2-3-1000)"} {
		t.Run(owner, func(t *testing.T) {
			pipeAgent(t, owner, func(conn io.ReadWriter) { _ = agent.ServeAgent(agent.NewKeyring(), conn) })
			a, err := Dial(10 * time.Second)
			if err == nil {
				_ = a.Close()
			}
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}
