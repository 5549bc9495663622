package devcluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/ssh"
)

const (
	// defaultSessionTTL is what ping announces and what a login gets that
	// asks for nothing.
	defaultSessionTTL = 12 * time.Hour
	// joinPrincipal is in every certificate, for joining sessions.
	joinPrincipal = "-teleport-internal-join"
	// formatOld is the certificate format without the cluster's extensions.
	formatOld = "oldssh"
)

// certRequest is what a login asks to have signed.
type certRequest struct {
	user    *user
	roles   roleSet
	ttl     time.Duration
	format  string
	loginIP string

	route    string   // cluster that the certificates lead to; this one if empty
	requests []string // IDs of the access requests that are assumed
	assumed  []string // roles that come with them
	// mfaDevice is set in certificates that a second factor vouches for.
	mfaDevice string
	// until is when the login ends that a certificate for one session comes from.
	until time.Time
}

// roleNames are the roles of the certificate.
func (r certRequest) roleNames() []string {
	return append(slices.Clone(r.user.Roles), r.assumed...)
}

// principals of the certificate: the logins, or one that no host can have.
func (r certRequest) principals() []string {
	logins := r.roles.principals()
	if len(logins) == 0 {
		logins = []string{"-teleport-nologin-" + uuid.NewString()}
	}
	return append(logins, joinPrincipal)
}

// traits as 18.3 writes them for a user made by an administrator.
func (u *user) traits() traits {
	t := traits{"host_user_gid": {""}, "host_user_uid": {""}, "logins": u.Logins}
	for _, name := range []string{
		"aws_role_arns", "azure_identities", "db_names", "db_roles", "db_users", "gcp_service_accounts",
		"kubernetes_groups", "kubernetes_users", "mcp_tools", "windows_logins",
	} {
		t[name] = nil
	}
	for name, values := range u.Traits {
		if name != "logins" {
			t[name] = values
		}
	}
	switch {
	case strings.HasPrefix(u.Source, kindGitHub+"/"):
		t["github_teams"] = u.Groups
	case u.Source != "":
		t["groups"] = u.Groups
	}
	return t
}

// kind of the user, as certificates name it.
func (u *user) kind() string {
	if u.Source != "" {
		return "sso"
	}
	return "local"
}

// signSSH issues a user certificate and returns it as an authorized_keys line.
func (c *Cluster) signSSH(key ssh.PublicKey, r certRequest) ([]byte, error) {
	now := c.now()
	ext := map[string]string{"permit-pty": "", "private-key-policy": "none"}
	if r.roles.any(func(r role) bool { return r.ForwardAgent }) {
		ext["permit-agent-forwarding"] = ""
	}
	if r.roles.any(func(r role) bool { return r.PortForwarding }) {
		ext["permit-port-forwarding"] = ""
	}
	if r.roles.any(func(r role) bool { return r.PermitX11 }) {
		ext["permit-X11-forwarding"] = ""
	}
	if r.loginIP != "" {
		ext["login-ip"] = r.loginIP
	}
	if r.mfaDevice != "" {
		ext["mfa-verified"] = r.mfaDevice
	}
	if !r.until.IsZero() {
		ext["prev-identity-expires"] = r.until.UTC().Format(time.RFC3339)
	}
	if r.format != formatOld {
		roles, err := json.Marshal(c.rolesExtension(r.roleNames()))
		if err != nil {
			return nil, err
		}
		traits, err := json.Marshal(c.traitsOf(r.user))
		if err != nil {
			return nil, err
		}
		ext["teleport-roles"] = string(roles)
		ext["teleport-traits"] = string(traits)
		ext["teleport-route-to-cluster"] = or(r.route, c.settings.Name)
		if len(r.requests) > 0 {
			requests, err := json.Marshal(map[string][]string{"access_requests": r.requests})
			if err != nil {
				return nil, err
			}
			ext["teleport-active-requests"] = string(requests)
		}
	}
	cert := &ssh.Certificate{
		Key:             key,
		CertType:        ssh.UserCert,
		KeyId:           r.user.Name,
		ValidPrincipals: r.principals(),
		ValidAfter:      uint64(now.Add(-backdate).Unix()),
		ValidBefore:     uint64(now.Add(r.ttl).Unix()),
		Permissions:     ssh.Permissions{Extensions: ext},
	}
	if err := cert.SignCert(rand.Reader, c.auths.user.sshSigner); err != nil {
		return nil, err
	}
	return ssh.MarshalAuthorizedKey(cert), nil
}

// signTLS issues a user certificate and returns it as PEM.
func (c *Cluster) signTLS(key crypto.PublicKey, r certRequest) ([]byte, error) {
	subject, err := c.userSubject(r)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := c.now()
	tmpl := &x509.Certificate{
		SerialNumber:          serial,
		RawSubject:            subject,
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(r.ttl),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if _, ok := key.(*rsa.PublicKey); ok {
		tmpl.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, c.auths.user.tlsCert, key, c.auths.user.tlsKey)
	if err != nil {
		return nil, err
	}
	return certPEM(der), nil
}

// userSubject is the subject that carries the identity, DER, in the order of
// 18.3: L, STREET, postalCode, O, CN, then the private attributes. The values
// of one standard attribute share one set, which DER sorts.
func (c *Cluster) userSubject(r certRequest) ([]byte, error) {
	traits, err := json.Marshal(c.traitsOf(r.user))
	if err != nil {
		return nil, err
	}
	x520 := func(n int) asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 4, n} }
	var rdns pkix.RDNSequence
	add := func(oid asn1.ObjectIdentifier, values ...string) {
		set := make(pkix.RelativeDistinguishedNameSET, len(values))
		for i, v := range values {
			set[i] = pkix.AttributeTypeAndValue{Type: oid, Value: v}
		}
		rdns = append(rdns, set)
	}
	add(x520(7), r.principals()...)
	add(x520(9), or(r.route, c.settings.Name))
	add(x520(17), string(traits))
	add(x520(10), r.roleNames()...)
	add(x520(3), r.user.Name)
	add(identityOID(attrCluster), c.settings.Name)
	if r.mfaDevice != "" {
		add(identityOID(attrMFAVerified), r.mfaDevice)
	}
	if r.loginIP != "" {
		add(identityOID(attrLoginIP), r.loginIP)
	}
	if !c.is14() {
		add(identityOID(attrUserType), r.user.kind())
	}
	add(identityOID(attrPrivateKeyPolicy), "none")
	for _, id := range r.requests {
		add(oidActiveRequest(), id)
	}
	return asn1.Marshal(rdns)
}

// parseTLSPublicKey reads the wire form of a login: PEM with either label and
// either encoding of the key.
func parseTLSPublicKey(b []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PUBLIC KEY" && block.Type != "RSA PUBLIC KEY" {
		return nil, errors.New("expected a PEM encoded public key")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		if rsaKey, rsaErr := x509.ParsePKCS1PublicKey(block.Bytes); rsaErr == nil {
			return rsaKey, nil
		}
		return nil, err
	}
	switch key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return key, nil
	}
	return nil, fmt.Errorf("unsupported public key type %T", key)
}

// parseSSHPublicKey reads one authorized_keys line with a plain key.
func parseSSHPublicKey(b []byte) (ssh.PublicKey, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey(b)
	if err != nil {
		return nil, err
	}
	switch key.Type() {
	case ssh.KeyAlgoRSA, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoED25519:
		return key, nil
	}
	return nil, fmt.Errorf("unsupported public key type %s", key.Type())
}

// loginKeys are the keys of a login request; either may be missing.
type loginKeys struct {
	ssh ssh.PublicKey
	tls crypto.PublicKey
}

func (req *finishRequest) keys() (*loginKeys, error) {
	keys := new(loginKeys)
	var err error
	if len(req.SSHPubKey) > 0 {
		if keys.ssh, err = parseSSHPublicKey(req.SSHPubKey); err != nil {
			return nil, badParameter("ssh_pub_key: %v", err)
		}
	}
	if len(req.TLSPubKey) > 0 {
		if keys.tls, err = parseTLSPublicKey(req.TLSPubKey); err != nil {
			return nil, badParameter("tls_pub_key: %v", err)
		}
	}
	return keys, nil
}
