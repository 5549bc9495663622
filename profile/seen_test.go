package profile

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/keyring"
	"github.com/seed-087d674e/tsh/keystore"
	"golang.org/x/crypto/ssh"
)

// view is everything that a reader sees, by what it is about.
type view map[string]string

// seen is what a process that knows nothing sees.
func seen(home string, r *ring) view {
	s := OpenWith(home, r)
	v := view{}
	v["current"] = said(s.Current())
	names, err := s.List()
	v["profiles"] = said(names, err)
	hosts, err := durable.Look(home).ReadFile("known_hosts", 1<<20)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		hosts = []byte(err.Error())
	}
	v["known_hosts"] = string(hosts)
	for _, name := range names {
		p, err := s.Load(name)
		if err != nil {
			v[name+" profile"] = said("", err)
			continue
		}
		shown := *p
		shown.raw = nil
		v[name+" profile"] = fmt.Sprintf("%+v", shown)
		v[name+" keystore"] = said(s.Keystore(name, p.User))
		p.LoadAllCAs = true
		v[name+" login"] = shownIdentity(s.Identity(p))
		v[name+" certificates"] = shownIdentity(s.IdentityPublic(p))
	}
	return v
}

func said(what any, err error) string {
	switch {
	case err == nil:
		return fmt.Sprint(what)
	case errors.Is(err, keystore.ErrNotFound), errors.Is(err, keyring.ErrMissing): // a sealed key that nothing opens is none
		return "not logged in"
	case errors.Is(err, ErrNoCurrent):
		return "none"
	}
	return "BAD: " + err.Error()
}

func shownIdentity(id *keystore.Identity, err error) string {
	if err != nil {
		return said("", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s@%s %s", id.User, id.Proxy, id.Cluster)
	sum := func(data []byte) { fmt.Fprintf(&b, " %x", sha256.Sum256(data)) }
	sum(id.SSHCert.Marshal())
	if id.TLSCert != nil {
		sum(id.TLSCert.Raw)
	}
	if id.SSHKey != nil { // that pairs match is the loader's business, and what is judged here
		pub, err := ssh.NewPublicKey(id.SSHKey.Public())
		if err != nil || !bytes.Equal(pub.Marshal(), id.SSHCert.Key.Marshal()) {
			return "BAD: SSH key and certificate do not match"
		}
		ofCert, ok := id.TLSCert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !ofCert.Equal(id.TLSKey.Public()) {
			return "BAD: TLS key and certificate do not match"
		}
	}
	for _, a := range id.Authorities {
		fmt.Fprintf(&b, "\n  %s", a.Cluster)
		for _, k := range a.SSHKeys {
			sum(k.Marshal())
		}
		for _, c := range a.TLSCerts {
			sum(c.Raw)
		}
	}
	return b.String()
}
