package credentials_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-087d674e/tsh/credentials"
)

const identities = "../testdata/fixtures/18.3/identity/"

// Who is logged in, where, and until when: nothing here asks the network, and no
// private key is read.
func ExampleLoadProfile() {
	creds := credentials.LoadProfile("../testdata/fixtures/18.3/home", "") // "" = ~/.tsh
	user, err := creds.User()
	if err != nil {
		log.Fatal(err)
	}
	cluster, err := creds.Cluster()
	if err != nil {
		log.Fatal(err)
	}
	addrs, err := creds.DefaultAddrs()
	if err != nil {
		log.Fatal(err)
	}
	until, ok := creds.Expiry()
	fmt.Println(user, cluster, addrs)
	fmt.Println(until.UTC(), ok)
	// Output:
	// fixture real.example.test [localhost:4080]
	// 2034-11-15 12:41:56 +0000 UTC true
}

// A TLS connection to the cluster with the login of the person who runs the
// program.
func ExampleProfile_TLSConfig() {
	creds := credentials.LoadProfile("", "gate.example.net")
	config, err := creds.TLSConfig()
	if err != nil {
		fmt.Println(err) // says what to run
		return
	}
	_ = config // for tls.Dial, http.Transport, grpc credentials …
}

// The identity that "tsh login --out=FILE" has written for a program.
func ExampleLoadIdentityFile() {
	creds := credentials.LoadIdentityFile(identities+"file", credentials.WithWarning(func(text string) {
		log.Println(text) // other users can read the key, for instance
	}))
	config, err := creds.TLSConfig()
	if err != nil {
		log.Fatal(err)
	}
	overSSH, err := creds.SSHClientConfig()
	if err != nil {
		log.Fatal(err)
	}
	until, _ := creds.Expiry()
	fmt.Println(config.ServerName, config.NextProtos)
	fmt.Println(overSSH.User, until.UTC())
	// Output:
	// teleport.cluster.local [h2]
	// root 2034-11-15 12:31:23 +0000 UTC
}

// An identity from where secrets come from: an environment variable, a vault.
func ExampleLoadIdentityString() {
	secret, err := os.ReadFile(identities + "file")
	if err != nil {
		log.Fatal(err)
	}
	creds := credentials.LoadIdentityString(string(secret))
	if _, err := creds.TLSConfig(); err != nil {
		log.Fatal(err)
	}
	_, err = creds.DefaultAddrs()
	fmt.Println(creds) // keys do not get into logs
	fmt.Println(err)
	// Output:
	// REDACTED
	// credentials of LoadIdentityString have no address of a proxy; use LoadProfile, or name the address yourself
}

// A robot whose identity something renews. What it was given for its connections stays good.
func ExampleNewDynamicIdentityFile() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "identity")
	renew := func(content []byte) {
		if err := errors.Join(os.WriteFile(path+".new", content, 0o600), os.Rename(path+".new", path)); err != nil {
			log.Fatal(err)
		}
	}
	identity, err := os.ReadFile(identities + "file")
	if err != nil {
		log.Fatal(err)
	}
	renew(identity)

	reports := make(chan error)
	creds, err := credentials.NewDynamicIdentityFile(path, credentials.WithReport(func(err error) { reports <- err }))
	if err != nil {
		log.Fatal(err)
	}
	defer creds.Close()
	config, err := creds.TLSConfig() // each handshake asks it for the certificate of the moment
	if err != nil {
		log.Fatal(err)
	}
	renew(identity[:100]) // somebody breaks it
	fmt.Println("broken:", <-reports != nil)
	cert, err := config.GetClientCertificate(new(tls.CertificateRequestInfo))
	fmt.Println("still", cert.Leaf.Subject.CommonName, err)
	renew(identity)
	fmt.Println("broken:", <-reports != nil)
	// Output:
	// broken: true
	// still fixture <nil>
	// broken: false
}

// The files of "tsh login --out=FILE --format=tls": key, certificate, authorities.
func ExampleLoadKeyPair() {
	creds := credentials.LoadKeyPair(identities+"tls.crt", identities+"tls.key", identities+"tls.cas")
	config, err := creds.TLSConfig()
	if err != nil {
		log.Fatal(err)
	}
	until, _ := creds.Expiry()
	fmt.Println(config.ServerName, until.UTC())
	var cannot *credentials.UnsupportedError
	_, err = creds.SSHClientConfig()
	fmt.Println(errors.As(err, &cannot), cannot.Loader, cannot.What)
	// Output:
	// teleport.cluster.local 2034-11-15 12:31:23 +0000 UTC
	// true LoadKeyPair SSH configuration
}

// A TLS configuration of the program's own, with a key that it has from elsewhere.
func ExampleLoadTLS() {
	cert, err := tls.LoadX509KeyPair(identities+"tls.crt", identities+"tls.key")
	if err != nil {
		log.Fatal(err)
	}
	authorities, err := os.ReadFile(identities + "tls.cas")
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authorities)
	creds := credentials.LoadTLS(&tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots})
	config, err := creds.TLSConfig()
	if err != nil {
		log.Fatal(err)
	}
	until, _ := creds.Expiry()
	fmt.Println(config.ServerName, config.NextProtos, until.Format(time.DateOnly))
	// Output:
	// teleport.cluster.local [h2] 2034-11-15
}
