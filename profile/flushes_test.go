package profile

import (
	"path/filepath"
	"testing"

	"github.com/seed-087d674e/tsh/internal/durable"
)

// What a durable save costs is the flushes it waits for: each is a fraction of a
// millisecond at best. They run side by side in three rounds.
func TestFlushesOfALogin(t *testing.T) {
	s := OpenWith(filepath.Join(t.TempDir(), "home"), newRing())
	p, first := login(t, "gate", "alice", "harbor")
	_, second := login(t, "gate", "alice", "harbor")
	second.Authorities = first.Authorities
	p.Typed = "gate"
	flushes := 0
	ctx := durable.WithFaults(t.Context(), func(op, _ string) error {
		if op == "fsync" {
			flushes++
		}
		return nil
	})
	for _, step := range []struct {
		name string
		do   func() error
		most int
	}{
		{"a first login", func() error { return s.Commit(ctx, p, first) }, 21},
		{"a login after it", func() error { return s.Commit(ctx, p, second) }, 11},
		{"the same login again", func() error { return s.Commit(ctx, p, second) }, 0},
		{"switching", func() error { return s.Select(ctx, "gate") }, 0},
	} {
		flushes = 0
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d flushes", step.name, flushes)
		if flushes > step.most {
			t.Errorf("%s waits for %d flushes, more than %d", step.name, flushes, step.most)
		}
	}
}
