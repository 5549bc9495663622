package devcluster

import (
	"crypto/subtle"
	"time"

	"github.com/pquerna/otp/totp"
)

const (
	codePeriod = 30 * time.Second
	// codeMemory is how long an accepted code is refused from then on.
	codeMemory = 30 * time.Second
)

// totpDevice makes one-time codes (RFC 6238, SHA-1, six digits, 30 s).
type totpDevice struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Secret   string    `json:"secret"`
	Added    time.Time `json:"added"`
	LastUsed time.Time `json:"last_used,omitzero"`
	LastCode string    `json:"last_code,omitempty"`
}

// useCode accepts a code of this period or its neighbours once.
func (u *user) useCode(now time.Time, code string) bool {
	d := u.Device
	if d == nil {
		return false
	}
	if code == d.LastCode && now.Before(d.LastUsed.Add(codeMemory)) {
		return false
	}
	matched := 0
	for _, skew := range []time.Duration{-codePeriod, 0, codePeriod} {
		want, err := totp.GenerateCode(d.Secret, now.Add(skew))
		if err != nil {
			return false
		}
		matched |= subtle.ConstantTimeCompare([]byte(want), []byte(code))
	}
	if matched == 0 {
		return false
	}
	d.LastUsed, d.LastCode = now.UTC(), code
	return true
}

// lastUsed is when the device was last used, or else made.
func (d *totpDevice) lastUsed() time.Time {
	if d.LastUsed.IsZero() {
		return d.Added
	}
	return d.LastUsed
}
