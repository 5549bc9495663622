package profile

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/keystore"
)

// Login is a user at a proxy.
type Login struct{ Proxy, User string }

// Removed says what a logout did. Empty means that nothing matched.
type Removed struct {
	Logins []Login  // who had files
	Paths  []string // files and directories that are gone
	Left   []string // files and directories that could not be removed, or are in use
}

// Logout removes the keys and certificates of a user at the proxy name, in every
// layout; an empty user means every user there, an empty name every proxy. The
// profile stays, so that the next login knows the proxy, as do known_hosts, the
// authorities and everything of other users. It works from file names, whatever
// the files contain, goes on after errors, and returns them together with what is
// left. Repeating it is harmless. What killed logins left half written goes, too;
// a login that is being stored at this moment is among what is left.
func (s *Store) Logout(name, user string) (Removed, error) {
	var done Removed
	proxies, errs := []string{name}, []error(nil)
	if name == "" {
		all, err := s.proxies()
		proxies, errs = all, append(errs, err)
	} else if p, err := s.Load(name); err == nil && p.Host() != name {
		proxies = append(proxies, p.Host())
	}
	for _, proxy := range proxies {
		users, err := s.users(proxy, user)
		errs = append(errs, err)
		for _, u := range users {
			errs = append(errs, s.remove(proxy, u, &done))
		}
	}
	done.Left = append(done.Left, durable.Sweep(s.home)...)
	return done, errors.Join(errs...)
}

// proxies are those with a key directory, with a profile or without.
func (s *Store) proxies() ([]string, error) {
	return keystore.Dir{Home: s.home}.Proxies()
}

func (s *Store) users(proxy, user string) ([]string, error) {
	if user != "" {
		return []string{user}, nil
	}
	users, err := keystore.Dir{Home: s.home}.Users(proxy)
	// A login of which only parts are left is known by the profile.
	if p, loadErr := s.Load(proxy); loadErr == nil && p.User != "" && !slices.Contains(users, p.User) {
		users = append(users, p.User)
	}
	return users, err
}

func (s *Store) remove(proxy, user string, done *Removed) error {
	dir := keystore.Dir{Home: s.home}
	files, err := dir.UserFiles(proxy, user)
	if err != nil || len(files) == 0 {
		return err
	}
	done.Logins = append(done.Logins, Login{proxy, user})
	tx := durable.Begin(s.home)
	if err := dir.StageRemove(tx, proxy, user); err != nil {
		return err
	}
	err = tx.Commit()
	left, leftErr := dir.UserFiles(proxy, user)
	for _, f := range files {
		if slices.Contains(left, f) {
			done.Left = append(done.Left, filepath.Join(s.home, f))
		} else {
			done.Paths = append(done.Paths, filepath.Join(s.home, f))
		}
	}
	return errors.Join(err, leftErr)
}
