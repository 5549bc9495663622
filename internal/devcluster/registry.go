package devcluster

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/google/uuid"
	"golang.org/x/crypto/bcrypt"
)

// Second factors a dev cluster can ask for.
const (
	factorOff      = "off"
	factorOTP      = "otp"
	factorWebAuthn = "webauthn"
	factorOn       = "on" // both
)

// maxName bounds the names of clusters and hosts.
const maxName = 100

// settings are what a cluster is, kept in its state.
type settings struct {
	Name         string    `json:"name"`
	Suite        string    `json:"suite"`
	SecondFactor string    `json:"second_factor"`
	PublicAddr   string    `json:"public_addr"`
	HostID       string    `json:"host_id"` // of the proxy and auth server
	PasswordCost int       `json:"password_cost"`
	Created      time.Time `json:"created"`
}

// registry is the part of a cluster that administration needs: users, with a
// server running or without.
type registry struct {
	state        *state
	clusterName  string
	publicAddr   string
	secondFactor string
	passwordCost int
	now          func() time.Time
}

func newRegistry(s *state, set *settings, now func() time.Time) *registry {
	return &registry{
		state: s, clusterName: set.Name, publicAddr: set.PublicAddr,
		secondFactor: set.SecondFactor, passwordCost: set.PasswordCost, now: now,
	}
}

// initState makes a new cluster in an empty state, or checks that the
// configuration agrees with the one that is there and takes up what may change.
func initState(s *state, cfg Config, publicAddr string) (*settings, error) {
	set := new(settings)
	found, err := s.get(bucketMeta, "settings", set)
	if err != nil {
		return nil, err
	}
	if found {
		return set, reopen(s, cfg, publicAddr, set)
	}
	now := cfg.Clock()
	*set = settings{
		Name: or(cfg.Name, "dev.example"), Suite: or(cfg.Suite, suiteBalanced), SecondFactor: or(cfg.SecondFactor, factorOTP),
		PublicAddr: publicAddr, HostID: uuid.NewString(), PasswordCost: passwordCost(cfg), Created: now.UTC(),
	}
	if err := set.check(); err != nil {
		return nil, err
	}
	auths, err := newAuthorities(set.Suite, set.Name, now)
	if err != nil {
		return nil, err
	}
	return set, s.update(func(tx *stateTx) error {
		for kind, rec := range auths {
			if err := tx.put(bucketAuthorities, kind, rec); err != nil {
				return err
			}
		}
		for _, r := range presetRoles() {
			if err := tx.put(bucketRoles, r.Name, r); err != nil {
				return err
			}
		}
		return tx.put(bucketMeta, "settings", set)
	})
}

// reopen takes up the configuration of a restart. A name or suite other than
// the stored one is an error: the authorities are made for those.
func reopen(s *state, cfg Config, publicAddr string, set *settings) error {
	if cfg.Name != "" && cfg.Name != set.Name {
		return fmt.Errorf("%s holds the cluster %s, not %s", s.dir, set.Name, cfg.Name)
	}
	if cfg.Suite != "" && cfg.Suite != set.Suite {
		return fmt.Errorf("%s holds a cluster of suite %s, not %s", s.dir, set.Suite, cfg.Suite)
	}
	before := *set
	set.SecondFactor = or(cfg.SecondFactor, set.SecondFactor)
	set.PublicAddr = publicAddr
	set.PasswordCost = passwordCost(cfg)
	if err := set.check(); err != nil {
		return err
	}
	if *set == before {
		return nil
	}
	return s.update(func(tx *stateTx) error { return tx.put(bucketMeta, "settings", set) })
}

func (set *settings) check() error {
	if set.Suite != suiteBalanced && set.Suite != suiteLegacy {
		return fmt.Errorf("suite %q is not one of %s, %s", set.Suite, suiteBalanced, suiteLegacy)
	}
	if err := checkFactor(set.SecondFactor, set.PublicAddr); err != nil {
		return err
	}
	if set.PasswordCost < bcrypt.MinCost || set.PasswordCost > bcrypt.MaxCost {
		return errors.New("password cost is out of range")
	}
	return checkClusterName(set.Name)
}

// checkFactor refuses a second factor that the cluster cannot ask for. Security
// keys are bound to a host's name, never to an address.
func checkFactor(factor, publicAddr string) error {
	switch factor {
	case factorOff, factorOTP:
		return nil
	case factorWebAuthn, factorOn:
		if err := protocol.ValidateRPID(relyingParty(publicAddr)); err != nil {
			return fmt.Errorf("second factor %s needs a public address with a host name, not %s", factor, publicAddr)
		}
		return nil
	}
	return fmt.Errorf("second factor %q is not one of %s, %s, %s, %s", factor, factorOff, factorOTP, factorWebAuthn, factorOn)
}

// checkClusterName takes names as DNS has them: letters, digits, dots, hyphens.
func checkClusterName(name string) error {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.'
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || strings.HasPrefix(label, "-") || strings.ContainsFunc(label, func(r rune) bool { return !ok(r) }) {
			return fmt.Errorf("%q is no cluster name", name)
		}
	}
	if len(name) > maxName {
		return fmt.Errorf("cluster name of %d bytes", len(name))
	}
	return nil
}

func passwordCost(cfg Config) int {
	if cfg.PasswordCost == 0 {
		return bcrypt.DefaultCost
	}
	return cfg.PasswordCost
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
