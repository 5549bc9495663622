package release

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// case P05: whoever builds a commit gets the bytes of the release: two checkouts in
// directories of different names, one with nothing compiled yet, another user's home, a
// file system's other times.
func TestBuildsAreReproducible(t *testing.T) {
	testenv.SecondRing(t)
	git := testenv.Program(t, "git")
	testenv.Program(t, "go")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	root, err := exec.CommandContext(ctx, git, "rev-parse", "--show-toplevel").Output()
	if err != nil {
		testenv.Missing(t, "this is no checkout of git")
	}
	var built [2][]byte
	for i, name := range []string{"one", filepath.Join("another", "with a longer name")} {
		dir := filepath.Join(t.TempDir(), name)
		if out, err := exec.CommandContext(ctx, git, "clone", "-q", "--shared", strings.TrimSpace(string(root)), dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		cmd := Command(ctx, dir+"/out/", "./cmd/tsh")
		cmd.Dir = dir
		if i == 1 {
			cmd.Env = append(cmd.Env, "GOCACHE="+t.TempDir(), "GOTMPDIR="+t.TempDir(), "TZ=Asia/Tokyo", "LANG=de_DE.UTF-8", "USER=somebody")
		}
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "out", "tsh")
		if _, err := os.Stat(path); err != nil {
			path += ".exe"
		}
		if built[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(built[i], []byte(dir)) || bytes.Contains(built[i], []byte(filepath.ToSlash(dir))) {
			t.Errorf("the program names the directory it was built in, %s", dir)
		}
	}
	if !bytes.Equal(built[0], built[1]) {
		t.Errorf("the two have %d and %d bytes, and differ", len(built[0]), len(built[1]))
	}
}
