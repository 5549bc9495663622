package devcluster

import "errors"

// passwordlessBegin asks whoever it is for a key that says who they are.
func (c *Cluster) passwordlessBegin() (any, error) {
	if !c.allows(kindWebAuthn) {
		return nil, badParameter("passwordless requires WebAuthn")
	}
	key, err := c.beginAssertion(nil, scopePasswordless)
	if err != nil {
		c.log.Error("login failed", "reason", err)
		return nil, accessDenied(textInvalid)
	}
	return beginResponse{WebauthnChallenge: key.json()}, nil
}

// authenticateKey judges a login with a security key: beside a password, or on
// its own where no user is named. Every refusal reads the same but for a locked
// account.
func (c *Cluster) authenticateKey(req *finishRequest) (*user, error) {
	response, err := parseAssertionResponse(req.WebauthnResponse)
	if err != nil {
		return nil, accessDenied(textInvalid)
	}
	scope := scopeLogin
	if req.User == "" {
		scope = scopePasswordless
	} else if err := c.checkFirstFactor(req); err != nil {
		return nil, c.refuseKey(req.User, err)
	}
	u, _, err := c.finishAssertion(req.User, scope, response.answer())
	if err == nil && u.LockedUntil.After(c.now()) {
		err = errLocked
	}
	if errors.Is(err, errBadAnswer) && scope == scopeLogin {
		c.log.Info("security key refused", "user", req.User, "reason", err)
		err = c.countFailure(req.User)
	}
	if err != nil {
		return nil, c.refuseKey(req.User, err)
	}
	return u, nil
}

// checkFirstFactor checks the password, if there is one, and the lock.
func (c *Cluster) checkFirstFactor(req *finishRequest) error {
	if req.Password != "" {
		_, err := c.verify(req.User, req.Password, nil)
		return err
	}
	u, err := c.userByName(req.User)
	switch {
	case err != nil:
		return errBadCredentials
	case u.LockedUntil.After(c.now()):
		return errLocked
	}
	return nil
}

// countFailure counts an answer that was wrong. It returns errBadCredentials, or
// errLocked for the one that locks the account.
func (c *Cluster) countFailure(name string) (denied error) {
	err := c.changeUser(name, func(u *user) error {
		denied = u.settle(c.now(), false, nil)
		return nil
	})
	if err != nil {
		return errBadCredentials
	}
	return denied
}

// refuseKey is what the person is told.
func (c *Cluster) refuseKey(name string, err error) error {
	if errors.Is(err, errLocked) {
		return accessDenied(textLocked)
	}
	c.log.Info("login refused", "user", name, "reason", err)
	return accessDenied(textInvalid)
}
