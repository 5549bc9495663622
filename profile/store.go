package profile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/keyring"
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

// Store is a profile directory. Every call reads the disk, so that several processes
// can use the directory at once; only the key that opens sealed private keys is asked
// for once.
type Store struct {
	// Notice is told what a person should know of a change that went well all the
	// same: that keys could not be stored as wanted, what is left behind. Nil means
	// that nobody wants to know.
	Notice func(message string)

	home string
	ring *askedOnce
}

// Open returns the store in the directory home, which need not exist. It touches
// neither the disk nor the keyring.
func Open(home string) *Store { return OpenWith(home, keyring.System{}) }

// OpenWith is Open with another keyring than the operating system's.
func OpenWith(home string, ring keystore.Keyring) *Store {
	return &Store{home: home, ring: &askedOnce{ring: ring}}
}

func (s *Store) notice(format string, args ...any) {
	if s.Notice != nil {
		s.Notice(fmt.Sprintf(format, args...))
	}
}

// Home returns the directory.
func (s *Store) Home() string { return s.home }

// Current returns the name of the current profile, or an error that matches
// ErrNoCurrent. Whether that profile exists is Load's business.
func (s *Store) Current() (string, error) { return s.current(durable.Look(s.home)) }

func (s *Store) current(view *durable.View) (string, error) {
	data, err := view.ReadFile(currentFile, maxCurrent)
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
		return "", fmt.Errorf("%w: %s: %w", ErrDamaged, s.abs(currentFile), err)
	}
	return name, nil
}

// List returns the names of all profiles, sorted: regular files NAME.yaml. It
// does not read them. A missing directory is an empty list.
func (s *Store) List() ([]string, error) {
	entries, err := durable.Look(s.home).ReadDir(".")
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
	view := durable.Look(s.home)
	if name == "" {
		current, err := s.current(view)
		if err != nil {
			return nil, err
		}
		name = current
	}
	if err := keystore.CheckName("proxy", name); err != nil {
		return nil, err
	}
	path := s.path(name)
	data, err := view.ReadFile(name+extension, maxFile)
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

func (s *Store) abs(path string) string { return durable.Below(s.home, path) }

func (s *Store) path(name string) string { return s.abs(name + extension) }

// Identity loads what p's login got, with private keys and with the authorities
// of the root and the selected cluster (of all, with LoadAllCAs). Errors are those
// of keystore.Dir.Load; a profile of another user is an error, too.
func (s *Store) Identity(p *Profile) (*keystore.Identity, error) { return s.identity(p, nil) }

func (s *Store) identity(p *Profile, clusters []string) (*keystore.Identity, error) {
	if p.User == "" {
		return nil, fmt.Errorf("%w: profile %s names no user", keystore.ErrNotFound, p.Name)
	}
	if _, err := durable.CheckOwners(s.path(p.Name), s.abs(currentFile)); err != nil {
		return nil, err
	}
	dir := s.dir(p)
	dir.Clusters = clusters
	return dir.Load(p.Host(), p.User, p.Cluster)
}

// IdentityFor is Identity with the authorities of one more cluster.
func (s *Store) IdentityFor(p *Profile, cluster string) (*keystore.Identity, error) {
	return s.identity(p, []string{cluster})
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
	return keystore.Dir{Home: s.home, AllAuthorities: p.LoadAllCAs, Keyring: s.ring}
}

// Protect takes the permissions of others away from files and directories that
// keystore.Identity.Exposed names, and returns for each what was done. Those that
// cannot be changed are in the error, with what the person can do.
func (s *Store) Protect(paths []string) (done []string, err error) {
	var errs []error
	for _, path := range paths {
		at := path
		if path == s.home { // it may be a link
			if to, err := filepath.EvalSymlinks(path); err == nil {
				at = to
			}
		}
		had, err := durable.Protect(at)
		if err != nil {
			errs = append(errs, fmt.Errorf("other users can get at %s; chmod go= it: %w", path, err))
			continue
		}
		done = append(done, fmt.Sprintf("other users could get at %s (mode %04o); only you can now", path, had))
	}
	return done, errors.Join(errs...)
}

// Settle finishes what a killed process began to store, unless somebody is at it; see
// durable.Settle. Readers see it without, other clients do not.
func (s *Store) Settle(ctx context.Context) error { return durable.Settle(ctx, s.home) }
