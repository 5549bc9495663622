package devcluster

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// fieldTree collects the paths of field numbers in raw protobuf bytes. The
// descriptor says only which fields are messages; everything else, fields that
// it does not know included, comes from the bytes.
func fieldTree(t *testing.T, raw []byte, md protoreflect.MessageDescriptor, prefix string, out map[string]bool) {
	t.Helper()
	for len(raw) > 0 {
		num, typ, n := protowire.ConsumeTag(raw)
		if n < 0 {
			t.Fatalf("%s: %v", prefix, protowire.ParseError(n))
		}
		raw = raw[n:]
		n = protowire.ConsumeFieldValue(num, typ, raw)
		if n < 0 {
			t.Fatalf("%s.%d: %v", prefix, num, protowire.ParseError(n))
		}
		value := raw[:n]
		raw = raw[n:]
		path := fmt.Sprintf("%s.%d", prefix, num)
		out[path] = true
		fd := md.Fields().ByNumber(num)
		if fd == nil || fd.Message() == nil || typ != protowire.BytesType {
			continue
		}
		inner, _ := protowire.ConsumeBytes(value)
		fieldTree(t, inner, fd.Message(), path, out)
	}
}

func treeOf(t *testing.T, raw []byte, m proto.Message) []string {
	t.Helper()
	out := make(map[string]bool)
	fieldTree(t, raw, m.ProtoReflect().Descriptor(), "", out)
	return slices.Sorted(maps.Keys(out))
}

func readFixture(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "18.3", "grpc", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// call is one captured call: its request bytes are sent as they are.
type call struct {
	name, method  string
	request, resp proto.Message
	missing       []string // paths that are not answered, see the test
}

func TestCapturedAuthAnswers(t *testing.T) {
	f := startCluster(t, nil)
	f.clock.Advance(123456789) // times have nanoseconds
	custom := presetRoles()[0]
	custom.Name, custom.Logins = "fixture", []string{"root", "alice", internalLogins}
	custom.Rules = []rule{{Resources: []string{"role", "user", "node"}, Verbs: []string{"read", "list"}}}
	if err := f.state.update(func(tx *stateTx) error { return tx.put(bucketRoles, custom.Name, custom) }); err != nil {
		t.Fatal(err)
	}
	if err := f.RemoveUser("alice"); err != nil {
		t.Fatal(err)
	}
	en, err := f.AddUser(UserSpec{Name: "alice", Password: alicePassword, Roles: []string{"fixture"}, Logins: []string{"root"}})
	if err != nil {
		t.Fatal(err)
	}
	f.secret = en.TOTPSecret
	cc := f.auth(f.login(nil))
	auth := "/" + authName + "/"
	calls := []call{
		{"Ping", auth + "Ping", new(pb.Empty), new(pb.PingResponse), nil},
		{"GetDomainName", auth + "GetDomainName", new(pb.Empty), new(pb.GetDomainNameResponse), nil},
		{"GetUser", "/" + usersName + "/GetUser", new(pb.GetUserRequest), new(pb.GetUserResponse), nil},
		{"GetRole", auth + "GetRole", new(pb.GetRoleRequest), new(pb.Role), nil},
		{"GetMFADevices", auth + "GetMFADevices", new(pb.Empty), new(pb.GetMFADevicesResponse), nil},
		{"GetCertAuthorities", "/" + trustName + "/GetCertAuthorities", new(pb.GetCertAuthoritiesRequest), new(pb.GetCertAuthoritiesResponse), nil},
		{"IsMFARequired", auth + "IsMFARequired", new(pb.IsMFARequiredRequest), new(pb.IsMFARequiredResponse), nil},
		{"ListUnifiedResources", auth + "ListUnifiedResources", new(pb.ListUnifiedResourcesRequest), new(pb.ListUnifiedResourcesResponse), nil},
		{"ListResources", auth + "ListResources", new(pb.ListResourcesRequest), new(pb.ListResourcesResponse), nil},
		{"ResolveSSHTarget", auth + "ResolveSSHTarget", new(pb.ResolveSSHTargetRequest), new(pb.ResolveSSHTargetResponse), nil},
		{"GetClusterAlerts", auth + "GetClusterAlerts", new(pb.Empty), new(pb.Empty), nil},
		{"ListAccessRequests", auth + "ListAccessRequests", new(pb.Empty), new(pb.Empty), nil},
		{"ListRemoteClusters", "/" + presenceName + "/ListRemoteClusters", new(pb.Empty), new(pb.ListRemoteClustersResponse), nil},
	}
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			raw := readFixture(t, c.name+".request.binpb")
			if c.name == "GetRole" {
				raw, _ = proto.Marshal(&pb.GetRoleRequest{Name: "fixture"})
			}
			got := invokeRaw(t, cc, c.method, raw)
			want := treeOf(t, readFixture(t, c.name+".response.binpb"), c.resp)
			if tree := treeOf(t, got, c.resp); !slices.Equal(tree, want) {
				t.Errorf("fields\n%v\nwant\n%v", tree, want)
			}
			if err := proto.Unmarshal(got, c.resp); err != nil || len(c.resp.ProtoReflect().GetUnknown()) > 0 {
				t.Errorf("answer: %v, %v", err, c.resp)
			}
		})
	}
	for name, c := range map[string]call{
		"CreateAuthenticateChallenge": {method: auth + "CreateAuthenticateChallenge", request: &pb.CreateAuthenticateChallengeRequest{}},
		"GetRole.second":              {method: auth + "GetRole", request: &pb.GetRoleRequest{}},
	} {
		if err := proto.Unmarshal(readFixture(t, name+".request.binpb"), c.request); err != nil {
			t.Fatal(err)
		}
		err := cc.Invoke(t.Context(), c.method, c.request, new(pb.Empty))
		if want := strings.TrimSpace(string(readFixture(t, name+".error.txt"))); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

// rawCodec sends and receives bytes.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(b)
	return nil
}
func (rawCodec) Name() string { return "proto" }

func invokeRaw(t *testing.T, cc *grpc.ClientConn, method string, req []byte) []byte {
	t.Helper()
	var resp []byte
	var header metadata.MD
	if err := cc.Invoke(t.Context(), method, &req, &resp, grpc.ForceCodec(rawCodec{}), grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	if v := header.Get("version"); !slices.Equal(v, []string{serverVersion}) {
		t.Errorf("version header %q", v)
	}
	return resp
}

func TestVersionMetadata(t *testing.T) {
	f := startCluster(t, nil)
	cc := f.auth(f.login(nil))
	for version, want := range map[string]codes.Code{
		"": codes.OK, "17.0.0-aa": codes.OK, "18.3.0": codes.OK, "19.0.0": codes.OK, "dev": codes.OK,
		"16.5.1": codes.PermissionDenied, "0.0.1": codes.PermissionDenied,
	} {
		ctx := t.Context()
		if version != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "version", version, "unknown", "x")
		}
		err := cc.Invoke(ctx, "/proto.AuthService/Ping", new(pb.Empty), new(pb.PingResponse))
		if status.Code(err) != want {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

func TestUnimplemented(t *testing.T) {
	f := startCluster(t, nil)
	cc := f.auth(f.login(nil))
	for _, method := range []string{
		"/proto.AuthService/GenerateUserSingleUseCerts", "/proto.AuthService/GetRoles", "/proto.AuthService/GetClusterCACert",
		"/teleport.nope.v1.NopeService/Nope", "/" + transportName + "/GetClusterDetails",
	} {
		if err := cc.Invoke(t.Context(), method, new(pb.Empty), new(pb.Empty)); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v", method, err)
		}
	}
	tr := f.transport(f.nextLogin())
	if err := tr.Invoke(t.Context(), "/proto.AuthService/Ping", new(pb.Empty), new(pb.Empty)); status.Code(err) != codes.Unimplemented {
		t.Errorf("auth call on the transport connection: %v", err)
	}
	if err := tr.Invoke(t.Context(), "/"+transportName+"/GetClusterDetails", new(pb.Empty), new(pb.GetClusterDetailsResponse)); err != nil {
		t.Error(err)
	}
}

// nextLogin logs in with a fresh code.
func (f *fixture) nextLogin() *login {
	f.clock.Advance(codePeriod)
	return f.login(nil)
}

func TestChallenges(t *testing.T) {
	f := startCluster(t, nil)
	cc := f.auth(f.login(nil))
	ask := func(req *pb.CreateAuthenticateChallengeRequest) (*pb.MFAAuthenticateChallenge, error) {
		resp := new(pb.MFAAuthenticateChallenge)
		return resp, cc.Invoke(t.Context(), "/proto.AuthService/CreateAuthenticateChallenge", req, resp)
	}
	self := &pb.CreateAuthenticateChallengeRequest_ContextUser{ContextUser: &pb.Empty{}}
	resp, err := ask(&pb.CreateAuthenticateChallengeRequest{
		Request:             self,
		MfaRequiredCheck:    &pb.IsMFARequiredRequest{Node: &pb.NodeLogin{Node: "node-1", Login: "root"}},
		ChallengeExtensions: &pb.ChallengeExtensions{Scope: 6, AllowReuse: 2},
	})
	if raw, _ := proto.Marshal(resp); err != nil || !bytes.Equal(raw, []byte{0x20, 0x02}) {
		t.Errorf("session: %x, %v", raw, err)
	}
	resp, err = ask(&pb.CreateAuthenticateChallengeRequest{Request: self, ChallengeExtensions: &pb.ChallengeExtensions{Scope: 4}})
	if err != nil || resp.Totp == nil {
		t.Errorf("manage devices: %v, %v", resp, err)
	}
	_, err = ask(&pb.CreateAuthenticateChallengeRequest{
		Request:             &pb.CreateAuthenticateChallengeRequest_Passwordless{Passwordless: &pb.Empty{}},
		ChallengeExtensions: &pb.ChallengeExtensions{Scope: 2},
	})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("passwordless: %v", err)
	}
}

func TestReadingOthers(t *testing.T) {
	f := startCluster(t, nil)
	if _, err := f.AddUser(UserSpec{Name: "ed", Password: alicePassword, Roles: []string{"editor"}}); err != nil {
		t.Fatal(err)
	}
	alice := f.auth(f.login(nil))
	getUser := func(cc *grpc.ClientConn, req *pb.GetUserRequest) error {
		return cc.Invoke(t.Context(), "/"+usersName+"/GetUser", req, new(pb.GetUserResponse))
	}
	if err := getUser(alice, &pb.GetUserRequest{Name: "alice"}); err != nil {
		t.Error(err)
	}
	for _, req := range []*pb.GetUserRequest{{Name: "ed"}, {Name: "nobody"}, {CurrentUser: true, WithSecrets: true}} {
		if err := getUser(alice, req); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%v: %v", req, err)
		}
	}
	role := func(name string) error {
		return alice.Invoke(t.Context(), "/proto.AuthService/GetRole", &pb.GetRoleRequest{Name: name}, new(pb.Role))
	}
	for _, name := range []string{"access", "editor", "nobody"} {
		if err := role(name); status.Code(err) != codes.PermissionDenied {
			t.Errorf("role %s: %v", name, err)
		}
	}
	cas := func(req *pb.GetCertAuthoritiesRequest) (*pb.GetCertAuthoritiesResponse, error) {
		resp := new(pb.GetCertAuthoritiesResponse)
		return resp, alice.Invoke(t.Context(), "/"+trustName+"/GetCertAuthorities", req, resp)
	}
	if _, err := cas(&pb.GetCertAuthoritiesRequest{Type: "host", IncludeKey: true}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("private keys: %v", err)
	}
	if _, err := cas(&pb.GetCertAuthoritiesRequest{Type: "nope"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("unknown type: %v", err)
	}
	user, err := cas(&pb.GetCertAuthoritiesRequest{Type: "user"})
	if err != nil || !bytes.Equal(user.CertAuthorities[0].Spec.ActiveKeys.Tls[0].Cert, f.auths.user.certPEM()) {
		t.Errorf("user authority: %v, %v", user, err)
	}
	// A removed user may call no more.
	if err := f.RemoveUser("alice"); err != nil {
		t.Fatal(err)
	}
	if err := getUser(alice, &pb.GetUserRequest{CurrentUser: true}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("removed user: %v", err)
	}
}

func TestCallsEndWithTheCertificate(t *testing.T) {
	f := startCluster(t, nil)
	cc := f.auth(f.login(func(m map[string]any) { m["ttl"] = time.Hour }))
	ping := func() error {
		return cc.Invoke(t.Context(), "/proto.AuthService/Ping", new(pb.Empty), new(pb.PingResponse))
	}
	if err := ping(); err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(time.Hour + time.Second)
	err := ping()
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "access denied: client credentials have expired, please relogin.") {
		t.Errorf("expired on an open connection: %v", err)
	}
}
