package devcluster

import (
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// Who may not ask for access may not by the call of 14.x either.
func TestDeniedRequestsUnder14(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.Emulate = emulate14 })
	barred := spec("barred", "{allow: {request: {roles: [editor]}}, deny: {rules: [{resources: [access_request], verbs: [create]}]}}")
	if _, err := f.CreateRoles([]byte(barred), false); err != nil {
		t.Fatal(err)
	}
	if err := f.UpdateUser("alice", UserChange{Roles: []string{"barred"}}); err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	err = f.auth(f.login14(key)).Invoke(t.Context(), methodAuth+"CreateAccessRequest", &pb.AccessRequest{
		Metadata: &pb.Metadata{Name: uuid.NewString()}, Spec: &pb.AccessRequestSpec{User: "alice", Roles: []string{"editor"}},
	}, new(pb.Empty))
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("asked for access: %v", err)
	}
	if list, err := f.AccessRequests(); err != nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// A user whom a connector has made is gone when it says so, also for those who have longer
// certificates in the name.
func TestUserWhoIsOver(t *testing.T) {
	f := startRoles(t)
	l := f.as("sam", spec("plain", "{allow: {logins: [root]}}"), nil)
	end := f.clock.Now().Add(time.Minute)
	if err := f.changeUser("sam", func(u *user) error {
		u.Source, u.Expires = "saml/corp", end
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	current := func() error {
		return f.auth(l).Invoke(t.Context(), methodAuth+"GetCurrentUser", new(pb.Empty), new(pb.User))
	}
	if err := current(); err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(2 * time.Minute)
	if err := current(); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "sam is not found") {
		t.Errorf("calls: %v", err)
	}
	if _, err := f.SignUser(SignSpec{User: "sam"}); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("is signed for: %v", err)
	}
}
