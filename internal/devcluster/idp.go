package devcluster

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// The identity provider of a dev cluster: a page with a form where whoever sits
// at the browser says who they are. It lives below /idp/CONNECTOR.
//
//	/authorize  github and oidc begin here
//	/sso        saml begins here, with a GET or a form
//	/signin     takes the form and sends the browser back to the proxy

// idpCode stands for somebody who has signed in, until the proxy asks who.
type idpCode struct {
	connector string
	person    Person
	challenge string // PKCE, if there is one
	expires   time.Time
}

// signIn is what the form carries from one page to the next.
type signIn struct {
	State     string `json:"state"`
	Challenge string `json:"challenge,omitempty"`
}

// providerAnswer is what the browser brings back.
type providerAnswer struct{ state, code, failure string }

// startOf is where the browser of a login starts.
func (c *Cluster) startOf(login *ssoLogin, state string) consoleResponse {
	base := "https://" + c.settings.PublicAddr + "/idp/" + url.PathEscape(login.connector.Name)
	if login.connector.Kind == kindSAML {
		request := base64.StdEncoding.EncodeToString([]byte("<AuthnRequest/>"))
		if login.connector.PostForm {
			return consoleResponse{PostForm: postForm(base+"/sso", request, state)}
		}
		return consoleResponse{RedirectURL: base + "/sso?" + url.Values{"SAMLRequest": {request}, "RelayState": {state}}.Encode()}
	}
	query := url.Values{
		"client_id": {"dev-cluster"}, "response_type": {"code"}, "state": {state},
		"redirect_uri": {"https://" + c.settings.PublicAddr + "/v1/webapi/" + login.connector.Kind + "/callback"},
	}
	switch login.connector.Kind {
	case kindGitHub:
		query.Set("scope", "read:org")
	case kindOIDC:
		sum := sha256.Sum256([]byte(login.verifier))
		query.Set("scope", "openid groups")
		query.Set("code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]))
		query.Set("code_challenge_method", "S256")
	}
	return consoleResponse{RedirectURL: base + "/authorize?" + query.Encode()}
}

// idpForm reads the form of a request and returns the connector that it is for; nil if
// there is none, which has been answered then.
func (c *Cluster) idpForm(w http.ResponseWriter, r *http.Request) *Connector {
	securityHeaders(w.Header())
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	connector := c.sso.named(r.PathValue("connector"))
	if connector == nil || r.ParseForm() != nil {
		c.notFound(w, r)
		return nil
	}
	return connector
}

// idpStart shows the form.
func (c *Cluster) idpStart(w http.ResponseWriter, r *http.Request) {
	connector := c.idpForm(w, r)
	if connector == nil {
		return
	}
	carried := signIn{State: r.Form.Get("state"), Challenge: r.Form.Get("code_challenge")}
	if connector.Kind == kindSAML {
		carried = signIn{State: r.Form.Get("RelayState")}
	}
	writeIDP(w, connector, carried, c.sso.people)
}

// idpSignIn takes the form.
func (c *Cluster) idpSignIn(w http.ResponseWriter, r *http.Request) {
	connector := c.idpForm(w, r)
	if connector == nil {
		return
	}
	back := providerAnswer{state: r.PostForm.Get("state")}
	person, known := c.sso.person(r.PostForm.Get("person"))
	switch {
	case r.PostForm.Get("action") != "sign in":
		back.failure = "access_denied: the person has said no"
	case !known:
		back.failure = "access_denied: there is no such person"
	default:
		var err error
		if back.code, err = c.sso.issueCode(connector.Name, person, r.PostForm.Get("challenge")); err != nil {
			back.failure = "server_error: " + err.Error()
		}
	}
	c.sendBack(w, r, connector, back)
}

// sendBack sends the browser back to the proxy, with an address or a form as the
// kind of connector has it.
func (c *Cluster) sendBack(w http.ResponseWriter, r *http.Request, connector *Connector, back providerAnswer) {
	if connector.Kind == kindSAML {
		response, _ := json.Marshal(map[string]string{"code": back.code, "failure": back.failure})
		writeSAMLResponse(w, "/v1/webapi/saml/acs/"+url.PathEscape(connector.Name), base64.StdEncoding.EncodeToString(response), back.state)
		return
	}
	query := url.Values{"state": {back.state}}
	if back.failure != "" {
		query.Set("error", "access_denied")
		query.Set("error_description", back.failure)
	} else {
		query.Set("code", back.code)
	}
	http.Redirect(w, r, "/v1/webapi/"+connector.Kind+"/callback?"+query.Encode(), http.StatusFound)
}

// readProviderAnswer reads what the browser brings back to the proxy.
func readProviderAnswer(kind string, r *http.Request) providerAnswer {
	if kind != kindSAML {
		query := r.URL.Query()
		back := providerAnswer{state: query.Get("state"), code: query.Get("code")}
		if query.Get("error") != "" {
			back.failure = or(query.Get("error_description"), query.Get("error"))
		}
		return back
	}
	r.Body = http.MaxBytesReader(nil, r.Body, maxBody)
	if r.ParseForm() != nil {
		return providerAnswer{}
	}
	back := providerAnswer{state: r.PostForm.Get("RelayState")}
	var response struct{ Code, Failure string }
	raw, err := base64.StdEncoding.DecodeString(r.PostForm.Get("SAMLResponse"))
	if err != nil || json.Unmarshal(raw, &response) != nil {
		back.failure = "the SAML response cannot be read"
		return back
	}
	back.code, back.failure = response.Code, response.Failure
	return back
}

// issueCode notes that somebody has signed in.
func (s *sso) issueCode(connector string, p Person, challenge string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.codes) >= maxPending {
		return "", errors.New("too many people sign in")
	}
	code := rand.Text()
	s.codes[code] = &idpCode{connector, p, challenge, s.now().Add(ssoCodeTTL)}
	return code, nil
}

// redeem tells the proxy, once, who a code stands for.
func (s *sso) redeem(code, connector, verifier string) (Person, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for old, c := range s.codes {
		if s.now().After(c.expires) {
			delete(s.codes, old)
		}
	}
	c := s.codes[code]
	delete(s.codes, code)
	if c == nil || c.connector != connector {
		return Person{}, fmt.Errorf("the identity provider does not know the code")
	}
	if c.challenge != "" {
		sum := sha256.Sum256([]byte(verifier))
		if subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(c.challenge)) != 1 {
			return Person{}, errors.New("the identity provider refuses the PKCE verifier")
		}
	}
	return c.person, nil
}
