package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/internal/roots"
	"github.com/seed-087d674e/tsh/proxy"
)

// trust says who may certify the web servers that this run connects to.
type trust struct {
	_      [0]func() // never compared
	caFile string    // --ca-file
	pool   *x509.CertPool
}

func (t *trust) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&t.caFile, "ca-file", "", "also trust the authorities in `FILE` (PEM) to certify the proxy, and an HTTP proxy [TSH_CA_FILE]")
}

// authorities are those that may certify a web server; nil stands for the
// system's. The file is read with the first use, so that commands which need
// no network do not need it.
func (t *trust) authorities() (*x509.CertPool, error) {
	if t.caFile == "" || t.pool != nil {
		return t.pool, nil
	}
	pool, err := roots.With(t.caFile)
	if err != nil {
		return nil, usagef("--ca-file (or TSH_CA_FILE): %w", err)
	}
	t.pool = pool
	return pool, nil
}

// webClient talks to a proxy's web server; rememberedPort is the one it had last time, 0
// if that is not known.
func (a *app) webClient(addr proxy.Addr, rememberedPort int) (*proxy.Client, error) {
	options, err := a.webOptions()
	if err != nil {
		return nil, err
	}
	options.Addr, options.RememberedPort = addr, rememberedPort
	return proxy.NewClient(options), nil
}

// webOptions is how this run talks to web servers of proxies.
func (a *app) webOptions() (proxy.Options, error) {
	pool, err := a.globals.trust.authorities()
	return proxy.Options{Insecure: a.globals.insecure, RootCAs: pool, Headers: a.settings.Headers}, err
}

// trustHint says what a person can do about a certificate that is not trusted.
func trustHint(err *proxy.TrustError) string {
	switch err.Kind {
	case proxy.TrustUnknownAuthority, proxy.TrustSelfSigned:
		if file := os.Getenv("SSL_CERT_FILE"); file != "" {
			return certFileHint(file)
		}
		return "if that is a private authority that you trust, your company's filter say, name its file: --ca-file=ca.pem\n" +
			"(--insecure turns the check off for one run; anyone on the way can then read the password)"
	case proxy.TrustExpired:
		return "compare the clock of this machine; otherwise the proxy's certificate has to be renewed"
	case proxy.TrustWrongName:
		return "use the name that the certificate is for"
	}
	return ""
}

// explain replaces the advice to name a file of authorities where one was named.
func (t *trust) explain(err error, body errorBody) errorBody {
	var untrusted *proxy.TrustError
	if t.caFile == "" || !errors.As(err, &untrusted) {
		return body
	}
	if untrusted.Kind == proxy.TrustUnknownAuthority || untrusted.Kind == proxy.TrustSelfSigned {
		body.Hint = "the authorities in " + t.caFile + " (--ca-file) have not issued it, nor have those of the system"
	}
	return body
}

// certFileHint says what is wrong with the file that SSL_CERT_FILE names.
func certFileHint(file string) string {
	if err := roots.Check(file); err != nil {
		return fmt.Sprintf("SSL_CERT_FILE: %v", err)
	}
	return "SSL_CERT_FILE: the authorities in " + file + " have not issued it"
}
