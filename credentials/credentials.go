// Package credentials gives a program what it needs to connect to a cluster: TLS
// and SSH configurations from a login that a person made with tsh.
//
//	creds := credentials.LoadProfile("", "")
//	config, err := creds.TLSConfig()
//
// Programs without a person have LoadIdentityFile, LoadIdentityString, LoadKeyPair, or
// LoadTLS for a configuration of their own; NewDynamicIdentityFile follows a file that
// something renews, and reads it at once: the others read when something is asked for. All
// are safe for concurrent use. What has expired is an error that says when, what a loader
// cannot do is an *UnsupportedError that says which one can.
//
// Nothing here talks to the network.
package credentials

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
	"golang.org/x/crypto/ssh"
)

// Credentials are one way to prove who a program is. keystore.Identity is one,
// the loaders of this package return others.
type Credentials interface {
	// TLSConfig is for connections to the cluster's own servers.
	TLSConfig() (*tls.Config, error)
	// SSHClientConfig is for connections to nodes and SSH proxies.
	SSHClientConfig() (*ssh.ClientConfig, error)
	// Expiry is when the credentials end; false when that is not known.
	Expiry() (time.Time, bool)
}

// Profile is the login of a profile directory. It is lazy: files are read when
// something is asked for. The profile file is kept once it could be read; keys,
// certificates and authorities are read each time, so that a new login is picked
// up. It is safe for concurrent use. Between calls it holds no private key, only what opens
// sealed ones, so that the system's keyring is asked once.
type Profile struct {
	redacted
	dir, name string
	now       func() time.Time

	mu     sync.Mutex
	store  *profile.Store
	loaded *profile.Profile
}

// LoadProfile returns the credentials of the login stored in the directory dir
// under the profile name. An empty dir is TELEPORT_HOME, or .tsh in the home
// directory; an empty name is the current profile. The name may be given as host,
// as host:port or as it was typed at login. Errors appear at the first use; they
// match those of profile.Store.Load and keystore.Dir.Load.
func LoadProfile(dir, name string) *Profile {
	return &Profile{dir: dir, name: name, now: time.Now}
}

// TLSConfig reads the login and returns what keystore.Identity.TLSConfig does. A
// login that has expired is an error that matches *keystore.TimeError and says
// when it ended and what to run.
func (p *Profile) TLSConfig() (*tls.Config, error) {
	id, err := p.identity()
	if err != nil {
		return nil, err
	}
	return id.TLSConfig()
}

// SSHClientConfig reads the login and returns what
// keystore.Identity.SSHClientConfig does, with the errors of TLSConfig.
func (p *Profile) SSHClientConfig() (*ssh.ClientConfig, error) {
	id, err := p.identity()
	if err != nil {
		return nil, err
	}
	return id.SSHClientConfig()
}

// Expiry is when the login ends, by the earlier one of its certificates. It is
// false when there is no login that could be read.
func (p *Profile) Expiry() (time.Time, bool) {
	store, prof, err := p.load()
	if err != nil {
		return time.Time{}, false
	}
	id, err := store.IdentityPublic(prof)
	if err != nil {
		slog.Debug("expiry is not known", "profile", prof.Name, "error", err)
		return time.Time{}, false
	}
	return id.Expiry()
}

// DefaultAddrs returns the web address (host:port) of the proxy of the login.
func (p *Profile) DefaultAddrs() ([]string, error) {
	_, prof, err := p.load()
	if err != nil {
		return nil, err
	}
	return []string{prof.WebProxyAddr}, nil
}

// Route is how the proxy of a login is reached.
type Route struct {
	WebAddr     string // host:port of the web listener
	SSHAddr     string // host:port of the SSH listener
	TLSRouting  bool   // everything is reached at WebAddr
	ConnUpgrade bool   // connections there have to be upgraded from HTTP
}

// Route returns how the proxy of the login is reached.
func (p *Profile) Route() (Route, error) {
	_, prof, err := p.load()
	if err != nil {
		return Route{}, err
	}
	return Route{prof.WebProxyAddr, prof.SSHProxyAddr, prof.TLSRouting, prof.ConnUpgrade}, nil
}

// User returns the user of the login.
func (p *Profile) User() (string, error) {
	_, prof, err := p.load()
	if err != nil {
		return "", err
	}
	return prof.User, nil
}

// Cluster returns the cluster the login selected, root or leaf.
func (p *Profile) Cluster() (string, error) {
	_, prof, err := p.load()
	if err != nil {
		return "", err
	}
	return prof.Cluster, nil
}

// load reads the profile file unless that was done.
func (p *Profile) load() (*profile.Store, *profile.Profile, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded != nil {
		return p.store, p.loaded, nil
	}
	dir := p.dir
	if dir == "" {
		home, err := profile.Home()
		if err != nil {
			return nil, nil, err
		}
		dir = home
	}
	store := profile.Open(dir)
	name := p.name
	if name != "" {
		name = store.Resolve(name)
	}
	loaded, err := store.Load(name)
	switch {
	case errors.Is(err, profile.ErrNoCurrent):
		return nil, nil, fmt.Errorf("profile directory %s: %w; run: tsh login --proxy=HOST", dir, err)
	case errors.Is(err, profile.ErrNotFound):
		return nil, nil, fmt.Errorf("profile directory %s: %w; run: tsh login --proxy=%s", dir, err, cmp.Or(p.name, "HOST"))
	case err != nil:
		return nil, nil, fmt.Errorf("profile directory %s: %w", dir, err)
	}
	p.store, p.loaded = store, loaded
	return store, loaded, nil
}

func (p *Profile) identity() (*keystore.Identity, error) {
	store, prof, err := p.load()
	if err != nil {
		return nil, err
	}
	id, err := store.Identity(prof)
	if errors.Is(err, keystore.ErrNotFound) || errors.Is(err, keystore.ErrDamaged) {
		return nil, fmt.Errorf("%w; run: %s", err, loginCommand(prof))
	}
	if err != nil {
		return nil, err
	}
	var when *keystore.TimeError
	if err := id.CheckTime(p.now()); errors.As(err, &when) {
		if !when.NotYet {
			return nil, fmt.Errorf("login of %s at %s: %w; run: %s", prof.User, prof.Name, when, loginCommand(prof))
		}
		// The server's clock decides; ours may be the one that is wrong.
		slog.Debug("login is not valid by the clock here", "profile", prof.Name, "error", when)
	}
	return id, nil
}

func loginCommand(p *profile.Profile) string {
	cmd := "tsh login --proxy=" + p.WebProxyAddr
	if p.User != "" {
		cmd += " --user=" + p.User
	}
	return cmd
}
