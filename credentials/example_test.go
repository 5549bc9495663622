package credentials_test

import (
	"fmt"
	"log"

	"github.com/seed-087d674e/tsh/credentials"
)

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
