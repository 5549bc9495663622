package api

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
	"github.com/seed-087d674e/tsh/internal/wire/sessionwire"
)

const methodUserCerts = "/proto.AuthService/GenerateUserCerts"

// CertsRequest says what certificates to issue for keys that have some already.
type CertsRequest struct {
	// User is the one that the credentials are for.
	User string
	// Expires is when they shall end: never later than those that there are.
	Expires time.Time
	// Cluster is where they lead to, the root cluster or a leaf.
	Cluster string
	// AccessRequests are approved requests to assume, beside those that are assumed
	// already; DropRequests are not to be assumed any more, "*" is all.
	AccessRequests []string
	DropRequests   []string
	// SSHKey and TLSKey are the public keys as keystore.PublicKeys returns them. One of
	// them may be nil: there is no certificate for it then.
	SSHKey, TLSKey []byte

	// Node and Login ask for an SSH certificate that is good for one session only: on the
	// node of that name, address or ID (without a port), as that account. It takes the
	// Answer to a challenge, lasts a minute and has no TLSKey. SessionCert does it all.
	Node, Login string
	Answer      mfa.Answer
}

// GenerateCertificates has certificates issued for the keys of a login: to lead to another
// cluster, with access requests or without them, or for one session. They are what the
// cluster says; the caller has to check them (keystore.Identity.Reissued, SingleUse). The
// client has to be one of the root cluster.
//
// Errors: *Error, which is ErrNotFound for a cluster that is not known there and
// ErrAccessDenied for a request that was not approved, is over or somebody else's, and for
// an answer that is not accepted; and one for an answer without the certificates.
func (c *Client) GenerateCertificates(ctx context.Context, req CertsRequest) (*ssh.Certificate, *x509.Certificate, error) {
	message := req.message()
	var reply accesswire.Certs
	err := c.call(ctx, methodUserCerts, message, &reply)
	if err != nil {
		return nil, nil, err
	}
	var sshCert *ssh.Certificate
	var tlsCert *x509.Certificate
	if req.SSHKey != nil || req.single() {
		if sshCert, err = c.parseSSHCert(reply.SSH); err != nil {
			return nil, nil, err
		}
	}
	if req.TLSKey != nil {
		if tlsCert, err = parseCertificate(reply.TLS); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", c.addr, err)
		}
	}
	return sshCert, tlsCert, nil
}

// single reports whether the certificate is for one session.
func (req *CertsRequest) single() bool { return req.Node != "" || req.Login != "" }

func (req *CertsRequest) message() *accesswire.UserCertsRequest {
	m := &accesswire.UserCertsRequest{
		Username: req.User, Expires: accesswire.NewTimestamp(req.Expires), RouteToCluster: req.Cluster,
		AccessRequests: req.AccessRequests, DropAccessRequests: req.DropRequests,
		SSHPublicKey: req.SSHKey, TLSPublicKey: req.TLSKey,
	}
	if req.single() {
		m.NodeName, m.SSHLogin, m.Usage = req.Node, req.Login, sessionwire.UsageSSH
		m.Purpose, m.MFAResponse = sessionwire.PurposeSingleUse, newAnswer(&req.Answer)
	} else if oneKey(req.SSHKey, req.TLSKey) {
		m.PublicKey = req.SSHKey // servers of 14 know no other form
	}
	return m
}

// parseSSHCert reads a certificate that the server has issued.
func (c *Client) parseSSHCert(line []byte) (*ssh.Certificate, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey(line)
	if err != nil {
		return nil, fmt.Errorf("%s: SSH certificate: %w", c.addr, err)
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, errors.New(c.addr + ": SSH certificate: it is a plain key")
	}
	return cert, nil
}

// oneKey reports whether both public keys are of the same key.
func oneKey(sshKey, tlsKey []byte) bool {
	key, _, _, _, err := ssh.ParseAuthorizedKey(sshKey)
	if err != nil {
		return false
	}
	wrapped, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return false
	}
	block, _ := pem.Decode(tlsKey)
	if block == nil {
		return false
	}
	var der []byte
	if rsaKey, ok := wrapped.CryptoPublicKey().(*rsa.PublicKey); ok && block.Type == "RSA PUBLIC KEY" {
		der = x509.MarshalPKCS1PublicKey(rsaKey)
	} else if der, err = x509.MarshalPKIXPublicKey(wrapped.CryptoPublicKey()); err != nil {
		return false
	}
	return bytes.Equal(der, block.Bytes)
}
