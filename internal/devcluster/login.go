package devcluster

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// Texts that clients look for.
const (
	textInvalid       = "invalid credentials"
	textWrongPassword = "invalid username or password"
	textWrongFactor   = "invalid username, password or second factor"
	textMissingFactor = "missing second factor"
	textLocked        = "too many incorrect attempts, please try again later"
)

type beginRequest struct {
	User         string `json:"user"`
	Pass         string `json:"pass"`
	Passwordless bool   `json:"passwordless"`
}

type beginResponse struct {
	WebauthnChallenge *assertionChallenge `json:"webauthn_challenge"`
	TOTPChallenge     bool                `json:"totp_challenge"`
	SSOChallenge      *struct{}           `json:"sso_challenge"`
}

// loginBegin checks the password and says which second factor to answer with.
// Every failure looks the same, so that nothing can be learnt from it.
func (c *Cluster) loginBegin(r *http.Request) (any, error) {
	var req beginRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if req.Passwordless {
		return c.passwordlessBegin()
	}
	u, err := c.verify(req.User, req.Pass, nil)
	if err != nil {
		c.noteLogin(loginNote{user: req.User, method: methodPassword, from: r.RemoteAddr}, err)
		if !errors.Is(err, errBadCredentials) && !errors.Is(err, errLocked) {
			c.log.Error("login failed", "user", req.User, "reason", err)
		}
		return nil, accessDenied(textInvalid)
	}
	key, err := c.beginAssertion(u, scopeLogin)
	if err != nil {
		c.log.Error("login failed", "user", req.User, "reason", err)
		return nil, accessDenied(textInvalid)
	}
	return beginResponse{WebauthnChallenge: key.json(), TOTPChallenge: len(c.usable(u, kindTOTP)) > 0}, nil
}

type finishRequest struct {
	User              string          `json:"user"`
	Password          string          `json:"password"`
	WebauthnResponse  json.RawMessage `json:"webauthn_challenge_response"`
	TOTPCode          string          `json:"totp_code"`
	SSHPubKey         []byte          `json:"ssh_pub_key"`
	TLSPubKey         []byte          `json:"tls_pub_key"`
	TTL               time.Duration   `json:"ttl"`
	Scope             string          `json:"scope"`
	Compatibility     string          `json:"compatibility"`
	RouteToCluster    string
	KubernetesCluster string
}

type loginResponse struct {
	Username                string        `json:"username"`
	Cert                    []byte        `json:"cert"`
	TLSCert                 []byte        `json:"tls_cert"`
	HostSigners             []hostSigner  `json:"host_signers"`
	SAMLSingleLogoutEnabled bool          `json:"samlSingleLogoutEnabled"`
	MFAToken                string        `json:"mfa_token"`
	ClientOptions           clientOptions `json:"client_options"`
}

type hostSigner struct {
	DomainName   string   `json:"domain_name"`
	CheckingKeys [][]byte `json:"checking_keys"`
	TLSCerts     [][]byte `json:"tls_certs"`
}

type clientOptions struct {
	DefaultRelayAddr string `json:"default_relay_addr"`
}

// loginFinish checks the credentials and signs the keys.
func (c *Cluster) loginFinish(r *http.Request) (answer any, err error) {
	var req finishRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	note := loginNote{user: req.User, method: req.method(), from: r.RemoteAddr}
	defer func() { c.noteLogin(note, err) }()
	keys, err := req.check()
	if err != nil {
		return nil, err
	}
	u, err := c.authenticate(&req)
	if err != nil {
		return nil, err
	}
	note.user = u.Name
	return c.issueFor(&req, u, keys, remoteIP(r))
}

// issueFor signs keys for a user whose credentials have been checked.
func (c *Cluster) issueFor(req *finishRequest, u *user, keys *loginKeys, from string) (*loginResponse, error) {
	route, err := c.route(req.RouteToCluster)
	if err != nil {
		return nil, &webError{http.StatusNotFound, err.Error()}
	}
	if req.KubernetesCluster != "" {
		return nil, badParameter("kubernetes cluster %q is not registered in this cluster", req.KubernetesCluster)
	}
	roles, err := c.roleSet(u.Roles, u.traits())
	if err != nil {
		return nil, err
	}
	return c.issue(keys, certRequest{
		user: u, roles: roles, ttl: roles.sessionTTL(req.TTL), format: req.Compatibility, loginIP: from, route: route,
	})
}

// check judges what can be judged without knowing the user.
func (req *finishRequest) check() (*loginKeys, error) {
	if len(req.SSHPubKey) == 0 && len(req.TLSPubKey) == 0 {
		return nil, badParameter("'ssh_pub_key' or 'tls_pub_key' must be set")
	}
	switch req.Compatibility {
	case "", "standard", formatOld:
	default:
		return nil, badParameter("provided value %q is not a valid certificate format", req.Compatibility)
	}
	if req.Scope != "" {
		return nil, badParameter("scoped login is not supported by this cluster")
	}
	if req.User == "" && !req.hasWebauthn() {
		return nil, badParameter("missing parameter 'username'")
	}
	if req.Password == "" && req.TOTPCode == "" && !req.hasWebauthn() {
		return nil, badParameter("at least one authentication method is required")
	}
	return req.keys()
}

func (req *finishRequest) hasWebauthn() bool {
	return len(req.WebauthnResponse) > 0 && string(req.WebauthnResponse) != "null"
}

// authenticate checks the credentials of the request and turns a refusal into
// the text for it.
func (c *Cluster) authenticate(req *finishRequest) (*user, error) {
	refusal := textWrongPassword
	var code *string
	switch {
	case req.hasWebauthn():
		return c.authenticateKey(req)
	case req.TOTPCode != "":
		refusal, code = textWrongFactor, &req.TOTPCode
	case c.secondFactor != factorOff:
		return nil, accessDenied(textMissingFactor)
	}
	u, err := c.verify(req.User, req.Password, code)
	switch {
	case errors.Is(err, errBadCredentials):
		return nil, accessDenied(refusal)
	case errors.Is(err, errLocked):
		return nil, accessDenied(textLocked)
	case err != nil:
		c.log.Error("login failed", "user", req.User, "reason", err)
		return nil, err
	}
	return u, nil
}

// issue signs what keys there are and adds the host authority.
func (c *Cluster) issue(keys *loginKeys, req certRequest) (*loginResponse, error) {
	resp := &loginResponse{
		Username: req.user.Name,
		HostSigners: []hostSigner{{
			DomainName:   c.settings.Name,
			CheckingKeys: [][]byte{c.auths.host.authorizedKey()},
			TLSCerts:     [][]byte{c.auths.host.certPEM()},
		}},
	}
	var err error
	if keys.ssh != nil {
		if resp.Cert, err = c.signSSH(keys.ssh, req); err != nil {
			return nil, err
		}
	}
	if keys.tls != nil {
		if resp.TLSCert, err = c.signTLS(keys.tls, req); err != nil {
			return nil, err
		}
	}
	c.log.Info("logged in", "user", req.user.Name, "from", req.loginIP, "ttl", req.ttl)
	return resp, nil
}
