package main

import (
	"crypto/x509"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// claims are what a cluster's certificates say of their holder.
type claims struct {
	roles            []string
	traits           map[string][]string
	logins           []string
	activeRequests   []string
	allowedResources []resourceID
	github           *githubIdentity
	kubeCluster      string
	kubeUsers        []string
	kubeGroups       []string
	databases        []string
	extensions       []string
	criticalOptions  map[string]string
}

type githubIdentity struct {
	_        [0]func() // never compared
	UserID   string    `json:"UserID"`
	Username string    `json:"Username"`
}

// resourceID names one resource that access was requested to.
type resourceID struct {
	_       [0]func() // never compared
	Cluster string    `json:"cluster"`
	Kind    string    `json:"kind"`
	Name    string    `json:"name"`
	SubName string    `json:"sub_resource,omitempty"`

	text string // as in the certificate
}

// parseResourceID reads "/cluster/kind/name[/sub]".
func parseResourceID(s string) resourceID {
	id := resourceID{text: s}
	fields := []*string{&id.Cluster, &id.Kind, &id.Name, &id.SubName}
	for i, part := range strings.SplitN(strings.TrimPrefix(s, "/"), "/", len(fields)) {
		*fields[i] = part
	}
	return id
}

// Extensions of the cluster's SSH certificates whose content is shown in other
// words than by their name.
const (
	extRoles            = "teleport-roles"
	extTraits           = "teleport-traits"
	extRoute            = "teleport-route-to-cluster"
	extActiveRequests   = "teleport-active-requests"
	extAllowedResources = "teleport-allowed-resources"
	extGithubID         = "github-id@goteleport.com"
	extGithubLogin      = "github-login@goteleport.com"
)

// internalLogin begins the principals that are no accounts.
const internalLogin = "-teleport-"

// readClaims reads what the certificates say. What cannot be parsed is left
// out: it is for show here, the servers judge by their own reading.
func readClaims(cert *ssh.Certificate, tlsCert *x509.Certificate) claims {
	var c claims
	if cert != nil {
		c.readSSH(cert)
	}
	if tlsCert != nil {
		c.readTLS(tlsCert)
	}
	return c
}

func (c *claims) readSSH(cert *ssh.Certificate) {
	ext := cert.Extensions
	var roles struct{ Roles []string }
	_ = json.Unmarshal([]byte(ext[extRoles]), &roles)
	c.roles = roles.Roles
	_ = json.Unmarshal([]byte(ext[extTraits]), &c.traits)
	var requests struct {
		IDs []string `json:"access_requests"`
	}
	_ = json.Unmarshal([]byte(ext[extActiveRequests]), &requests)
	c.activeRequests = requests.IDs
	var resources []string
	_ = json.Unmarshal([]byte(ext[extAllowedResources]), &resources)
	for _, r := range resources {
		c.allowedResources = append(c.allowedResources, parseResourceID(r))
	}
	if ext[extGithubLogin] != "" {
		c.github = &githubIdentity{UserID: ext[extGithubID], Username: ext[extGithubLogin]}
	}
	for _, principal := range cert.ValidPrincipals {
		if !strings.HasPrefix(principal, internalLogin) {
			c.logins = append(c.logins, principal)
		}
	}
	shownElsewhere := []string{extRoles, extTraits, extRoute, extActiveRequests, extAllowedResources, extGithubID, extGithubLogin}
	for _, name := range slices.Sorted(maps.Keys(ext)) {
		if !slices.Contains(shownElsewhere, name) {
			c.extensions = append(c.extensions, name)
		}
	}
	if len(cert.CriticalOptions) > 0 {
		c.criticalOptions = cert.CriticalOptions
	}
}

func (c *claims) readTLS(cert *x509.Certificate) {
	c.kubeUsers = subjectValues(cert, 1, 3, 9999, 1, 1)
	c.kubeGroups = subjectValues(cert, 1, 3, 9999, 1, 2)
	c.kubeCluster = strings.Join(subjectValues(cert, 1, 3, 9999, 1, 3), "")
	c.databases = subjectValues(cert, 1, 3, 9999, 2, 1)
}

// subjectValues are the values of one attribute of the certificate's subject.
func subjectValues(cert *x509.Certificate, oid ...int) []string {
	var values []string
	for _, name := range cert.Subject.Names {
		if s, ok := name.Value.(string); ok && slices.Equal(name.Type, oid) {
			values = append(values, s)
		}
	}
	return values
}
