package durable

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// case F23: a reader that has the old file open, and does not share it, is waited for;
// one that never lets go leaves the old state and a message.
func TestReaderThatHoldsTheFile(t *testing.T) {
	for _, letsGo := range []bool{true, false} {
		home := t.TempDir()
		put(t, home, "current-profile", "old")
		name, err := windows.UTF16PtrFromString(filepath.Join(home, "current-profile"))
		if err != nil {
			t.Fatal(err)
		}
		reader, err := windows.CreateFile(name, windows.GENERIC_READ, windows.FILE_SHARE_READ, nil, windows.OPEN_EXISTING, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if letsGo {
			time.AfterFunc(200*time.Millisecond, func() { _ = windows.CloseHandle(reader) })
		} else {
			defer func() { _ = windows.CloseHandle(reader) }()
		}
		tx := begun(t, home)
		tx.Write("current-profile", []byte("new"), 0o600)
		err = done(tx)
		want := map[bool]string{true: "current-profile=new", false: "current-profile=old"}[letsGo]
		if got := tree(t, home); (err == nil) != letsGo || got != want {
			t.Errorf("lets go %v: %v, left %q", letsGo, err, got)
		}
	}
}

// Our own lock can be read by others while it is held, so that they can say who it is.
func TestWhoHasOurLock(t *testing.T) {
	home := t.TempDir()
	tx := begun(t, home)
	if who := ownHolder(home); who == "" {
		data, err := os.ReadFile(filepath.Join(home, filepath.FromSlash(lockPath)))
		t.Errorf("nobody has it: %q, %v", data, err)
	}
	if len(Locks(home)) != 1 {
		t.Error("it is not locked")
	}
	tx.Close()
	if len(Locks(home)) != 0 {
		t.Error("it is still locked")
	}
}
