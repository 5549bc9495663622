package devcluster

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// textHeadlessDenied is what clients look for.
const textHeadlessDenied = "headless authentication denied"

type headlessRequest struct {
	User              string        `json:"user"`
	HeadlessID        string        `json:"headless_id"`
	SSHPubKey         []byte        `json:"ssh_pub_key"`
	TLSPubKey         []byte        `json:"tls_pub_key"`
	TTL               time.Duration `json:"ttl"` // of no consequence
	Compatibility     string        `json:"compatibility"`
	RouteToCluster    string
	KubernetesCluster string
}

// patiently lets a call last longer than others.
func (c *Cluster) patiently(answer http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		deadline := time.Now().Add(headlessWait + writeTimeout)
		if err := http.NewResponseController(w).SetWriteDeadline(deadline); err != nil {
			writeError(w, err)
			return
		}
		answer.ServeHTTP(w, r)
	})
}

// headlessLogin holds the call until the user has decided.
func (c *Cluster) headlessLogin(r *http.Request) (any, error) {
	var req headlessRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	keys, err := req.check()
	if err != nil {
		return nil, err
	}
	answer, err := c.awaitHeadless(r, &req, keys)
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// awaitHeadless waits for the user's decision, and carries it out.
func (c *Cluster) awaitHeadless(r *http.Request, req *headlessRequest, keys *loginKeys) (answer *loginResponse, err error) {
	defer func() { c.noteLogin(loginNote{user: req.User, method: methodHeadless, from: r.RemoteAddr}, err) }()
	ctx, cancel := context.WithTimeout(r.Context(), c.headlessWait)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	decided, err := c.headless.submit(ctx, headlessLogin{
		id: req.HeadlessID, user: req.User, from: r.RemoteAddr, sshKey: req.SSHPubKey, tlsKey: req.TLSPubKey,
	}, c.now)
	switch {
	case errors.Is(err, errHeadlessExists):
		return nil, &webError{http.StatusConflict, err.Error()}
	case err != nil:
		return nil, &webError{http.StatusGatewayTimeout, "headless authentication was not approved: " + err.Error()}
	case decided.state != headlessApproved:
		return nil, accessDenied(textHeadlessDenied)
	}
	return c.issueHeadless(keys, decided, req.Compatibility)
}

// check judges what can be judged without knowing the user.
func (req *headlessRequest) check() (*loginKeys, error) {
	switch {
	case req.HeadlessID == "":
		return nil, badParameter("missing parameter headless_id")
	case req.User == "":
		return nil, badParameter("missing parameter 'username'")
	case len(req.SSHPubKey) == 0:
		return nil, badParameter("'ssh_pub_key' must be set")
	case req.HeadlessID != headlessID(req.SSHPubKey):
		return nil, badParameter("headless authentication id does not match the public key")
	case req.RouteToCluster != "" || req.KubernetesCluster != "":
		return nil, badParameter("headless logins are for the root cluster")
	}
	switch req.Compatibility {
	case "", "standard", formatOld:
	default:
		return nil, badParameter("provided value %q is not a valid certificate format", req.Compatibility)
	}
	login := finishRequest{SSHPubKey: req.SSHPubKey, TLSPubKey: req.TLSPubKey}
	return login.keys()
}

func (c *Cluster) issueHeadless(keys *loginKeys, l headlessLogin, format string) (*loginResponse, error) {
	u, err := c.userByName(l.user)
	if err != nil {
		return nil, accessDenied(textHeadlessDenied)
	}
	if u.LockedUntil.After(c.now()) {
		return nil, accessDenied(textLocked)
	}
	roles, err := c.roleSet(u.Roles, u.traits())
	if err != nil {
		return nil, err
	}
	return c.issue(keys, certRequest{
		user: u, roles: roles, ttl: headlessTTL, format: format, loginIP: hostOf(l.from), mfaDevice: l.device,
	})
}
