package profile

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/keystore"
)

// maxKeyFile is the largest file that can be a private key.
const maxKeyFile = 64 << 10

// OrphanSlots returns the slots in the keyring that no login needs any more: of logins
// that were replaced or killed. It does not ask the keyring. While the key files of a
// login cannot be read its slots are none.
func (s *Store) OrphanSlots() (names []string) {
	seen := map[Login]bool{}
	for _, k := range s.readKeys().Slots {
		l := Login{k.Proxy, k.User}
		if seen[l] {
			continue
		}
		seen[l] = true
		names = append(names, s.unusedSlots(l.Proxy, l.User)...)
	}
	return names
}

// FreeSlots empties those of the slots that are still in OrphanSlots, and returns those
// that could not be.
func (s *Store) FreeSlots(ctx context.Context, names []string) (left []string) {
	orphans := s.OrphanSlots()
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(orphans, n) })
	return s.dropSlots(ctx, names)
}

// keysReadable reports whether it can be seen what the private keys of a login are
// sealed with, or that there are none.
func (s *Store) keysReadable(l Login) bool {
	if keystore.CheckName("proxy", l.Proxy) != nil || keystore.CheckName("user", l.User) != nil {
		return false
	}
	if durable.PlainDirs(s.home, "keys/"+l.Proxy) != nil {
		return false
	}
	view := durable.Look(s.home)
	for _, suffix := range []string{"", ".key"} {
		data, _, err := view.ReadPrivate("keys/"+l.Proxy+"/"+l.User+suffix, maxKeyFile)
		clear(data)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}
