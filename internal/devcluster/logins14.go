package devcluster

import (
	"net/http"
	"net/url"

	"golang.org/x/crypto/ssh"
)

// Logins in the browser and headless ones, as 14.x has them: one key, under another
// name, and an answer without the members that came later.

// connector14 is what ping says of a connector.
type connector14 struct {
	Name    string `json:"name"`
	Display string `json:"display"`
}

// addConnector puts what today's settings say of a connector into those of 14.x.
func (a *ping14Auth) addConnector(now *pingAuth) {
	switch {
	case now.GitHub != nil:
		a.GitHub = &connector14{now.GitHub.Name, now.GitHub.Display}
	case now.OIDC != nil:
		a.OIDC = &connector14{now.OIDC.Name, now.OIDC.Display}
	case now.SAML != nil:
		a.SAML = &connector14{now.SAML.Name, now.SAML.Display}
	}
}

// oneKey are the keys of a login that brings one, an authorized_keys line.
func oneKey(line []byte) (*loginKeys, error) {
	key, err := parseSSHPublicKey(line)
	if err != nil {
		return nil, &webError{http.StatusInternalServerError, err.Error()}
	}
	same, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return nil, badParameter("unsupported public key type %s", key.Type())
	}
	return &loginKeys{key, same.CryptoPublicKey()}, nil
}

// consoleKeys are the keys that a login in the browser is for.
func (c *Cluster) consoleKeys(req consoleRequest) (*loginKeys, error) {
	if c.is14() {
		return oneKey(req.PublicKey)
	}
	return (&finishRequest{SSHPubKey: req.SSHPubKey, TLSPubKey: req.TLSPubKey}).keys()
}

// consoleAnswer is where the browser starts, as the version says it.
func (c *Cluster) consoleAnswer(r consoleResponse) any {
	if c.is14() {
		return map[string]string{"redirect_url": r.RedirectURL}
	}
	return r
}

// issued is what a login has come to, as the version says it.
func (c *Cluster) issued(answer *loginResponse) any {
	if c.is14() {
		return loginResponse14{answer.Username, answer.Cert, answer.TLSCert, answer.HostSigners}
	}
	return answer
}

// answerQuery is how the browser brings a sealed answer; 14.x leaves two empty
// parameters behind.
func (c *Cluster) answerQuery(sealed string) url.Values {
	query := url.Values{"response": {sealed}}
	if c.is14() {
		query["secret"], query["secret_key"] = []string{""}, []string{""}
	}
	return query
}

// headlessLogin14 holds a call of ssh/certs until the user has decided.
func (c *Cluster) headlessLogin14(r *http.Request, req *login14) (any, error) {
	keys, err := oneKey(req.PubKey)
	if err != nil {
		return nil, err
	}
	headless := headlessRequest{
		User: req.User, HeadlessID: req.HeadlessID, SSHPubKey: req.PubKey, Compatibility: req.Compatibility,
		RouteToCluster: req.RouteToCluster, KubernetesCluster: req.KubernetesCluster,
	}
	var answer *loginResponse
	if _, err = headless.check(); err == nil {
		answer, err = c.awaitHeadless(r, &headless, keys)
	}
	if err != nil {
		c.log.Info("headless login failed", "user", req.User, "reason", err)
		return nil, accessDenied("headless authentication failed") // whatever it was
	}
	return c.issued(answer), nil
}
