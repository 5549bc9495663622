package devcluster

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
)

// Texts that 18.3 answers strangers with; what was wrong is in the log.
const (
	textSSOFailed   = "Failed to login. Please check Teleport's log for more details."
	textSSORedirect = "Failed to login due to a disallowed callback URL. Please check Teleport's log for more details."
)

// consoleRequest begins a login of a command-line client.
type consoleRequest struct {
	RedirectURL       string        `json:"redirect_url"`
	SSHPubKey         []byte        `json:"ssh_pub_key"`
	TLSPubKey         []byte        `json:"tls_pub_key"`
	PublicKey         []byte        `json:"public_key"` // of clients of 14.x
	CertTTL           time.Duration `json:"cert_ttl"`
	ConnectorID       string        `json:"connector_id"`
	Compatibility     string        `json:"compatibility"`
	RouteToCluster    string
	KubernetesCluster string
	PKCEVerifier      string
	ClientVersion     string `json:"client_version"`
}

// consoleResponse says where the browser starts; one of the two is set.
type consoleResponse struct {
	RedirectURL string `json:"redirect_url"`
	PostForm    []byte `json:"post_form"`
}

func (r consoleResponse) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{
		"redirect_url": r.RedirectURL, "post_form": base64.StdEncoding.EncodeToString(r.PostForm),
	})
}

// ssoRoutes adds what logins in the browser take. GitHub's calls are there always;
// an open-source 18.3 has none for the other kinds, which console adds.
func (c *Cluster) ssoRoutes(mux *http.ServeMux, console func(kind string)) {
	mux.Handle("GET /v1/webapi/github/callback", c.ssoCallback(kindGitHub))
	if c.sso.has(kindOIDC) {
		console(kindOIDC)
		mux.Handle("GET /v1/webapi/oidc/callback", c.ssoCallback(kindOIDC))
	}
	if c.sso.has(kindSAML) {
		console(kindSAML)
		mux.Handle("POST /v1/webapi/saml/acs/{connector}", c.ssoCallback(kindSAML))
	}
	mux.HandleFunc("GET /idp/{connector}/authorize", c.idpStart)
	mux.HandleFunc("GET /idp/{connector}/sso", c.idpStart)
	mux.HandleFunc("POST /idp/{connector}/sso", c.idpStart)
	mux.HandleFunc("POST /idp/{connector}/signin", c.idpSignIn)
}

// ssoConsole begins logins through connectors of one kind.
func (c *Cluster) ssoConsole(kind string) func(r *http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var req consoleRequest
		if err := readJSON(r, &req); err != nil {
			return nil, err
		}
		login, message, err := c.beginSSO(kind, req)
		if err != nil {
			c.noteLogin(loginNote{method: methodSSO, connector: req.ConnectorID, from: r.RemoteAddr}, err)
			c.log.Info("browser login refused", "connector", req.ConnectorID, "from", r.RemoteAddr, "reason", err)
			return nil, accessDenied(message)
		}
		login.ip = remoteIP(r)
		state, err := c.sso.begin(login)
		if err != nil {
			return nil, err
		}
		return c.consoleAnswer(c.startOf(login, state)), nil
	}
}

// beginSSO judges a request. The message is what the client is told.
func (c *Cluster) beginSSO(kind string, req consoleRequest) (login *ssoLogin, message string, err error) {
	connector := c.sso.named(req.ConnectorID)
	if connector == nil || connector.Kind != kind {
		return nil, textSSOFailed, fmt.Errorf("there is no %s connector %q", kind, req.ConnectorID)
	}
	u, ok := connector.checkRedirect(req.RedirectURL)
	if !ok {
		return nil, textSSORedirect, errors.New("the callback URL is not allowed")
	}
	if err := c.checkConsole(kind, u, req); err != nil {
		return nil, textSSOFailed, err
	}
	keys, err := c.consoleKeys(req)
	if err != nil {
		return nil, textSSOFailed, err
	}
	return &ssoLogin{connector: connector, redirect: u, verifier: req.PKCEVerifier, keys: keys, req: req}, "", nil
}

// checkConsole judges what is of no connector in particular.
func (c *Cluster) checkConsole(kind string, redirect *url.URL, req consoleRequest) error {
	if key, err := hex.DecodeString(redirect.Query().Get("secret_key")); err != nil || len(key) != 32 {
		return errors.New("the secret key is not 32 bytes in hexadecimal")
	}
	if kind == kindGitHub && (req.CertTTL < time.Minute || req.CertTTL > 30*time.Hour) {
		return fmt.Errorf("cert_ttl of %s", req.CertTTL)
	}
	if !c.is14() && len(req.SSHPubKey) == 0 && len(req.TLSPubKey) == 0 {
		return errors.New("there is no public key")
	}
	if _, err := c.route(req.RouteToCluster); err != nil {
		return err
	}
	if kind == kindOIDC && req.PKCEVerifier == "" {
		return errors.New("the connector uses PKCE and there is no verifier")
	}
	return nil
}

// ssoCallback is where the identity provider sends the browser back to.
func (c *Cluster) ssoCallback(kind string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		securityHeaders(w.Header())
		back := readProviderAnswer(kind, r)
		login := c.sso.take(back.state)
		if login == nil || login.connector.Kind != kind {
			c.log.Info("browser login: the answer belongs to no login", "kind", kind, "from", r.RemoteAddr)
			writeRefresh(w, "/web/msg/error/login/callback")
			return
		}
		answer, err := c.finishSSO(login, back)
		c.noteLogin(loginNote{login.user, methodSSO, login.connector.Name, login.ip}, err)
		if err != nil {
			c.log.Info("browser login failed", "connector", login.connector.Name, "from", r.RemoteAddr, "reason", err)
			target := *login.redirect
			query := target.Query()
			query.Set("err", err.Error())
			target.RawQuery = query.Encode()
			writeRefresh(w, target.String())
			return
		}
		target := *login.redirect
		target.RawQuery = c.answerQuery(answer).Encode()
		writeRefresh(w, target.String())
	})
}

// finishSSO issues what the login asks for, sealed for the client.
func (c *Cluster) finishSSO(login *ssoLogin, back providerAnswer) (string, error) {
	if back.failure != "" {
		return "", errors.New(back.failure)
	}
	person, err := c.sso.redeem(back.code, login.connector.Name, login.verifier)
	if err != nil {
		return "", err
	}
	login.user = person.Name
	u := c.ssoUser(login.connector, person)
	if len(u.Roles) == 0 {
		return "", fmt.Errorf("%s has no role in this cluster.\n\tGroups: %q", person.Name, person.Groups)
	}
	roles, err := c.roleSet(u.Roles, u.traits())
	if err != nil {
		return "", err
	}
	ttl := roles.sessionTTL(login.req.CertTTL)
	u.Expires = u.Created.Add(ttl)
	if err := c.storeSSOUser(u); err != nil {
		return "", err
	}
	route, err := c.route(login.req.RouteToCluster)
	if err != nil {
		return "", err
	}
	issued, err := c.issue(login.keys, certRequest{user: u, roles: roles, ttl: ttl, format: login.req.Compatibility, loginIP: login.ip, route: route})
	if err != nil {
		return "", err
	}
	return seal(login.redirect.Query().Get("secret_key"), c.issued(issued))
}

// ssoUser is the person as a user of the cluster.
func (c *Cluster) ssoUser(connector *Connector, p Person) *user {
	return &user{
		Name: p.Name, Roles: rolesOf(p.Groups), Logins: p.Logins, Groups: p.Groups, Created: c.now().UTC(), Revision: uuid.NewString(),
		Source: connector.Kind + "/" + connector.Name,
	}
}

// storeSSOUser keeps the user for as long as the session. A user from elsewhere keeps
// the name.
func (c *Cluster) storeSSOUser(u *user) error {
	return c.state.update(func(tx *stateTx) error {
		old := new(user)
		found, err := tx.get(bucketUsers, u.Name, old)
		if err != nil {
			return err
		}
		if found && old.Source != u.Source && !old.expired(u.Created) {
			return fmt.Errorf("user %s exists already and is not from %s", u.Name, u.Source)
		}
		return tx.put(bucketUsers, u.Name, u)
	})
}

// expired reports whether a user that a connector has made is of the past.
func (u *user) expired(now time.Time) bool { return !u.Expires.IsZero() && now.After(u.Expires) }

// seal closes an answer with the client's key, as 18.3 does.
func seal(keyHex string, answer any) (string, error) {
	key, err := hex.DecodeString(keyHex)
	if err != nil {
		return "", err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return "", err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return "", err
	}
	plaintext, err := json.Marshal(answer)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, gcm.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return "", err
	}
	envelope, err := json.Marshal(map[string][]byte{"ciphertext": gcm.Seal(nil, nonce, plaintext, nil), "nonce": nonce})
	return string(envelope), err
}
