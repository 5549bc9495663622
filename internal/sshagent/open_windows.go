package sshagent

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/windows"

	"github.com/seed-087d674e/tsh/internal/text"
)

const (
	pipes  = `\\.\pipe\`
	system = pipes + "openssh-ssh-agent" // of the service that comes with Windows
)

// address is the name of the agent's pipe.
func address() (string, error) {
	path := os.Getenv(variable)
	switch {
	case path == "":
		return system, nil
	case !strings.HasPrefix(strings.ToLower(strings.ReplaceAll(path, "/", `\`)), pipes):
		return "", fmt.Errorf("SSH_AUTH_SOCK is %s, not a named pipe", text.Line(path))
	}
	return path, nil
}

// open connects to the agent. All instances of its pipe may be in use for a moment.
func open(path string, deadline time.Time) (connection, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	for {
		// Overlapped, as deadlines work with nothing else. Whoever made the pipe may
		// learn who we are, but not act as us.
		handle, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING,
			windows.FILE_FLAG_OVERLAPPED|windows.SECURITY_SQOS_PRESENT|windows.SECURITY_IDENTIFICATION, 0)
		switch {
		case err == nil:
			return checked(handle, path)
		case errors.Is(err, windows.ERROR_FILE_NOT_FOUND) && os.Getenv(variable) == "":
			return nil, ErrNone
		case !errors.Is(err, windows.ERROR_PIPE_BUSY):
			return nil, err
		case time.Now().After(deadline):
			return nil, os.ErrDeadlineExceeded
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// checked refuses what is not a pipe of ours or of the system.
func checked(handle windows.Handle, path string) (connection, error) {
	err := checkOwner(handle)
	if err != nil {
		_ = windows.CloseHandle(handle)
		return nil, err
	}
	return os.NewFile(uintptr(handle), path), nil
}

func checkOwner(handle windows.Handle) error {
	if kind, err := windows.GetFileType(handle); err != nil || kind != windows.FILE_TYPE_PIPE {
		return errors.New("it is not a pipe")
	}
	sd, err := windows.GetSecurityInfo(handle, windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("whose it is cannot be told: %w", err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("whose it is cannot be told: %w", err)
	}
	if owner == nil {
		return errors.New("it belongs to nobody")
	}
	if owner.IsWellKnown(windows.WinLocalSystemSid) || owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) {
		return nil
	}
	us, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return err
	}
	if !owner.Equals(us.User.Sid) {
		return fmt.Errorf("it belongs to another user (%s)", owner)
	}
	return nil
}
