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

// useCode accepts a code of this period or its neighbours once. Any of the
// user's devices may have made it.
func (u *user) useCode(now time.Time, code string) bool {
	for _, d := range u.devices(kindTOTP) {
		if d.useCode(now, code) {
			return true
		}
	}
	return false
}

func (d *device) useCode(now time.Time, code string) bool {
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
