package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What other clients have stored is shown as it is, and looking at it changes
// nothing: not a byte, not a time, no new file.
func TestHomesOfOtherClients(t *testing.T) {
	for _, tc := range []struct{ version, user, cluster string }{
		{"18.3", "fixture", "real.example.test"},
		{"14.0", "fixture14", "old.example.test"},
	} {
		t.Run(tc.version, func(t *testing.T) {
			home := filepath.Join(t.TempDir(), "home")
			if err := os.CopyFS(home, os.DirFS(filepath.Join("..", "..", "testdata", "fixtures", tc.version, "home"))); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, home)
			for _, args := range [][]string{{"status"}, {"status", "--format=json"}, {"env"}, {"login"}} {
				cmd := exec.Command(release(t), args...)
				cmd.Env = append(os.Environ(), "TELEPORT_HOME="+home, "TELEPORT_PROXY=")
				out, err := cmd.CombinedOutput()
				if err != nil || !bytes.Contains(out, []byte(tc.cluster)) {
					t.Fatalf("tsh %s: %v\n%s", strings.Join(args, " "), err, out)
				}
				if args[0] == "status" && !bytes.Contains(out, []byte(tc.user)) {
					t.Errorf("tsh status does not name %s:\n%s", tc.user, out)
				}
			}
			for path, was := range before {
				if now := snapshot(t, home)[path]; now != was {
					t.Errorf("%s was changed", path)
				}
			}
			if len(snapshot(t, home)) != len(before) {
				t.Error("there are other files than before")
			}
		})
	}
}

type fileState struct {
	content string
	changed time.Time
}

func snapshot(t *testing.T, dir string) map[string]fileState {
	t.Helper()
	files := make(map[string]fileState)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		files[path] = fileState{string(content), info.ModTime()}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
