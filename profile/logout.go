package profile

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/sshagent"
	"github.com/seed-087d674e/tsh/keystore"
)

// Login is a user at a proxy.
type Login struct{ Proxy, User string }

// Removed says what a logout did. Empty means that nothing matched.
type Removed struct {
	Logins []Login  // who had files
	Paths  []string // files and directories that are gone
	Left   []string // files, directories and keyring entries that could not be removed
}

// Logout removes the keys and certificates of a user at the proxy name, in every
// layout, with their entries in the keyring and in the ssh-agent; an empty user means
// every user there, an empty name every proxy. The profile stays, so that the next
// login knows the proxy, as do known_hosts, the authorities and everything of other
// users. It works from file names, whatever the files contain, removes private keys
// first, goes on after errors, and returns them together with what is left. Repeating
// it is harmless. What killed logins left half written goes, too.
func (s *Store) Logout(ctx context.Context, name, user string) (Removed, error) {
	var done Removed
	tx := durable.BeginRemoval(ctx, s.home)
	defer tx.Close()
	leaving, findErr := s.leaving(name, user)
	for _, l := range leaving {
		done.Logins = append(done.Logins, l.Login)
	}
	// The first files of a login are its private keys.
	for i, more := 0, true; more; i++ {
		more = false
		for _, l := range leaving {
			if i < len(l.files) {
				tx.Remove(l.files[i])
				more = true
			}
		}
	}
	errs := []error{tx.Trouble(), findErr, tx.Commit()}
	tx.Close()
	for _, l := range leaving {
		errs = append(errs, s.account(l, &done))
		left, err := s.leaveSlots(ctx, l.Login, l.slots)
		for _, name := range left {
			done.Left = append(done.Left, fmt.Sprintf("keyring entry %s: %v", name, err))
		}
	}
	s.leaveAgent(done.Logins)
	return done, errors.Join(errs...)
}

// leaver is a login that is about to end.
type leaver struct {
	Login
	files []string
	slots []string
}

func (s *Store) leaving(name, user string) (found []leaver, err error) {
	dir := keystore.Dir{Home: s.home}
	proxies, errs := []string{name}, []error(nil)
	if name == "" {
		all, err := dir.Proxies()
		proxies, errs = all, append(errs, err)
	} else if p, err := s.Load(name); err == nil && p.Host() != name {
		proxies = append(proxies, p.Host())
	}
	state, err := s.loadKeys()
	if err != nil {
		state, errs = &keysState{}, append(errs, err)
	}
	for _, proxy := range proxies {
		users, err := s.users(proxy, user, state)
		errs = append(errs, err)
		for _, u := range users {
			l := leaver{Login: Login{proxy, u}}
			if l.files, err = dir.UserFiles(proxy, u); err != nil {
				errs = append(errs, err)
				continue
			}
			l.slots, err = dir.SealedSlots(proxy, u)
			errs = append(errs, err)
			remembered := len(state.of(l.Login)) > 0
			if len(l.files) > 0 || remembered {
				found = append(found, l)
			}
		}
	}
	return found, errors.Join(errs...)
}

func (s *Store) users(proxy, user string, state *keysState) ([]string, error) {
	if user != "" {
		return []string{user}, nil
	}
	users, err := keystore.Dir{Home: s.home}.Users(proxy)
	// A login of which only parts are left is known by the profile.
	if p, loadErr := s.Load(proxy); loadErr == nil && p.User != "" && !slices.Contains(users, p.User) {
		users = append(users, p.User)
	}
	// Of one whose logout was killed an entry in the keyring may be left.
	for _, k := range state.Slots {
		if k.Proxy == proxy && !slices.Contains(users, k.User) {
			users = append(users, k.User)
		}
	}
	return users, err
}

// account says which files of a login are gone and which are left.
func (s *Store) account(l leaver, done *Removed) error {
	left, err := keystore.Dir{Home: s.home}.UserFiles(l.Proxy, l.User)
	for _, f := range l.files {
		if slices.Contains(left, f) {
			done.Left = append(done.Left, filepath.Join(s.home, f))
		} else {
			done.Paths = append(done.Paths, filepath.Join(s.home, f))
		}
	}
	return err
}

// leaveAgent removes what a login, ours or another client's, has put into the
// ssh-agent. An agent that does not answer is only worth a word: its entries end with
// the certificates.
func (s *Store) leaveAgent(logins []Login) {
	if len(logins) == 0 {
		return
	}
	agent, err := sshagent.Dial(AgentPatience)
	if errors.Is(err, sshagent.ErrNone) {
		return
	}
	if err == nil {
		defer agent.Close()
		for _, l := range logins {
			if _, removeErr := agent.Remove(l.Proxy, l.User); err == nil {
				err = removeErr
			}
		}
	}
	if err != nil {
		s.notice("keys may be left in the ssh-agent until their certificates end: %v", err)
	}
}
