package devcluster

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/bcrypt"
)

// maxPassword is what bcrypt takes into account.
const maxPassword = 72

// errNoRoles: nobody could log in.
var errNoRoles = errors.New("a user needs at least one role")

// maxTrait bounds the value of a trait, in bytes.
const maxTrait = 256

// UserSpec says which user to add. An empty Password has one made up.
type UserSpec struct {
	Name     string   `json:"name"`
	Password string   `json:"password,omitempty"`
	Roles    []string `json:"roles,omitempty"`
	Logins   []string `json:"logins,omitempty"`
	// Traits are for the templates of roles; logins are those of Logins.
	Traits map[string][]string `json:"traits,omitempty"`
}

// Enrolment is what a new user needs to log in. Password is set only where it
// was made up; the TOTP fields are empty where the cluster has no second factor.
type Enrolment struct {
	Name       string `json:"name"`
	Password   string `json:"password,omitempty"`
	TOTPSecret string `json:"totp_secret,omitempty"` // base32, without padding
	TOTPURL    string `json:"totp_url,omitempty"`    // otpauth://totp/…
}

// redacted is what a secret prints as.
const redacted = "REDACTED"

func (UserSpec) String() string       { return redacted }
func (UserSpec) GoString() string     { return redacted }
func (UserSpec) LogValue() slog.Value { return slog.StringValue(redacted) }

func (Enrolment) String() string       { return redacted }
func (Enrolment) GoString() string     { return redacted }
func (Enrolment) LogValue() slog.Value { return slog.StringValue(redacted) }

// User is a user without the secrets.
type User struct {
	Name    string    `json:"name"`
	Roles   []string  `json:"roles"`
	Logins  []string  `json:"logins"`
	Devices []string  `json:"devices"` // names of the second factors
	Created time.Time `json:"created"`
	// LockedUntil is zero unless failed attempts have locked the account.
	LockedUntil time.Time `json:"locked_until,omitzero"`
	// Source is KIND/NAME of the connector that has made the user, until Expires;
	// empty for one that an administrator has made.
	Source  string    `json:"source,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

// user is a user at rest.
type user struct {
	Name         string      `json:"name"`
	Roles        []string    `json:"roles"`
	Logins       []string    `json:"logins"`
	PasswordHash []byte      `json:"password_hash"`
	Devices      []*device   `json:"devices,omitempty"`
	WebAuthnID   string      `json:"webauthn_id,omitempty"` // what security keys know the user by
	Created      time.Time   `json:"created"`
	Revision     string      `json:"revision"`
	Failures     []time.Time `json:"failures,omitempty"`
	LockedUntil  time.Time   `json:"locked_until,omitzero"`
	Groups       []string    `json:"groups,omitempty"` // at the identity provider
	Traits       traits      `json:"traits,omitempty"`
	Source       string      `json:"source,omitempty"`
	Expires      time.Time   `json:"expires,omitzero"`
}

// traits are what is known of a user, by name, for the templates of roles.
type traits map[string][]string

// addUser makes a user with a password and, where the cluster takes one-time
// codes, a device for them.
func (r *registry) addUser(spec UserSpec) (Enrolment, error) {
	if err := checkUserName(spec.Name); err != nil {
		return Enrolment{}, err
	}
	if len(spec.Roles) == 0 {
		return Enrolment{}, errNoRoles
	}
	if err := checkLogins(spec.Logins); err != nil {
		return Enrolment{}, err
	}
	if err := checkTraits(spec.Traits); err != nil {
		return Enrolment{}, err
	}
	u := &user{Name: spec.Name, Roles: spec.Roles, Logins: spec.Logins, Traits: spec.Traits, Created: r.now().UTC(), Revision: uuid.NewString()}
	en, err := r.enrol(u, spec.Password)
	if err != nil {
		return Enrolment{}, err
	}
	err = r.state.update(func(tx *stateTx) error {
		if err := r.needRoles(tx, u.Roles...); err != nil {
			return err
		}
		old := new(user)
		if found, err := tx.get(bucketUsers, u.Name, old); err != nil || found && !old.expired(r.now()) {
			return errors.Join(err, fmt.Errorf("user %s exists already", u.Name))
		}
		return tx.put(bucketUsers, u.Name, u)
	})
	if err != nil {
		return Enrolment{}, err
	}
	return en, nil
}

// enrol gives the user a new password and a new device.
func (r *registry) enrol(u *user, password string) (Enrolment, error) {
	en := Enrolment{Name: u.Name}
	if password == "" {
		var err error
		if password, err = generatePassword(); err != nil {
			return Enrolment{}, err
		}
		en.Password = password
	}
	if len(password) > maxPassword {
		return Enrolment{}, fmt.Errorf("the password is longer than %d bytes", maxPassword)
	}
	var err error
	if u.PasswordHash, err = bcrypt.GenerateFromPassword([]byte(password), r.passwordCost); err != nil {
		return Enrolment{}, err
	}
	u.Devices, u.Failures, u.LockedUntil = nil, nil, time.Time{}
	if !r.allows(kindTOTP) {
		return en, nil
	}
	host, _, err := net.SplitHostPort(r.publicAddr)
	if err != nil {
		return Enrolment{}, err
	}
	key, err := totp.Generate(totp.GenerateOpts{Issuer: r.clusterName, AccountName: u.Name + "@" + host})
	if err != nil {
		return Enrolment{}, err
	}
	d := newDevice(kindTOTP, "otp", r.now())
	d.Secret = key.Secret()
	u.Devices = []*device{d}
	en.TOTPSecret, en.TOTPURL = key.Secret(), key.URL()
	return en, nil
}

// resetUser gives a user a new password and device, takes all other devices
// away and lifts a lock.
func (r *registry) resetUser(name, password string) (Enrolment, error) {
	fresh := &user{Name: name}
	en, err := r.enrol(fresh, password)
	if err != nil {
		return Enrolment{}, err
	}
	err = r.changeUser(name, func(u *user) error {
		if u.Source != "" {
			return fmt.Errorf("user %s comes from the connector %s and has no password", name, u.Source)
		}
		u.PasswordHash, u.Devices, u.Failures, u.LockedUntil = fresh.PasswordHash, fresh.Devices, nil, time.Time{}
		u.Revision = uuid.NewString()
		return nil
	})
	if err != nil {
		return Enrolment{}, err
	}
	return en, nil
}

func (r *registry) removeUser(name string) error {
	return r.state.update(func(tx *stateTx) error {
		if found, err := tx.get(bucketUsers, name, new(user)); err != nil || !found {
			return errors.Join(err, notFoundUser(name))
		}
		return tx.delete(bucketUsers, name)
	})
}

func (r *registry) users() ([]User, error) {
	out := []User{}
	err := r.state.each(bucketUsers, func(_ string, raw []byte) error {
		u := new(user)
		if err := json.Unmarshal(raw, u); err != nil {
			return err
		}
		if u.expired(r.now()) {
			return nil
		}
		pub := User{
			Name: u.Name, Roles: u.Roles, Logins: u.Logins, Devices: []string{}, Created: u.Created, Source: u.Source, Expires: u.Expires,
		}
		if u.LockedUntil.After(r.now()) {
			pub.LockedUntil = u.LockedUntil
		}
		for _, d := range u.Devices {
			pub.Devices = append(pub.Devices, d.Name)
		}
		out = append(out, pub)
		return nil
	})
	return out, err
}

func notFoundUser(name string) error { return fmt.Errorf("user %s does not exist", name) }

// checkUserName refuses names that would not survive a certificate's subject,
// a path or a prompt.
func checkUserName(name string) error {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.@+", r)
	}
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return !ok(r) }) ||
		slices.Contains([]byte("-."), name[0]) {
		return fmt.Errorf("%q is no user name: letters, digits and - _ . @ + are", name)
	}
	return nil
}

func checkLogins(logins []string) error {
	for _, l := range logins {
		if err := checkLogin(l); err != nil {
			return err
		}
	}
	return nil
}

// checkLogin refuses what no login on a node is called.
func checkLogin(l string) error {
	if l == "" || strings.HasPrefix(l, "-") || strings.ContainsAny(l, " ,@*") || strings.ContainsFunc(l, unicode.IsControl) {
		return fmt.Errorf("%q is no login name", l)
	}
	return nil
}

// checkTraits refuses names that no template has, and values that would not survive a
// certificate. The logins have a place of their own.
func checkTraits(all traits) error {
	for name, values := range all {
		if !isTraitName(name) || name == "logins" {
			return fmt.Errorf("%q is no name for a trait", name)
		}
		for _, v := range values {
			if len(v) > maxTrait || strings.ContainsFunc(v, unicode.IsControl) || !utf8.ValidString(v) {
				return fmt.Errorf("trait %s has a value that is too long or has control characters", name)
			}
		}
	}
	return nil
}

// generatePassword makes up a password that can be read out and typed: 20
// characters of 32, 100 bits.
func generatePassword() (string, error) {
	const alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
	var b strings.Builder
	for i := range 20 {
		if i > 0 && i%5 == 0 {
			b.WriteByte('-')
		}
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			return "", err
		}
		b.WriteByte(alphabet[n.Int64()])
	}
	return b.String(), nil
}
