package durable

import (
	"path/filepath"
	"testing"
)

func TestBelowIsJoin(t *testing.T) {
	for _, home := range []string{"", ".", "..", "/", "//", "a", "a/", "./a", "/a/b", "/a//b/", "../a", "a/..", "a.", "C:", `C:\`, `C:\a`, `\\host\share`} {
		for _, path := range []string{"", ".", "x", "keys/gate/alice.key", filepath.Join("keys", "gate", "alice.key")} {
			if got, want := Below(home, path), filepath.Join(home, path); got != want {
				t.Errorf("%q below %q: got %q, want %q", path, home, got, want)
			}
		}
	}
}
