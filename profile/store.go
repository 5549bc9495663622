package profile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
)

const (
	currentFile = "current-profile"
	extension   = ".yaml"
	maxCurrent  = 4 << 10
	// Nobody else needs to read any of it.
	fileMode fs.FileMode = 0o600
)

// Store is a profile directory. It keeps no state: every call reads the disk, so
// that several processes can use the directory at once.
type Store struct{ home string }

// Open returns the store in the directory home, which need not exist. It does not
// touch the disk.
func Open(home string) *Store { return &Store{home: home} }

// Home returns the directory.
func (s *Store) Home() string { return s.home }

// Current returns the name of the current profile, or an error that matches
// ErrNoCurrent. Whether that profile exists is Load's business.
func (s *Store) Current() (string, error) {
	path := filepath.Join(s.home, currentFile)
	data, err := durable.ReadFile(path, maxCurrent)
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNoCurrent
	}
	if err != nil {
		return "", readError(err)
	}
	name := string(bytes.TrimSpace(data))
	if name == "" {
		return "", ErrNoCurrent
	}
	if err := keystore.CheckName("proxy", name); err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	return name, nil
}

// List returns the names of all profiles, sorted: regular files NAME.yaml. It
// does not read them. A missing directory is an empty list.
func (s *Store) List() ([]string, error) {
	entries, err := os.ReadDir(s.home)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), extension)
		if !ok || !e.Type().IsRegular() {
			continue
		}
		if err := keystore.CheckName("proxy", name); err != nil {
			slog.Debug("file is no profile", "name", text.Line(e.Name()), "error", err)
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names) // "a.yaml" comes after "a-b.yaml", "a" does not
	return names, nil
}

// Load reads the profile name, or the current one when name is empty. Errors
// match ErrNoCurrent, ErrNotFound or ErrDamaged (with the file's name); others
// come from the disk or from a name that cannot be one. Reading changes nothing.
func (s *Store) Load(name string) (*Profile, error) {
	if name == "" {
		current, err := s.Current()
		if err != nil {
			return nil, err
		}
		name = current
	}
	if err := keystore.CheckName("proxy", name); err != nil {
		return nil, err
	}
	path := s.path(name)
	data, err := durable.ReadFile(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		return nil, readError(err)
	}
	p, err := decode(name, data)
	if err == nil && p.Host() == "" {
		return nil, fmt.Errorf("%w: %s has no web_proxy_addr", ErrNotFound, path)
	}
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	return p, nil
}

// readError marks what is wrong with the file itself; what the operating system
// refuses stays as it is.
func readError(err error) error {
	var refused *fs.PathError
	if errors.As(err, &refused) && !isErrno(refused.Err) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

func (s *Store) path(name string) string { return filepath.Join(s.home, name+extension) }

// Identity loads what p's login got, with private keys and with the authorities
// of the root and the selected cluster (of all, with LoadAllCAs). Errors are those
// of keystore.Dir.Load; a profile of another user is an error, too.
func (s *Store) Identity(p *Profile) (*keystore.Identity, error) {
	if p.User == "" {
		return nil, fmt.Errorf("%w: profile %s names no user", keystore.ErrNotFound, p.Name)
	}
	if _, err := durable.CheckOwners(s.path(p.Name), filepath.Join(s.home, currentFile)); err != nil {
		return nil, err
	}
	return s.dir(p).Load(p.Host(), p.User, p.Cluster)
}

// IdentityPublic is Identity for looking only: certificates without private keys
// and authorities, from few files.
func (s *Store) IdentityPublic(p *Profile) (*keystore.Identity, error) {
	if p.User == "" {
		return nil, fmt.Errorf("%w: profile %s names no user", keystore.ErrNotFound, p.Name)
	}
	return s.dir(p).LoadPublic(p.Host(), p.User, p.Cluster)
}

func (s *Store) dir(p *Profile) keystore.Dir {
	return keystore.Dir{Home: s.home, AllAuthorities: p.LoadAllCAs}
}

// Commit stores a login as one change: keys and certificates, authorities,
// known_hosts, profile, and last the name of the current profile. It refuses an
// identity that fails Check, one of another proxy, user or cluster than the
// profile's, (*keystore.ConflictError) a cluster that another proxy is known as or
// a login that p.Proven has no right to replace, addresses and durations that Load
// would refuse, and files of another user. Without an identity (nil) it stores the profile alone. Files that say the
// same already are not written.
func (s *Store) Commit(p *Profile, id *keystore.Identity) error {
	tx, err := s.stage(p, id)
	if err != nil {
		return err
	}
	s.stageCurrent(tx, p.Host())
	return tx.Commit()
}

// Save is Commit for a login that nobody asked for by name, such as one that a
// command needed to go on: it leaves the current profile as it is, unless there
// is none.
func (s *Store) Save(p *Profile, id *keystore.Identity) error {
	tx, err := s.stage(p, id)
	if err != nil {
		return err
	}
	if _, err := s.Current(); err != nil {
		s.stageCurrent(tx, p.Host())
	}
	return tx.Commit()
}

func (s *Store) stage(p *Profile, id *keystore.Identity) (*durable.Tx, error) {
	name := p.Host()
	if p.Name != "" && p.Name != name {
		return nil, fmt.Errorf("profile %q has the address %q of another proxy", p.Name, p.WebProxyAddr)
	}
	if err := keystore.CheckName("proxy", name); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	tx := durable.Begin(s.home)
	// It counts only once the profile is there, and coming first it is not in the
	// way of the locks.
	s.stageTyped(tx, p.Typed, name)
	if id != nil {
		if id.Proxy != name || id.User != p.User || id.Cluster != p.Cluster {
			return nil, fmt.Errorf("identity of %q at %q for cluster %q does not belong to profile %s (%q, %q)",
				id.User, id.Proxy, id.Cluster, name, p.User, p.Cluster)
		}
		if err := (keystore.Dir{Home: s.home, Proven: p.Proven}).Stage(tx, id); err != nil {
			return nil, err
		}
	}
	return tx, s.stageProfile(tx, p, name)
}

// stageProfile edits the file that is there; it may have changed since p was
// loaded. One that cannot be read is replaced: that is what a login is for.
func (s *Store) stageProfile(tx *durable.Tx, p *Profile, name string) error {
	old, err := durable.ReadFile(s.path(name), maxFile)
	base := old
	if errors.Is(err, fs.ErrNotExist) {
		base = p.raw
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

// Select makes name the current profile. It must exist and be readable.
func (s *Store) Select(name string) error {
	if _, err := s.Load(name); err != nil || name == "" {
		return err
	}
	tx := durable.Begin(s.home)
	s.stageCurrent(tx, name)
	return tx.Commit()
}

func (s *Store) stageCurrent(tx *durable.Tx, name string) {
	if now, err := s.Current(); err != nil || now != name {
		tx.Write(currentFile, []byte(name+"\n"), fileMode)
	}
}
