//go:build unix

package tshconfig

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// case P04
func TestFilesOfOthers(t *testing.T) {
	tests := []struct {
		name      string
		file, dir os.FileMode
		want      string
	}{
		{"private", 0o600, 0o755, ""},
		{"read by all", 0o644, 0o755, ""},
		{"written by a group", 0o664, 0o755, "can be written by others"},
		{"written by all", 0o666, 0o755, "can be written by others"},
		{"written by a group that does not get there", 0o664, 0o700, ""},
		{"written by all of a group", 0o666, 0o750, "can be written by others"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			home := filepath.Join(t.TempDir(), "home")
			path := filepath.Join(home, "config", "config.yaml")
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("aliases: {a: b}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(home, tt.dir); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.file); err != nil {
				t.Fatal(err)
			}
			link := filepath.Join(t.TempDir(), "link.yaml")
			if err := os.Symlink(path, link); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{path, link} {
				_, err := Load(path)
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("%v", err)
				}
			}
		})
	}
}

func TestAFileOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	path := writeFile(t, "aliases: {a: b}\n")
	if err := os.Chown(path, 4711, 4711); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "belongs to user 4711") {
		t.Errorf("%v", err)
	}
}

// A pipe in the place of the file holds nobody up.
func TestNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := Load(path, t.TempDir()); done <- err }()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "is not a file") {
			t.Errorf("%v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a pipe is waited for")
	}
}
