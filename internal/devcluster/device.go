package devcluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/google/uuid"
)

// Kinds of second factors that a user can have.
const (
	kindTOTP     = "totp"
	kindWebAuthn = "webauthn"
)

// maxDeviceName is what a device's name may have, in bytes.
const maxDeviceName = 30

// Errors of devices that have an answer of their own.
var (
	errDeviceExists = errors.New("a device of this name or with this credential exists already")
	errDeviceName   = fmt.Errorf("a device needs a name of at most %d bytes", maxDeviceName)
	errFactorOff    = errors.New("the cluster does not take second factors of this kind")
)

// device is one second factor of a user.
type device struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Kind     string    `json:"kind"`
	Added    time.Time `json:"added"`
	LastUsed time.Time `json:"last_used,omitzero"`

	// Of one-time codes (RFC 6238, SHA-1, six digits, 30 s).
	Secret   string `json:"secret,omitempty"`
	LastCode string `json:"last_code,omitempty"`

	// Of a security key.
	Credential *webauthn.Credential `json:"credential,omitempty"`
	Resident   bool                 `json:"resident,omitempty"` // it can say who the user is
	RPID       string               `json:"rp_id,omitempty"`    // that it was registered for
}

// lastUsed is when the device was last used, or else made.
func (d *device) lastUsed() time.Time {
	if d.LastUsed.IsZero() {
		return d.Added
	}
	return d.LastUsed
}

// newDevice is a device with an identity and nothing of its kind yet.
func newDevice(kind, name string, now time.Time) *device {
	return &device{ID: uuid.NewString(), Name: name, Kind: kind, Added: now.UTC()}
}

// allows reports whether the cluster takes second factors of a kind.
func (r *registry) allows(kind string) bool {
	switch r.secondFactor {
	case factorOn:
		return true
	case factorOTP:
		return kind == kindTOTP
	case factorWebAuthn:
		return kind == kindWebAuthn
	}
	return false
}

// devices are the user's devices of one kind.
func (u *user) devices(kind string) []*device {
	var list []*device
	for _, d := range u.Devices {
		if d.Kind == kind {
			list = append(list, d)
		}
	}
	return list
}

// usable are the user's devices of one kind if the cluster takes that kind.
func (r *registry) usable(u *user, kind string) []*device {
	if !r.allows(kind) {
		return nil
	}
	return u.devices(kind)
}

// addDevice stores a new device of a user. Errors: errFactorOff, errDeviceName,
// errDeviceExists or a failure of the state.
func (r *registry) addDevice(name string, d *device) error {
	switch {
	case !r.allows(d.Kind):
		return errFactorOff
	case d.Name == "" || len(d.Name) > maxDeviceName:
		return errDeviceName
	}
	return r.changeUser(name, func(u *user) error {
		if slices.ContainsFunc(u.Devices, d.clashes) {
			return errDeviceExists
		}
		u.Devices = append(u.Devices, d)
		return nil
	})
}

// clashes reports whether two devices cannot both belong to one user.
func (d *device) clashes(other *device) bool {
	return d.Name == other.Name ||
		d.Credential != nil && other.Credential != nil && slices.Equal(d.Credential.ID, other.Credential.ID)
}

// changeUser applies change to a user and keeps the outcome if it returns nil.
func (r *registry) changeUser(name string, change func(u *user) error) error {
	return r.state.update(func(tx *stateTx) error {
		u := new(user)
		if found, err := tx.get(bucketUsers, name, u); err != nil || !found {
			return errors.Join(err, notFoundUser(name))
		}
		if err := change(u); err != nil {
			return err
		}
		return tx.put(bucketUsers, name, u)
	})
}

// UnmarshalJSON reads users of older directories too, which had one device at
// most, for one-time codes.
func (u *user) UnmarshalJSON(data []byte) error {
	type plain user
	var stored struct {
		plain
		Device *device `json:"device"`
	}
	if err := json.Unmarshal(data, &stored); err != nil {
		return err
	}
	*u = user(stored.plain)
	if d := stored.Device; d != nil {
		d.Kind = kindTOTP
		u.Devices = append(u.Devices, d)
	}
	return nil
}
