package profile

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-087d674e/tsh/keystore"
)

// case F05, case L29: readers beside a person who logs in again and again see one login
// or another, never parts of two.
func TestReadersBesideReloginsSeeNoTornState(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "home"))
	p, first := login(t, "gate", "alice", "harbor")
	_, second := login(t, "gate", "alice", "harbor")
	second.Authorities = first.Authorities
	if err := s.Commit(t.Context(), p, first); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var readers sync.WaitGroup
	var loads atomic.Int64
	for range 2 {
		readers.Go(func() {
			for !stop.Load() {
				got, err := s.Load("")
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Identity(got); err != nil {
					t.Error(err)
					return
				}
				loads.Add(1)
			}
		})
	}
	const logins = 60
	for i := range logins {
		id := first
		if i%2 == 0 {
			id = second
		}
		if err := s.Commit(t.Context(), p, id); err != nil {
			t.Error(err)
			break
		}
	}
	stop.Store(true)
	readers.Wait()
	t.Logf("%d loads beside %d logins", loads.Load(), logins)
}

// case F06, case F09, case L29: logins to several proxies at once lose nothing of each other.
func TestLoginsAtOnceKeepEachOthersTrust(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "home"))
	names := []string{"gate", "port", "quay", "pier", "dock", "mole"}
	profiles, ids := make([]*Profile, len(names)), make([]*keystore.Identity, len(names))
	for i, name := range names {
		profiles[i], ids[i] = login(t, name, "alice", "cluster-of-"+name)
	}
	var logins sync.WaitGroup
	for i := range names {
		logins.Go(func() {
			if err := s.Commit(t.Context(), profiles[i], ids[i]); err != nil {
				t.Error(err)
			}
		})
	}
	logins.Wait()
	for _, name := range names {
		p, err := s.Load(name)
		if err != nil {
			t.Error(err)
			continue
		}
		id, err := s.Identity(p)
		if err != nil || len(id.Authorities) != 1 || len(id.Authorities[0].SSHKeys) != 1 {
			t.Errorf("%s: %v, %v", name, id, err)
		}
	}
	if _, err := s.Load(""); err != nil {
		t.Errorf("current profile: %v", err)
	}
}
