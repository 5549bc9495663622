package profile

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/keystore"
)

// BenchmarkLoad is what a program pays to use a login: the current profile and
// its identity. The goal is 0.1 ms.
func BenchmarkLoad(b *testing.B) {
	for _, version := range []string{"18.3", "14.0"} {
		b.Run(version, func(b *testing.B) {
			store := Open(testenv.CopyHome(b, version))
			for b.Loop() {
				p, err := store.Load("")
				if err != nil {
					b.Fatal(err)
				}
				if _, err := store.Identity(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStatus is the part of it that looking takes.
func BenchmarkStatus(b *testing.B) {
	store := Open(testenv.CopyHome(b, "18.3"))
	for b.Loop() {
		p, err := store.Load("")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := store.IdentityPublic(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList1000(b *testing.B) {
	home := b.TempDir()
	for i := range 1000 {
		testenv.Write(b, filepath.Join(home, fmt.Sprintf("gate%d.example.net.yaml", i)), "web_proxy_addr: x:1\n")
	}
	store := Open(home)
	for b.Loop() {
		if names, err := store.List(); err != nil || len(names) != 1000 {
			b.Fatal(len(names), err)
		}
	}
}

// BenchmarkRelogin is the durable save of a login where one was: five new files. The
// goal is 3 ms on ext4.
func BenchmarkRelogin(b *testing.B) {
	s := Open(filepath.Join(b.TempDir(), "home"))
	p, first := login(b, "gate", "alice", "harbor")
	_, second := login(b, "gate", "alice", "harbor")
	second.Authorities = first.Authorities
	ids := []*keystore.Identity{first, second}
	for i := 0; b.Loop(); i++ {
		if err := s.Commit(b.Context(), p, ids[i%2]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit is a durable save of a whole login into an empty directory: ten
// files and their directories.
func BenchmarkCommit(b *testing.B) {
	from := Open(testenv.CopyHome(b, "18.3"))
	p, err := from.Load("")
	if err != nil {
		b.Fatal(err)
	}
	id, err := from.Identity(p)
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	for i := 0; b.Loop(); i++ {
		if err := Open(filepath.Join(dir, fmt.Sprint(i))).Commit(b.Context(), p, id); err != nil {
			b.Fatal(err)
		}
	}
}
