package devcluster

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

func withLeaf(cfg *Config) { cfg.Leaf = "leaf.example" }

// certsRequest asks for what l has already.
func certsRequest(t *testing.T, l *login, change func(*pb.UserCertsRequest)) *pb.UserCertsRequest {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(l.tlsCert.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	req := &pb.UserCertsRequest{
		Username: "alice", Expires: timestamppb.New(l.tlsCert.NotAfter), RouteToCluster: "leaf.example",
		SshPublicKey: ssh.MarshalAuthorizedKey(l.sshCert.Key), TlsPublicKey: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
	}
	if change != nil {
		change(req)
	}
	return req
}

// The rules of certificates that are issued again (auth API, 7.1).
func TestUserCerts(t *testing.T) {
	f := startCluster(t, withLeaf)
	l := f.login(nil)
	cc := f.auth(l)
	call := func(change func(*pb.UserCertsRequest)) (*pb.Certs, error) {
		certs := new(pb.Certs)
		return certs, cc.Invoke(t.Context(), "/proto.AuthService/GenerateUserCerts", certsRequest(t, l, change), certs)
	}
	for name, tc := range map[string]struct {
		change func(*pb.UserCertsRequest)
		code   codes.Code
		says   string
	}{
		"another user":     {func(r *pb.UserCertsRequest) { r.Username = "bob" }, codes.PermissionDenied, "bob"},
		"unknown cluster":  {func(r *pb.UserCertsRequest) { r.RouteToCluster = "x" }, codes.NotFound, `remote cluster "x" not found`},
		"no key":           {func(r *pb.UserCertsRequest) { r.SshPublicKey, r.TlsPublicKey = nil, nil }, codes.InvalidArgument, "public key"},
		"single use, all":  {func(r *pb.UserCertsRequest) { r.Purpose = 2 }, codes.InvalidArgument, "single-use"},
		"SSH without node": {func(r *pb.UserCertsRequest) { r.Usage = 1 }, codes.InvalidArgument, "NodeName"},
		"unknown request":  {func(r *pb.UserCertsRequest) { r.AccessRequests = []string{"nope"} }, codes.PermissionDenied, "nope"},
		"in the past":      {func(r *pb.UserCertsRequest) { r.Expires = timestamppb.New(f.clock.Now().Add(-time.Hour)) }, codes.InvalidArgument, "expired"},
	} {
		if _, err := call(tc.change); status.Code(err) != tc.code || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	certs, err := call(func(r *pb.UserCertsRequest) { r.Expires = timestamppb.New(f.clock.Now().Add(1000 * time.Hour)) })
	if err != nil {
		t.Fatal(err)
	}
	cert := parseCert(t, certs.Tls)
	if cert.NotAfter.After(l.tlsCert.NotAfter) || !slices.Equal(cert.Subject.StreetAddress, []string{"leaf.example"}) || cert.Issuer.CommonName != f.Name() {
		t.Errorf("until %v for %v from %s", cert.NotAfter, cert.Subject.StreetAddress, cert.Issuer)
	}
	if certs, err = call(func(r *pb.UserCertsRequest) { r.TlsPublicKey = nil }); err != nil || len(certs.Tls) > 0 || len(certs.Ssh) == 0 {
		t.Errorf("for the SSH key alone: %v", err)
	}
	if certs, err = call(func(r *pb.UserCertsRequest) { r.PublicKey, r.SshPublicKey, r.TlsPublicKey = r.SshPublicKey, nil, nil }); err != nil || len(certs.Tls) == 0 || len(certs.Ssh) == 0 {
		t.Errorf("for the one key of a client of 14: %v", err)
	}
}

// The leaf takes the root's users by the mapping of roles, and no others.
func TestLeafTakesUsersOfTheRoot(t *testing.T) {
	f := startCluster(t, withLeaf)
	l := f.login(nil)
	list := new(pb.RemoteClustersPage)
	if err := f.auth(l).Invoke(t.Context(), "/"+presenceName+"/ListRemoteClusters", new(pb.Empty), list); err != nil || len(list.RemoteClusters) != 1 ||
		list.RemoteClusters[0].Metadata.Name != "leaf.example" || list.RemoteClusters[0].Status.Connection != "online" {
		t.Errorf("%v, %v", list, err)
	}
	ca := new(pb.CertAuthority)
	if err := f.auth(l).Invoke(t.Context(), "/"+trustName+"/GetCertAuthority", &pb.GetCertAuthorityRequest{Type: "host", Domain: "leaf.example"}, ca); err != nil {
		t.Fatal(err)
	}
	l.hostCAs.AppendCertsFromPEM(ca.Spec.ActiveKeys.Tls[0].Cert)
	cc := f.dial(l, alpnAuth+encodeCluster("leaf.example"), alpnH2)
	var me pb.User
	if err := cc.Invoke(t.Context(), "/proto.AuthService/GetCurrentUser", new(pb.Empty), &me); err != nil || me.Metadata.Name != "remote-alice-"+f.Name() {
		t.Errorf("%v, %v", me.Metadata, err)
	}
	err := cc.Invoke(t.Context(), "/proto.AuthService/GenerateUserCerts", certsRequest(t, l, nil), new(pb.Certs))
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("the leaf issues certificates: %v", err)
	}
	// Roles that are not in the mapping count for nothing.
	stranger := identity{user: "eve", roles: []string{"editor"}, cluster: f.Name(), cert: l.tlsCert}
	if _, err := f.leaf.remoteUser(stranger); status.Code(err) != codes.PermissionDenied {
		t.Errorf("eve: %v", err)
	}
}

// A request is seen by who made it and by reviewers, is decided once, not by who made
// it, and everybody who watches is told.
func TestAccessRequests(t *testing.T) {
	f := startCluster(t, nil)
	var asker roleSet
	var err error
	if asker, err = f.roleSet([]string{roleRequester}, nil); err != nil || !slices.Equal(asker.requestable(), requestableRoles()) {
		t.Fatalf("%v, %v", asker.requestable(), err)
	}
	both, err := f.roleSet([]string{roleRequester, "access"}, nil)
	if err != nil || slices.Contains(both.requestable(), "access") {
		t.Errorf("%v, %v", both.requestable(), err)
	}
	events, stop := f.watchers.add()
	defer stop()
	req := &AccessRequest{ID: "r1", User: "alice", Roles: []string{"editor"}, State: "pending", Created: f.clock.Now(), Expires: f.clock.Now().Add(time.Hour)}
	if err := f.putRequest(req); err != nil {
		t.Fatal(err)
	}
	if err := f.putRequest(req); err == nil {
		t.Error("the same request was made twice")
	}
	l := f.login(nil)
	cc := f.auth(l)
	review := &pb.AccessReviewSubmission{RequestId: "r1", Review: &pb.AccessReview{ProposedState: stateApproved}}
	if err := cc.Invoke(t.Context(), "/proto.AuthService/SubmitAccessReview", review, new(pb.AccessRequest)); status.Code(err) != codes.PermissionDenied {
		t.Errorf("alice approves what she asks for: %v", err)
	}
	if _, err := f.ResolveRequest("r1", true, "fine"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ResolveRequest("r1", false, ""); err == nil {
		t.Error("decided twice")
	}
	if err := cc.Invoke(t.Context(), "/proto.AuthService/DeleteAccessRequest", &pb.RequestID{Id: "r1"}, new(pb.Empty)); err != nil {
		t.Error(err)
	}
	for _, want := range []requestEvent{{request: AccessRequest{State: "pending"}}, {request: AccessRequest{State: "approved"}}, {request: AccessRequest{State: "approved"}, deleted: true}} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		select {
		case e := <-events:
			if e.request.State != want.request.State || e.deleted != want.deleted {
				t.Errorf("told of %+v, want %+v", e, want)
			}
		case <-ctx.Done():
			t.Fatal("nothing was told")
		}
	}
	// It ends by itself, too.
	req.ID = "r2"
	if err := f.putRequest(req); err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(2 * time.Hour)
	if list, err := f.AccessRequests(); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}
