package devcluster

import (
	"errors"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Lock-out: this many failures in a row within the window lock the account.
const (
	maxFailures   = 5
	failureWindow = 30 * time.Minute
	lockDuration  = 30 * time.Minute
)

var (
	// errBadCredentials: the password or code is wrong, or there is no such user.
	errBadCredentials = errors.New("bad credentials")
	// errLocked: the account is locked, also for the attempt that locked it.
	errLocked = errors.New("locked")
)

// verify checks a password and, if code is not nil, a one-time code, under the
// counter of failures. It returns the user, errBadCredentials, errLocked, or a
// failure of the state.
func (c *Cluster) verify(name, password string, code *string) (*user, error) {
	u := new(user)
	found, err := c.state.get(bucketUsers, name, u)
	if err != nil {
		return nil, err
	}
	if !found {
		// As slow as for a user who exists.
		_ = bcrypt.CompareHashAndPassword(c.dummyHash(), []byte(password))
		return nil, errBadCredentials
	}
	if u.LockedUntil.After(c.now()) {
		return nil, errLocked
	}
	// bcrypt is slow, so it runs outside the transaction; what it decided is
	// applied to the user as it is by then.
	ok := bcrypt.CompareHashAndPassword(u.PasswordHash, []byte(password)) == nil
	if ok && code == nil && len(u.Failures) == 0 {
		return u, nil
	}
	var denied error
	err = c.state.update(func(tx *stateTx) error {
		u = new(user)
		if found, err := tx.get(bucketUsers, name, u); err != nil || !found {
			return errors.Join(err, notFoundUser(name))
		}
		denied = u.settle(c.now(), ok, code)
		return tx.put(bucketUsers, name, u)
	})
	if err != nil {
		return nil, err
	}
	if denied != nil {
		return nil, denied
	}
	return u, nil
}

// settle counts one attempt: the password was right or not, the code, if one
// is asked for, is judged here.
func (u *user) settle(now time.Time, passwordOK bool, code *string) error {
	if u.LockedUntil.After(now) {
		return errLocked
	}
	if passwordOK && (code == nil || u.useCode(now, *code)) {
		u.Failures, u.LockedUntil = nil, time.Time{}
		return nil
	}
	var recent []time.Time
	for _, t := range u.Failures {
		if t.After(now.Add(-failureWindow)) {
			recent = append(recent, t)
		}
	}
	u.Failures = append(recent, now.UTC())
	if len(u.Failures) < maxFailures {
		return errBadCredentials
	}
	u.Failures, u.LockedUntil = nil, now.Add(lockDuration).UTC()
	return errLocked
}

// dummyHash is compared with where there is no user.
func (c *Cluster) dummyHash() []byte {
	c.dummyOnce.Do(func() {
		c.dummy, _ = bcrypt.GenerateFromPassword([]byte("no such user"), c.settings.PasswordCost)
	})
	return c.dummy
}
