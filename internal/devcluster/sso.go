package devcluster

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kinds of connectors.
const (
	kindGitHub = "github"
	kindOIDC   = "oidc"
	kindSAML   = "saml"
)

// Limits of what is kept of logins under way.
const (
	ssoPendingTTL = 10 * time.Minute
	ssoCodeTTL    = time.Minute
	maxPending    = 1000
)

// Connector is a way to log in through an identity provider. The provider is the
// cluster's own: it speaks enough of each kind for a browser to go the way that it
// goes elsewhere, and no real OIDC or SAML.
type Connector struct {
	Kind    string // github, oidc or saml
	Name    string
	Display string // Name if empty
	// PostForm has the browser begin with a form that it sends instead of an
	// address that it opens; saml only.
	PostForm bool
	// AllowedHostnames (with * and ?, or ^regular expressions$) and AllowedCIDRs are
	// where a client's listener may be besides this machine.
	AllowedHostnames []string
	AllowedCIDRs     []string
}

// Person is somebody the identity provider knows.
type Person struct {
	Name   string
	Groups []string // admins, developers and auditors have roles here
	Logins []string // Name if nil
}

// defaultPeople are those of an identity provider that was told of nobody.
func defaultPeople() []Person {
	return []Person{
		{Name: "alice", Groups: []string{"admins", "developers"}, Logins: []string{"alice", "root"}},
		{Name: "bob", Groups: []string{"developers"}},
		{Name: "carol", Groups: []string{"guests"}},
	}
}

// rolesOf is what the groups of a person are worth in the cluster.
func rolesOf(groups []string) []string {
	worth := map[string][]string{"admins": {"access", "editor"}, "developers": {"access"}, "auditors": {"auditor"}}
	var roles []string
	for _, group := range groups {
		for _, role := range worth[group] {
			if !slices.Contains(roles, role) {
				roles = append(roles, role)
			}
		}
	}
	return roles
}

// sso is what a cluster knows of connectors, of its identity provider, and of
// logins under way there.
type sso struct {
	connectors []Connector
	fallback   string // the connector that is the default; "" for passwords
	people     []Person
	now        func() time.Time

	mu      sync.Mutex
	pending map[string]*ssoLogin // by state
	codes   map[string]*idpCode
}

// ssoLogin is a login that waits for the person to come back.
type ssoLogin struct {
	connector *Connector
	redirect  *url.URL // where the client listens
	verifier  string   // PKCE
	keys      *loginKeys
	req       consoleRequest
	ip        string
	user      string // once the provider has said it
	expires   time.Time
}

func newSSO(cfg Config) (*sso, error) {
	s := &sso{
		connectors: slices.Clone(cfg.Connectors), fallback: cfg.DefaultConnector, people: cfg.People, now: cfg.Clock,
		pending: make(map[string]*ssoLogin), codes: make(map[string]*idpCode),
	}
	if s.people == nil {
		s.people = defaultPeople()
	}
	for i := range s.connectors {
		if err := s.connectors[i].check(); err != nil {
			return nil, err
		}
		if s.named(s.connectors[i].Name) != &s.connectors[i] {
			return nil, fmt.Errorf("there are two connectors named %s", s.connectors[i].Name)
		}
	}
	for _, p := range s.people {
		if err := checkUserName(p.Name); err != nil {
			return nil, err
		}
	}
	if s.fallback != "" && s.named(s.fallback) == nil {
		return nil, fmt.Errorf("there is no connector %s to be the default", s.fallback)
	}
	return s, nil
}

func (c *Connector) check() error {
	if !slices.Contains([]string{kindGitHub, kindOIDC, kindSAML}, c.Kind) {
		return fmt.Errorf("connector kind %q is not one of github, oidc, saml", c.Kind)
	}
	if err := checkUserName(c.Name); err != nil || slices.Contains([]string{"local", "passwordless", "headless"}, c.Name) {
		return fmt.Errorf("%q is no name for a connector", c.Name)
	}
	if c.PostForm && c.Kind != kindSAML {
		return errors.New("only saml connectors begin with a form")
	}
	for _, cidr := range c.AllowedCIDRs {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			return err
		}
	}
	c.Display = or(c.Display, c.Name)
	return nil
}

func (s *sso) named(name string) *Connector {
	for i := range s.connectors {
		if s.connectors[i].Name == name {
			return &s.connectors[i]
		}
	}
	return nil
}

func (s *sso) has(kind string) bool {
	return slices.ContainsFunc(s.connectors, func(c Connector) bool { return c.Kind == kind })
}

func (s *sso) names() []string {
	var names []string
	for _, c := range s.connectors {
		names = append(names, c.Name)
	}
	return names
}

func (s *sso) person(name string) (Person, bool) {
	i := slices.IndexFunc(s.people, func(p Person) bool { return p.Name == name })
	if i < 0 {
		return Person{}, false
	}
	p := s.people[i]
	if p.Logins == nil {
		p.Logins = []string{p.Name}
	}
	return p, true
}

// begin keeps a login and returns its state.
func (s *sso) begin(login *ssoLogin) (string, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for state, l := range s.pending {
		if s.now().After(l.expires) {
			delete(s.pending, state)
		}
	}
	if len(s.pending) >= maxPending {
		return "", errors.New("too many logins under way")
	}
	state := hex.EncodeToString(b)
	login.expires = s.now().Add(ssoPendingTTL)
	s.pending[state] = login
	return state, nil
}

// take returns the login of a state, once.
func (s *sso) take(state string) *ssoLogin {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.pending[state]
	delete(s.pending, state)
	if l == nil || s.now().After(l.expires) {
		return nil
	}
	return l
}

// checkRedirect says whether a client may have the answer brought to raw, in the
// order of 18.3.
func (c *Connector) checkRedirect(raw string) (*url.URL, bool) {
	u, err := url.Parse(raw)
	if raw == "" || err != nil || u.Opaque != "" || u.User != nil || u.Fragment != "" {
		return nil, false // an empty one is accepted elsewhere, and leads nowhere
	}
	query, err := url.ParseQuery(u.RawQuery)
	switch {
	case err != nil, u.EscapedPath() != "/callback", len(query) != 1 || len(query["secret_key"]) != 1:
		return nil, false
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, false
	case u.Scheme == "http" && slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname()):
		return u, true
	}
	return u, c.allows(u)
}

// allows says whether the connector's settings allow another machine.
func (c *Connector) allows(u *url.URL) bool {
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		for _, cidr := range c.AllowedCIDRs {
			if netip.MustParsePrefix(cidr).Contains(ip.Unmap()) {
				return true
			}
		}
	}
	return u.Scheme == "https" && (u.Port() == "" || u.Port() == "443") &&
		slices.ContainsFunc(c.AllowedHostnames, func(pattern string) bool { return hostMatches(pattern, u.Hostname()) })
}

func hostMatches(pattern, host string) bool {
	if strings.HasPrefix(pattern, "^") && strings.HasSuffix(pattern, "$") {
		ok, err := regexp.MatchString(pattern, host)
		return ok && err == nil
	}
	ok, err := path.Match(pattern, host)
	return ok && err == nil
}
