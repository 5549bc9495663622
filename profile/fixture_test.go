package profile

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

const fixtures = "../testdata/fixtures"

// case F25: a directory of another client, stored as it was read, stays as it is byte for
// byte; what is ours lies in config/tsh.
func TestNothingChangesWhereNothingIsNew(t *testing.T) {
	s := Open(testenv.CopyHome(t, "18.3"))
	p, err := s.Load("")
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Identity(p)
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, s.Home())
	p.Proven = p.Host()
	if err := s.Commit(t.Context(), p, id); err != nil {
		t.Fatal(err)
	}
	after := snapshot(t, s.Home())
	for file := range after {
		if _, old := before[file]; !old && !strings.HasPrefix(filepath.ToSlash(file), "config") {
			t.Errorf("%s is new", file)
		}
	}
	for file, content := range before {
		if after[file] != content {
			t.Errorf("%s changed", file)
		}
	}
}
