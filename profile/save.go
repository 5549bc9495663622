package profile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/keystore"
)

// Commit stores a login as one change: keys and certificates, authorities,
// known_hosts, profile, and the name of the current profile. It refuses an identity
// that fails Check, one of another proxy, user or cluster than the profile's,
// (*keystore.ConflictError) a cluster that another proxy is known as or a login that
// p.Proven has no right to replace, addresses and durations that Load would refuse,
// and files of another user. Without an identity (nil) it stores the profile alone.
// Files that say the same already are not written.
//
// Private keys are kept where p.Keystore says, or else where those of the last login
// were. After an error everything is as it was, unless it is a
// *durable.UnfinishedError, which says what to expect. Another process that is
// storing at this moment is waited for, 5 s at most or until ctx ends.
func (s *Store) Commit(ctx context.Context, p *Profile, id *keystore.Identity) error {
	return s.save(ctx, &saving{profile: p, id: id, current: true})
}

// Save is Commit for a login that nobody asked for by name, such as one that a
// command needed to go on: it leaves the current profile as it is, unless there
// is none.
func (s *Store) Save(ctx context.Context, p *Profile, id *keystore.Identity) error {
	_, err := s.Current()
	return s.save(ctx, &saving{profile: p, id: id, current: err != nil})
}

// Select makes name the current profile. It must exist and be readable.
func (s *Store) Select(ctx context.Context, name string) error {
	if _, err := s.Load(name); err != nil || name == "" {
		return err
	}
	return s.change(ctx, func(tx *durable.Tx) error {
		s.stageCurrent(tx, name)
		return nil
	})
}

// Vet returns the error that Commit would return for a login that is not to be
// stored: what is stored must not be contradicted by it. It changes nothing.
func (s *Store) Vet(p *Profile, id *keystore.Identity) error {
	if err := checkLogin(p, id); err != nil {
		return err
	}
	return keystore.Dir{Home: s.home, Proven: p.Proven}.Vet(id)
}

// saving is a login on its way to the disk.
type saving struct {
	profile  *Profile
	id       *keystore.Identity
	current  bool           // it becomes the current profile
	alone    bool           // other certificates of the user at the proxy go
	keysOnly bool           // nothing changes but where its keys are
	keep     Keystore       // where private keys go
	replaced []string       // slots of the keyring that no login needs after it
	seal     *keystore.Seal // with what they are sealed; nil if they are not
}

func (v *saving) login() Login { return Login{v.id.Proxy, v.id.User} }

func (s *Store) save(ctx context.Context, v *saving) error {
	if err := checkLogin(v.profile, v.id); err != nil {
		return err
	}
	// The slot that was chosen may be gone, or another login stored, by the time that we
	// are the only one: then it is chosen anew, once.
	for try := 0; ; try++ {
		if err := s.chooseKeys(ctx, v); err != nil {
			return err
		}
		err := s.change(ctx, func(tx *durable.Tx) error { return s.stage(tx, v) })
		overtaken := errors.Is(err, errSlotGone) || errors.Is(err, keystore.ErrNoSealKey)
		if v.id != nil {
			err = s.settleKeys(ctx, v, err)
		}
		if !overtaken || try > 0 {
			return err
		}
	}
}

// change opens a transaction, has it filled and commits it.
func (s *Store) change(ctx context.Context, fill func(*durable.Tx) error) error {
	tx, err := durable.Begin(ctx, s.home)
	if err != nil {
		return err
	}
	defer tx.Close()
	if err := fill(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// checkLogin judges what is to be stored, before anything is touched.
func checkLogin(p *Profile, id *keystore.Identity) error {
	name := p.Host()
	if p.Name != "" && p.Name != name {
		return fmt.Errorf("profile %q has the address %q of another proxy", p.Name, p.WebProxyAddr)
	}
	if err := keystore.CheckName("proxy", name); err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return err
	}
	if id == nil {
		return nil
	}
	if id.Proxy != name || id.User != p.User || id.Cluster != p.Cluster {
		return fmt.Errorf("identity of %q at %q for cluster %q does not belong to profile %s (%q, %q)",
			id.User, id.Proxy, id.Cluster, name, p.User, p.Cluster)
	}
	return nil // keystore judges the rest
}

func (s *Store) stage(tx *durable.Tx, v *saving) error {
	p, name := v.profile, v.profile.Host()
	if v.keysOnly {
		if err := s.checkStill(v); err != nil {
			return err
		}
	} else {
		s.stageTyped(tx, p.Typed, name)
	}
	if v.id != nil {
		if err := s.stageKeystore(tx, v); err != nil {
			return err
		}
		dir := keystore.Dir{Home: s.home, Proven: p.Proven, Seal: v.seal, WithoutKeys: v.keep == KeysInAgent}
		if err := dir.Stage(tx, v.id); err != nil {
			return err
		}
	}
	if v.keysOnly {
		return nil
	}
	if v.alone {
		if err := (keystore.Dir{Home: s.home}).StageRemoveOthers(tx, v.id); err != nil {
			return err
		}
	}
	if err := s.stageProfile(tx, p, name); err != nil {
		return err
	}
	if v.current {
		s.stageCurrent(tx, name)
	}
	return nil
}

// stageProfile edits the file that is there; it may have changed since p was
// loaded. One that cannot be read is replaced: that is what a login is for.
func (s *Store) stageProfile(tx *durable.Tx, p *Profile, name string) error {
	old, err := durable.ReadFile(s.path(name), maxFile)
	base := old
	switch {
	case errors.Is(err, fs.ErrNotExist):
		base = p.raw
	case isErrno(err) && !errors.Is(err, fs.ErrPermission):
		return err // there may be more in it than we know
	}
	named := *p
	named.Name = name
	data, encErr := named.encode(base)
	if encErr == nil {
		encErr = named.checkEncoded(data)
	}
	if encErr != nil {
		return encErr
	}
	if err != nil || !bytes.Equal(data, old) {
		tx.Write(name+extension, data, fileMode)
	}
	return nil
}

func (s *Store) stageCurrent(tx *durable.Tx, name string) {
	if now, err := s.Current(); err != nil || now != name {
		tx.Write(currentFile, []byte(name+"\n"), fileMode)
	}
}
