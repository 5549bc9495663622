package profile

import (
	"context"
	"fmt"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/keystore"
)

// CommitAlone is Commit for certificates that give other rights than those that are
// stored: all other certificates of the user at the proxy, for other clusters and
// for single resources, are removed in the same change.
func (s *Store) CommitAlone(ctx context.Context, p *Profile, id *keystore.Identity) error {
	return s.save(ctx, &saving{profile: p, id: id, current: true, alone: true})
}

// SaveAlone is CommitAlone that leaves the current profile as it is, unless there is none.
func (s *Store) SaveAlone(ctx context.Context, p *Profile, id *keystore.Identity) error {
	_, err := s.Current()
	return s.save(ctx, &saving{profile: p, id: id, current: err != nil, alone: true})
}

// AddAuthorities stores the authorities of id, a login to p that is stored, and
// nothing else of it. They have to have come from its root cluster over a connection
// that the stored authorities verified. Those of other clusters stay as they are.
// Errors are those of Commit.
func (s *Store) AddAuthorities(ctx context.Context, p *Profile, id *keystore.Identity) error {
	if id.Proxy != p.Host() || id.User != p.User {
		return fmt.Errorf("identity of %q at %q does not belong to profile %s", id.User, id.Proxy, p.Host())
	}
	return s.change(ctx, func(tx *durable.Tx) error {
		return keystore.Dir{Home: s.home, Proven: id.Proxy}.StageAuthorities(tx, id)
	})
}
