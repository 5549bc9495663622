package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"os"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/keystore"
)

// office is what an example plays in: a dev cluster, and who works there.
type office struct {
	testing.TB // nil: what examples do not use
	as         func(name string, roles ...string) *api.Client
	cleanups   []func()
}

func (o *office) Helper()          {}
func (o *office) Fatal(err ...any) { log.Panic(err...) }
func (o *office) Cleanup(f func()) { o.cleanups = append(o.cleanups, f) }

// TempDir makes a directory that leave removes.
func (o *office) TempDir() string {
	dir, err := os.MkdirTemp("", "office")
	if err != nil {
		log.Panic(err)
	}
	o.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (o *office) leave() {
	for i := len(o.cleanups) - 1; i >= 0; i-- {
		o.cleanups[i]()
	}
}

func noCode(devcluster.Enrolment) string { return "" }

func newOffice() (context.Context, *office) {
	o := new(office)
	var ctx context.Context
	ctx, _, o.as = startOffice(o, 0)
	return ctx, o
}

// Who the program is for the cluster, and what its roles let it do.
func ExampleClient_CurrentUserRoles() {
	ctx, office := newOffice()
	defer office.leave()
	client := office.as("bot", "auditor", "no-copy") // api.Connect with credentials

	user, err := client.CurrentUser(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(user.Name, user.Roles)
	roles, err := client.CurrentUserRoles(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, role := range roles {
		fmt.Println(role.Name, role.Options.MaxSessionTTL, role.Options.FileCopy, role.Allow.Rules)
	}
	// Output:
	// bot [auditor no-copy]
	// auditor 30h0m0s true [{[session event] [list read] }]
	// no-copy 30h0m0s false []
}

// A role that the program does not have takes a rule to read.
func ExampleClient_Role() {
	ctx, office := newOffice()
	defer office.leave()
	bot, editor := office.as("bot", "access"), office.as("ed", "editor")

	_, err := bot.Role(ctx, "requester")
	fmt.Println(err, errors.Is(err, api.ErrAccessDenied))
	role, err := editor.Role(ctx, "requester")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(role.Name, role.Allow.Request.Roles)
	_, err = editor.Role(ctx, "nobody")
	fmt.Println(err, errors.Is(err, api.ErrNotFound))
	// Output:
	// access denied to perform action "read" on "role" true
	// requester [access auditor editor]
	// role nobody is not found true
}

// Somebody asks for a role, somebody else finds the request and approves it, and who asked
// hears of it. Certificates with the role come from GenerateCertificates.
func ExampleClient_CreateAccessRequest() {
	ctx, office := newOffice()
	defer office.leave()
	bob, carol := office.as("bob", "requester", "access"), office.as("carol", "reviewer")

	asked, err := bob.CreateAccessRequest(ctx, access.Draft{
		User: "bob", Roles: []string{"editor"}, Reason: "ticket 12", MaxDuration: 2 * time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(asked.Spec.User, asked.Spec.Roles, asked.Spec.State)

	for request, err := range carol.AccessRequests(ctx, access.Filter{Reviewer: "carol"}) {
		if err != nil {
			log.Fatal(err)
		}
		_, err = carol.ReviewAccessRequest(ctx, request.ID(), access.Review{Author: "carol", State: access.Approved, Reason: "fine"})
		if err != nil {
			log.Fatal(err)
		}
	}

	decided, err := bob.WaitAccessRequest(ctx, asked.ID(), "bob")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(decided.Spec.State, decided.Spec.Reviews[0].Author, decided.Spec.ResolveReason)
	// Output:
	// bob [editor] pending
	// approved carol fine
}

// A bot that decides: it watches from before it lists, so that it misses nothing.
func ExampleClient_WatchAccessRequests() {
	ctx, office := newOffice()
	defer office.leave()
	bob, carol := office.as("bob", "requester", "access"), office.as("carol", "reviewer")

	for event, err := range carol.WatchAccessRequests(ctx, access.Filter{}) {
		if err != nil {
			log.Fatal(err) // or begin again
		}
		switch {
		case event.Type == access.Started: // what there is already: carol.AccessRequests
			if _, err := bob.CreateAccessRequest(ctx, access.Draft{User: "bob", Roles: []string{"auditor"}}); err != nil {
				log.Fatal(err)
			}
		case event.Type == access.Changed && event.Request.Spec.State == access.Pending:
			fmt.Println(event.Request.Spec.User, "asks for", event.Request.Spec.Roles)
			_, err := carol.ReviewAccessRequest(ctx, event.ID, access.Review{Author: "carol", State: access.Denied, Reason: "not today"})
			if err != nil {
				log.Fatal(err)
			}
		case event.Type == access.Changed:
			fmt.Println(event.Request.Spec.State, event.Request.Spec.ResolveReason)
			return
		}
	}
	// Output:
	// bob asks for [auditor]
	// denied not today
}

// The cluster of the login comes first, its leaves after it.
func ExampleClient_Clusters() {
	ctx, office := newOffice()
	defer office.leave()
	clusters, err := office.as("alice", "access").Clusters(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range clusters {
		fmt.Println(c.Name, c.Status, c.Root)
	}
	// Output:
	// dev.example online true
}

// A program takes up an approved request: it has a certificate with the role issued for a
// key of its own, and connects with that. The login it came from stays as it is.
func ExampleClient_GenerateCertificates() {
	office := new(office)
	defer office.leave()
	ctx, cluster, as := startOffice(office, 0)
	login := logInAs(office, ctx, cluster, "bob", noCode, "requester", "access") // credentials.LoadProfile
	bob, carol := connectAs(office, ctx, cluster, login), as("carol", "reviewer")
	asked, err := bob.CreateAccessRequest(ctx, access.Draft{User: "bob", Roles: []string{"auditor"}})
	if err != nil {
		log.Fatal(err)
	}
	_, err = carol.ReviewAccessRequest(ctx, asked.ID(), access.Review{Author: "carol", State: access.Approved})
	if err != nil {
		log.Fatal(err)
	}

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	_, public, err := keystore.PublicKeys(nil, key)
	if err != nil {
		log.Fatal(err)
	}
	_, cert, err := bob.GenerateCertificates(ctx, api.CertsRequest{
		User: "bob", Cluster: "dev.example", Expires: time.Now().Add(time.Hour), // Profile has User, Cluster and Expiry
		AccessRequests: []string{asked.ID()}, TLSKey: public,
	})
	if err != nil {
		log.Fatal(err)
	}
	config, err := login.TLSConfig() // for the cluster's authorities
	if err != nil {
		log.Fatal(err)
	}
	auditor, err := api.Connect(ctx, api.Config{
		Addrs: []string{cluster.PublicAddr()},
		Credentials: []credentials.Credentials{credentials.LoadTLS(&tls.Config{
			RootCAs:      config.RootCAs,
			Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		})},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer auditor.Close()
	roles, err := auditor.CurrentUserRoles(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, role := range roles {
		fmt.Println(role.Name)
	}
	// Output:
	// access
	// auditor
	// requester
}
