package proxy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/seed-087d674e/tsh/internal/roots"
	"github.com/seed-087d674e/tsh/internal/text"
)

// maxName limits, in columns, each name of a certificate that is shown.
const maxName = 200

// TrustKind says what is wrong with a certificate.
type TrustKind int

// What can be wrong with a proxy's certificate.
const (
	TrustOther            TrustKind = iota // something rarer; the error says it
	TrustUnknownAuthority                  // nobody we trust has signed it
	TrustSelfSigned                        // it is signed by itself
	TrustExpired                           // now is outside its validity
	TrustWrongName                         // it is for other host names
	TrustWrongUsage                        // it is not for servers
)

// TrustError is a TLS certificate that cannot be trusted. Nothing has been
// sent to the host that presented it.
type TrustError struct {
	Host string // host:port; for an HTTP proxy on the way, after these words
	Kind TrustKind
	Err  error // what crypto/x509 says
	// Subject and Issuer are the names in the certificate, as they came: whoever
	// intercepts connections shows there.
	Subject, Issuer string
}

func (e *TrustError) Error() string {
	what := map[TrustKind]string{
		TrustUnknownAuthority: "its certificate is signed by an unknown authority",
		TrustSelfSigned:       "its certificate is signed by itself",
		TrustExpired:          "its certificate is not valid now",
		TrustWrongName:        "its certificate is for another name",
		TrustWrongUsage:       "its certificate is not for servers",
	}[e.Kind]
	detail := cutShown(text.Line(e.Err.Error()))
	if e.Subject != "" {
		detail = presented(e.Subject, e.Issuer) + "; " + detail
	}
	if what == "" {
		return fmt.Sprintf("%s cannot be trusted: %s", e.Host, detail)
	}
	return fmt.Sprintf("%s cannot be trusted: %s (%s)", e.Host, what, detail)
}

// presented says, fit to print, by whom a certificate is.
func presented(subject, issuer string) string {
	return "presented by " + text.Cut(text.Line(subject), maxName) + ", issued by " + text.Cut(text.Line(issuer), maxName)
}

// certificateNames are the names in a certificate: whom it is for, which may
// say so only among its alternative names, and who has issued it.
func certificateNames(cert *x509.Certificate) (subject, issuer string) {
	subject, issuer = cert.Subject.String(), cert.Issuer.String()
	switch {
	case subject != "":
	case len(cert.DNSNames) > 0:
		subject = "DNS:" + cert.DNSNames[0]
	case len(cert.IPAddresses) > 0:
		subject = "IP:" + cert.IPAddresses[0].String()
	default:
		subject = "nobody"
	}
	if issuer == "" {
		issuer = "nobody"
	}
	return subject, issuer
}

func (e *TrustError) Unwrap() error { return e.Err }

// trustError makes the failure of a handshake a TrustError if it is one.
func trustError(host string, err error) error {
	var failure *tls.CertificateVerificationError
	if !errors.As(err, &failure) {
		return err
	}
	trust := &TrustError{Host: host, Kind: trustKind(failure), Err: failure.Err}
	if len(failure.UnverifiedCertificates) > 0 {
		trust.Subject, trust.Issuer = certificateNames(failure.UnverifiedCertificates[0])
	}
	return trust
}

func trustKind(failure *tls.CertificateVerificationError) TrustKind {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(failure.Err, &name):
		return TrustWrongName
	case errors.As(failure.Err, &authority):
		if leaf := failure.UnverifiedCertificates[0]; bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
			return TrustSelfSigned
		}
		return TrustUnknownAuthority
	case errors.As(failure.Err, &invalid):
		switch invalid.Reason {
		case x509.Expired:
			return TrustExpired
		case x509.IncompatibleUsage:
			return TrustWrongUsage
		}
	}
	return TrustOther
}

// proves reports whether the server at the other end of a connection has the
// right to the host's name. Without w.insecure there would be no connection.
func (w webConfig) proves(state tls.ConnectionState) bool {
	if !w.insecure {
		return true
	}
	host, _, err := net.SplitHostPort(w.addr)
	if err != nil || len(state.PeerCertificates) == 0 {
		return false
	}
	return verifyWeb(host, state.PeerCertificates, w.roots) == nil
}

// verifyWeb verifies what the server host has shown, against trusted or, if that is nil, the
// system's authorities.
func verifyWeb(host string, shown []*x509.Certificate, trusted *x509.CertPool) (err error) {
	if trusted == nil {
		if trusted, err = roots.System(); err != nil {
			return err
		}
	}
	if _, err = shown[0].Verify(x509.VerifyOptions{DNSName: host, Roots: trusted, Intermediates: intermediates(shown)}); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: shown, Err: err}
	}
	return nil
}

// intermediates are the certificates that a server has shown after its own.
func intermediates(shown []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, cert := range shown[1:] {
		pool.AddCert(cert)
	}
	return pool
}

// webTLS is the configuration for connections to the proxy's web listener.
// No ALPN is offered: the server speaks HTTP/1.1 then.
func webTLS(serverName string, trusted *x509.CertPool, insecure bool) (*tls.Config, error) {
	if trusted == nil && !insecure {
		var err error
		if trusted, err = roots.System(); err != nil {
			return nil, err
		}
	}
	return &tls.Config{
		ServerName:         serverName,
		RootCAs:            trusted,
		InsecureSkipVerify: insecure, // the person asked for it, and was warned
		MinVersion:         tls.VersionTLS12,
	}, nil
}
