//go:build unix

package transfer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// case X05: a part that somebody else has put where it is looked for is not written to.
func TestPartOfSomebodyElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can give files away")
	}
	src, dst := t.TempDir(), t.TempDir()
	put(t, filepath.Join(src, "f"), []byte("words"))
	fi, err := os.Stat(filepath.Join(src, "f"))
	if err != nil {
		t.Fatal(err)
	}
	to, err := openDir(Place{}, dst)
	if err != nil {
		t.Fatal(err)
	}
	defer to.close()
	for _, owner := range []int{12345, 0} {
		s := slot{dir: to, name: "f", resume: "what it is"}
		part := filepath.Join(dst, tempName("f", s.resume))
		put(t, part, []byte("x"))
		if err := os.Chown(part, owner, -1); err != nil {
			t.Fatal(err)
		}
		w, _, err := s.create(context.Background(), localInfo(fi))
		if (err == nil) != (owner == 0) || err != nil && !errors.Is(err, fs.ErrExist) {
			t.Errorf("of user %d: %v", owner, err)
		}
		if err == nil {
			w.abort(false)
		}
	}
}
