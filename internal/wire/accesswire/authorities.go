// Package accesswire holds the messages about authorities, certificates that are
// issued again and access requests, in the manner of package wire.
package accesswire

import "github.com/seed-087d674e/tsh/internal/wire"

// CertAuthoritiesRequest asks for all authorities of a type.
type CertAuthoritiesRequest struct {
	Type string `wire:"1"` // "host", "user", …
}

// CertAuthoritiesResponse has those of the cluster and of its leaf clusters.
type CertAuthoritiesResponse struct {
	Authorities []*CertAuthority `wire:"1"`
}

// CertAuthority is the public part of an authority.
type CertAuthority struct {
	Kind     string            `wire:"1"` // "cert_authority"
	SubKind  string            `wire:"2"` // the type
	Version  string            `wire:"3"` // "v2"
	Metadata wire.Metadata     `wire:"4"` // Name is the cluster's
	Spec     CertAuthoritySpec `wire:"5"`
}

// CertAuthoritySpec has the keys: those that sign now, and those that are
// trusted besides while one follows the other.
type CertAuthoritySpec struct {
	Type           string   `wire:"1"`
	ClusterName    string   `wire:"2"`
	ActiveKeys     CAKeySet `wire:"11"`
	AdditionalKeys CAKeySet `wire:"12"`
}

// CAKeySet is some keys of an authority.
type CAKeySet struct {
	SSH []*SSHKeyPair `wire:"1"`
	TLS []*TLSKeyPair `wire:"2"`
}

// SSHKeyPair has the public key as an authorized_keys line.
type SSHKeyPair struct {
	PublicKey []byte `wire:"1"`
}

// TLSKeyPair has the certificate, PEM.
type TLSKeyPair struct {
	Cert []byte `wire:"1"`
}
