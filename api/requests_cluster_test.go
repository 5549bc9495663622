package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// startOffice runs a cluster of this version in which bob asks, carol reviews and ed edits.
func startOffice(t testing.TB, emulate int) (ctx context.Context, cluster *devcluster.Cluster, as func(string, ...string) *api.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cluster, err := devcluster.Start(ctx, devcluster.Config{
		Dir: t.TempDir(), Addr: "127.0.0.1:0", Name: "dev.example", SecondFactor: "off", PasswordCost: 4, Emulate: emulate,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Close() })
	return ctx, cluster, func(name string, roles ...string) *api.Client {
		id := logInAs(t, ctx, cluster, name, func(devcluster.Enrolment) string { return "" }, roles...)
		return connectAs(t, ctx, cluster, id)
	}
}

func connectAs(t testing.TB, ctx context.Context, cluster *devcluster.Cluster, id identity) *api.Client {
	t.Helper()
	client, err := api.Connect(ctx, api.Config{Addrs: []string{cluster.PublicAddr()}, Credentials: []credentials.Credentials{id}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func collect[T any](t testing.TB, list iter.Seq2[T, error]) (all []T) {
	t.Helper()
	for item, err := range list {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, item)
	}
	return all
}

// Everybody may ask which roles they have; to read any one, and the list of all, takes a
// rule. Clusters of 14.x have older calls for some of it.
func TestUsersAndRoles(t *testing.T) {
	for name, emulate := range map[string]int{"18.x": 0, "14.x": 14} {
		t.Run(name, func(t *testing.T) {
			ctx, _, as := startOffice(t, emulate)
			alice, ed := as("alice", "access", "auditor"), as("ed", "editor")
			user, err := alice.CurrentUser(ctx)
			if err != nil || user.Name != "alice" || !slices.Equal(user.Roles, []string{"access", "auditor"}) || !slices.Equal(user.Traits["logins"], []string{"root"}) || user.Locked {
				t.Errorf("%+v, %v", user, err)
			}
			mine, err := alice.CurrentUserRoles(ctx)
			if err != nil || len(mine) != 2 || mine[0].Name != "access" || mine[0].Allow.NodeLabels["*"][0] != "*" || mine[0].Options.MaxSessionTTL != 30*time.Hour || !mine[0].Options.FileCopy {
				t.Errorf("%+v, %v", mine, err)
			}
			role, err := ed.Role(ctx, "auditor")
			if err != nil || len(role.Allow.Rules) != 1 || !slices.Equal(role.Allow.Rules[0].Verbs, []string{"list", "read"}) {
				t.Errorf("%+v, %v", role, err)
			}
			for _, name := range []string{"auditor", "editor", "nobody"} {
				if _, err := alice.Role(ctx, name); !errors.Is(err, api.ErrAccessDenied) {
					t.Errorf("role %s, for alice: %v", name, err)
				}
			}
			for _, err := range alice.Roles(ctx) {
				if !errors.Is(err, api.ErrAccessDenied) {
					t.Errorf("a list that alice may not see: %v", err)
				}
			}
			role, err = ed.Role(ctx, "requester")
			if err != nil || !slices.Contains(role.Allow.Request.Roles, "editor") {
				t.Errorf("%+v, %v", role, err)
			}
			if _, err := ed.Role(ctx, "nobody"); !errors.Is(err, api.ErrNotFound) {
				t.Errorf("a role that is not there: %v", err)
			}
			var names []string
			for _, r := range collect(t, ed.Roles(ctx)) {
				names = append(names, r.Name)
			}
			if !slices.IsSorted(names) || !slices.Contains(names, "access") || !slices.Contains(names, "reviewer") {
				t.Errorf("roles %q", names)
			}
		})
	}
}

// certified has certificates issued for new keys and returns a client that uses them, and
// the roles it has.
func certified(t *testing.T, ctx context.Context, cluster *devcluster.Cluster, client *api.Client, req api.CertsRequest) (*api.Client, []string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	req.SSHKey, req.TLSKey = ssh.MarshalAuthorizedKey(public), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	_, cert, err := client.GenerateCertificates(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	ca, err := client.HostAuthorities(ctx)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(ca[0].TLSCerts[0])
	id := identity{&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}}
	fresh := connectAs(t, ctx, cluster, id)
	roles, err := fresh.CurrentUserRoles(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range roles {
		names = append(names, r.Name)
	}
	return fresh, names
}

// bob asks for a role, carol hears of it and approves, bob's certificates have it, and
// have it no more.
func TestAccessRequestFromEndToEnd(t *testing.T) {
	for name, emulate := range map[string]int{"18.x": 0, "14.x": 14} {
		t.Run(name, func(t *testing.T) {
			ctx, cluster, as := startOffice(t, emulate)
			bob, carol := as("bob", "requester", "access"), as("carol", "reviewer")
			can, err := bob.AccessCapabilities(ctx, "bob", true)
			if err != nil || can.AutoRequest || !slices.Contains(can.RequestableRoles, "editor") || slices.Contains(can.RequestableRoles, "access") {
				t.Errorf("%+v, %v", can, err)
			}
			next, stop := iter.Pull2(carol.WatchAccessRequests(ctx, access.Filter{}))
			defer stop()
			if e, err, ok := next(); err != nil || !ok || e.Type != access.Started {
				t.Fatalf("%+v, %v", e, err)
			}

			made, err := bob.CreateAccessRequest(ctx, access.Draft{User: "bob", Roles: []string{"editor"}, Reason: "ticket 12", Reviewers: []string{"carol"}, MaxDuration: 2 * time.Hour, SessionTTL: time.Hour})
			if err != nil || made.Spec.State != access.Pending || made.ID() == "" {
				t.Fatalf("%+v, %v", made, err)
			}
			if e, err, _ := next(); err != nil || e.Type != access.Changed || e.ID != made.ID() || e.Request.Spec.Reason != "ticket 12" {
				t.Errorf("told of %+v, %v", e, err)
			}
			for _, f := range []access.Filter{{Reviewer: "carol"}, {Suggested: "carol"}, {User: "bob", State: access.Pending}, {Search: []string{"TICKET", "12"}}} {
				if list := collect(t, carol.AccessRequests(ctx, f)); len(list) != 1 || list[0].ID() != made.ID() {
					t.Errorf("%+v finds %+v", f, list)
				}
			}
			for _, f := range []access.Filter{{Reviewer: "bob"}, {State: access.Denied}, {Suggested: "dan"}} {
				if list := collect(t, bob.AccessRequests(ctx, f)); len(list) != 0 {
					t.Errorf("%+v finds %+v", f, list)
				}
			}

			waited := make(chan *access.Request, 1)
			go func() {
				r, err := bob.WaitAccessRequest(ctx, made.ID(), "bob")
				if err != nil {
					t.Error(err)
				}
				waited <- r
			}()
			reviewed, err := carol.ReviewAccessRequest(ctx, made.ID(), access.Review{Author: "carol", State: access.Approved, Reason: "fine"})
			if err != nil || reviewed.Spec.State != access.Approved || len(reviewed.Spec.Reviews) != 1 || reviewed.Spec.Reviews[0].Author != "carol" {
				t.Fatalf("%+v, %v", reviewed, err)
			}
			if r := <-waited; r == nil || r.Spec.ResolveReason != "fine" || r.Spec.MaxDuration.Sub(r.Spec.Created).Round(time.Minute) != 2*time.Hour {
				t.Errorf("waited for %+v", r)
			}
			if e, err, _ := next(); err != nil || e.Request == nil || e.Request.Spec.State != access.Approved {
				t.Errorf("told of %+v, %v", e, err)
			}
			more, roles := certified(t, ctx, cluster, bob, api.CertsRequest{User: "bob", Expires: time.Now().Add(10 * time.Hour), AccessRequests: []string{made.ID()}})
			if !slices.Contains(roles, "editor") {
				t.Errorf("with the request: %q", roles)
			}
			if _, roles = certified(t, ctx, cluster, more, api.CertsRequest{User: "bob", DropRequests: []string{"*"}}); slices.Contains(roles, "editor") || len(roles) == 0 {
				t.Errorf("without the request: %q", roles)
			}
			if err := bob.DeleteAccessRequest(ctx, made.ID()); err != nil {
				t.Error(err)
			}
			if e, err, _ := next(); err != nil || e.Type != access.Deleted || e.ID != made.ID() {
				t.Errorf("told of %+v, %v", e, err)
			}
			if _, err := bob.AccessRequest(ctx, made.ID(), ""); !errors.Is(err, api.ErrNotFound) {
				t.Error(err)
			}
		})
	}
}

// What a cluster does not do is told apart by the errors.
func TestAccessRequestRefusals(t *testing.T) {
	ctx, _, as := startOffice(t, 0)
	bob, carol, eve := as("bob", "requester", "access"), as("carol", "reviewer"), as("eve", "access")
	ask := func(change func(*access.Draft)) (*access.Request, error) {
		d := access.Draft{User: "bob", Roles: []string{"editor"}}
		change(&d)
		return bob.CreateAccessRequest(ctx, d)
	}
	made, err := ask(func(*access.Draft) {})
	if err != nil {
		t.Fatal(err)
	}
	dry, err := ask(func(d *access.Draft) { d.DryRun, d.Roles = true, []string{"*"} })
	if err != nil || !dry.Spec.DryRun || !slices.Equal(dry.Spec.Roles, []string{"auditor", "editor"}) {
		t.Errorf("dry run: %+v, %v", dry, err)
	}
	if list := collect(t, bob.AccessRequests(ctx, access.Filter{})); len(list) != 1 {
		t.Errorf("a dry run is kept: %+v", list)
	}
	fails := func(_ any, err error) error { return err }
	review := func(c *api.Client, author, id string, state access.State) error {
		return fails(c.ReviewAccessRequest(ctx, id, access.Review{Author: author, State: state}))
	}
	for name, tc := range map[string]struct{ err, is error }{
		"made twice":             {fails(ask(func(d *access.Draft) { d.ID = made.ID() })), api.ErrExists},
		"not an ID":              {fails(ask(func(d *access.Draft) { d.ID = "5" })), api.ErrInvalid},
		"for somebody else":      {fails(ask(func(d *access.Draft) { d.User = "carol" })), api.ErrAccessDenied},
		"a role out of reach":    {fails(ask(func(d *access.Draft) { d.Roles = []string{"reviewer"} })), api.ErrAccessDenied},
		"nothing":                {fails(ask(func(d *access.Draft) { d.Roles = nil })), api.ErrInvalid},
		"begins after its end":   {fails(ask(func(d *access.Draft) { d.AssumeStartTime = time.Now().Add(100 * time.Hour) })), api.ErrInvalid},
		"in the past":            {fails(ask(func(d *access.Draft) { d.MaxDuration = -time.Hour })), api.ErrInvalid},
		"one's own reviewed":     {review(bob, "bob", made.ID(), access.Approved), api.ErrAccessDenied},
		"reviewed by a stranger": {review(eve, "eve", made.ID(), access.Approved), api.ErrAccessDenied},
		"reviewed as another":    {review(carol, "dan", made.ID(), access.Approved), api.ErrAccessDenied},
		"neither yes nor no":     {review(carol, "carol", made.ID(), access.Promoted), api.ErrInvalid},
		"nothing to review":      {review(carol, "carol", "6f9f9e2e-0000-4000-8000-000000000000", access.Denied), api.ErrNotFound},
		"another's":              {fails(eve.AccessRequest(ctx, made.ID(), "")), api.ErrNotFound},
		"another's taken back":   {eve.DeleteAccessRequest(ctx, made.ID()), api.ErrAccessDenied},
		"assumed, not approved":  {fails(first(bob.GenerateCertificates(ctx, api.CertsRequest{User: "bob", AccessRequests: []string{made.ID()}, SSHKey: anSSHKey(t)}))), api.ErrAccessDenied},
		"capabilities":           {fails(bob.AccessCapabilities(ctx, "carol", true)), api.ErrAccessDenied},
	} {
		if !errors.Is(tc.err, tc.is) {
			t.Errorf("%s: %v, want %v", name, tc.err, tc.is)
		}
	}
	for _, err := range eve.WatchAccessRequests(ctx, access.Filter{}) {
		if !errors.Is(err, api.ErrAccessDenied) {
			t.Errorf("eve watches: %v", err)
		}
	}
	if err := review(carol, "carol", made.ID(), access.Denied); err != nil {
		t.Fatal(err)
	}
	if err := review(carol, "carol", made.ID(), access.Approved); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("decided twice: %v", err)
	}
}

func first(cert *ssh.Certificate, _ *x509.Certificate, err error) (*ssh.Certificate, error) {
	return cert, err
}

func anSSHKey(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return ssh.MarshalAuthorizedKey(public)
}

// Access that begins later is not to be had before, and certificates with it end when the
// request says.
func TestAccessRequestTimes(t *testing.T) {
	ctx, _, as := startOffice(t, 0)
	bob, carol := as("bob", "requester", "access"), as("carol", "reviewer")
	made, err := bob.CreateAccessRequest(ctx, access.Draft{User: "bob", Roles: []string{"editor"}, MaxDuration: 3 * time.Hour, SessionTTL: 20 * time.Minute, Expiry: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s := &made.Spec
	for what, end := range map[time.Duration]time.Time{3 * time.Hour: s.MaxDuration, 20 * time.Minute: s.SessionTTL, time.Hour: s.Expiry} {
		if got := end.Sub(s.Created).Round(time.Minute); got != what {
			t.Errorf("%v, want %v", got, what)
		}
	}
	if _, err := carol.ReviewAccessRequest(ctx, made.ID(), access.Review{Author: "carol", State: access.Approved}); err != nil {
		t.Fatal(err)
	}
	cert, _, err := bob.GenerateCertificates(ctx, api.CertsRequest{User: "bob", AccessRequests: []string{made.ID()}, SSHKey: anSSHKey(t)})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(time.Unix(int64(cert.ValidBefore), 0)); left > 21*time.Minute {
		t.Errorf("the certificate lasts %v", left)
	}
	later, err := bob.CreateAccessRequest(ctx, access.Draft{User: "bob", Roles: []string{"auditor"}})
	if err != nil {
		t.Fatal(err)
	}
	approved, err := carol.ReviewAccessRequest(ctx, later.ID(), access.Review{Author: "carol", State: access.Approved, AssumeStartTime: time.Now().Add(time.Hour)})
	if err != nil || approved.Spec.AssumeStartTime.IsZero() {
		t.Fatalf("%+v, %v", approved, err)
	}
	if _, _, err := bob.GenerateCertificates(ctx, api.CertsRequest{User: "bob", AccessRequests: []string{later.ID()}, SSHKey: anSSHKey(t)}); !errors.Is(err, api.ErrAccessDenied) {
		t.Errorf("before it begins: %v", err)
	}
}
