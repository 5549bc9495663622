package devcluster

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

const (
	authName     = "proto.AuthService"
	trustName    = "teleport.trust.v1.TrustService"
	presenceName = "teleport.presence.v1.PresenceService"
	usersName    = "teleport.users.v1.UsersService"
)

const (
	mfaIsRequired  = 1
	mfaNotRequired = 2
	supportFree    = 1
	passwordIsSet  = 2
	deviceIsTOTP   = 2
)

// authServices is what the auth server answers; everything else is
// unimplemented.
func (c *Cluster) authServices() []*grpc.ServiceDesc {
	empty := func(context.Context, *pb.Empty) (*pb.Empty, error) { return &pb.Empty{}, nil }
	auth := []grpc.MethodDesc{
		unary(authName, "Ping", c.rpcPing),
		unary(authName, "GetCurrentUser", c.rpcCurrentUser),
		unary(authName, "GetRole", c.rpcGetRole),
		unary(authName, "CreateAuthenticateChallenge", c.rpcChallenge),
		unary(authName, "IsMFARequired", c.rpcIsMFARequired),
		unary(authName, "GetMFADevices", c.rpcMFADevices),
		unary(authName, "CreatePrivilegeToken", c.rpcPrivilegeToken),
		unary(authName, "CreateRegisterChallenge", c.rpcRegisterChallenge),
		unary(authName, "AddMFADeviceSync", c.rpcAddDevice),
		unary(authName, "DeleteMFADeviceSync", c.rpcDeleteDevice),
		unary(authName, "ListUnifiedResources", c.rpcListUnified),
		unary(authName, "ListResources", c.rpcListResources),
		unary(authName, "GetSSHTargets", c.rpcSSHTargets),
		unary(authName, "ResolveSSHTarget", c.rpcResolveSSHTarget),
		unary(authName, "GetDomainName", c.rpcDomainName),
		unary(authName, "GetClusterAlerts", empty), // none is ever raised
	}
	auth = append(auth, c.headlessMethods()...)
	service := func(name string, methods ...grpc.MethodDesc) *grpc.ServiceDesc {
		return &grpc.ServiceDesc{ServiceName: name, HandlerType: (*any)(nil), Methods: methods}
	}
	main := service(authName, slices.Concat(auth, c.requestMethods(), c.roleMethods())...)
	main.Streams = slices.Concat(c.requestStreams(), c.roleStreams(), c.headlessStreams(), c.sessionStreams(), c.singleUseStreams())
	return []*grpc.ServiceDesc{
		main,
		service(trustName, unary(trustName, "GetCertAuthorities", c.rpcCertAuthorities), unary(trustName, "GetCertAuthority", c.rpcCertAuthority)),
		service(presenceName, unary(presenceName, "ListRemoteClusters", c.rpcRemoteClusters)),
		service(usersName, unary(usersName, "GetUser", c.rpcGetUser)),
	}
}

// unsetTime is how 18.x writes a time that is not set: the year 1.
func unsetTime() *timestamppb.Timestamp { return timestamppb.New(time.Time{}) }

func (c *Cluster) rpcPing(ctx context.Context, _ *pb.Empty) (*pb.PingResponse, error) {
	return &pb.PingResponse{
		ClusterName:             c.settings.Name,
		ServerVersion:           c.version(),
		ServerFeatures:          features(),
		ProxyPublicAddr:         c.settings.PublicAddr,
		RemoteAddr:              callerAddr(ctx).String(),
		SignatureAlgorithmSuite: map[string]int32{suiteLegacy: 1, suiteBalanced: 2}[c.settings.Suite],
		LicenseExpiry:           unsetTime(),
	}, nil
}

// features are those of an 18.3 community build, so that clients see the shape
// they will meet; nothing here serves Kubernetes, applications or databases.
func features() *pb.Features {
	f := &pb.Features{
		Kubernetes: true, App: true, Db: true, Desktop: true,
		Unnamed_19: &pb.Empty{}, Unnamed_21: &pb.Empty{}, Unnamed_25: &pb.Empty{}, Unnamed_26: &pb.Empty{}, Unnamed_28: &pb.Empty{},
		SupportType: supportFree, JoinActiveSessions: true,
		Entitlements: make(map[string]*pb.Entitlement),
	}
	for _, name := range []string{"App", "DB", "Desktop", "JoinActiveSessions", "K8s"} {
		f.Entitlements[name] = &pb.Entitlement{Enabled: true}
	}
	for _, name := range []string{"AccessLists", "AccessRequests", "DeviceTrust", "HSM", "OIDC", "SAML"} {
		f.Entitlements[name] = &pb.Entitlement{}
	}
	return f
}

func (c *Cluster) rpcDomainName(context.Context, *pb.Empty) (*pb.GetDomainNameResponse, error) {
	return &pb.GetDomainNameResponse{DomainName: c.settings.Name}, nil
}

// callerUser is the calling user's record; one that was removed, or is over, may no
// longer call.
func (c *Cluster) callerUser(ctx context.Context) (*user, error) {
	if id := caller(ctx); id.cluster != c.settings.Name {
		return c.remoteUser(id)
	}
	name := caller(ctx).user
	u := new(user)
	found, err := c.state.get(bucketUsers, name, u)
	if err != nil {
		return nil, err
	}
	if !found || u.expired(c.now()) {
		return nil, status.Errorf(codes.PermissionDenied, "user %s is not found", name)
	}
	return u, nil
}

// callerRoles are the roles of the certificate with the traits of the user.
func (c *Cluster) callerRoles(ctx context.Context) (roleSet, error) {
	u, err := c.callerUser(ctx)
	if err != nil {
		return roleSet{}, err
	}
	id := caller(ctx)
	return c.roleSet(c.localRoles(id.cluster, id.roles), u.traits())
}

func (c *Cluster) rpcCurrentUser(ctx context.Context, _ *pb.Empty) (*pb.User, error) {
	u, err := c.callerUser(ctx)
	if err != nil {
		return nil, err
	}
	return c.userMessage(u), nil
}

// rpcGetUser answers for the caller, and for others to those who may read
// users. Secrets are for no caller.
func (c *Cluster) rpcGetUser(ctx context.Context, req *pb.GetUserRequest) (*pb.GetUserResponse, error) {
	if req.WithSecrets {
		return nil, denied("read", "user")
	}
	u, err := c.callerUser(ctx)
	if err != nil {
		return nil, err
	}
	if !req.CurrentUser && req.Name != u.Name {
		roles, err := c.callerRoles(ctx)
		if err != nil {
			return nil, err
		}
		if !roles.may("read", "user") {
			return nil, denied("read", "user")
		}
		u = new(user)
		if found, err := c.state.get(bucketUsers, req.Name, u); err != nil || !found {
			return nil, status.Errorf(codes.NotFound, "user %q is not found", req.Name)
		}
	}
	return &pb.GetUserResponse{User: c.userMessage(u)}, nil
}

func denied(verb, kind string) error {
	return status.Errorf(codes.PermissionDenied, "access denied to perform action %q on %q", verb, kind)
}

func (c *Cluster) userMessage(u *user) *pb.User {
	traits := &pb.LabelValues{Values: make(map[string]*pb.StringValues)}
	for name, values := range u.traits() {
		traits.Values[name] = &pb.StringValues{Values: values}
	}
	lock := &pb.LoginStatus{LockedTime: unsetTime(), LockExpires: unsetTime()}
	if u.LockedUntil.After(c.now()) {
		lock.IsLocked, lock.LockedMessage = true, "locked after failed logins"
		lock.LockedTime = timestamppb.New(u.LockedUntil.Add(-lockDuration))
		lock.LockExpires = timestamppb.New(u.LockedUntil)
	}
	m := &pb.User{
		Kind: "user", Version: "v2",
		Metadata: &pb.Metadata{Name: u.Name, Namespace: "default", Revision: u.Revision},
		Spec: &pb.UserSpec{
			Roles: u.Roles, Traits: traits, Status: lock, Expires: unsetTime(),
			CreatedBy: &pb.CreatedBy{
				Time: timestamppb.New(u.Created),
				User: &pb.UserRef{Name: c.settings.HostID + "." + c.settings.Name},
			},
		},
		Status: &pb.UserStatus{PasswordState: passwordIsSet},
	}
	if len(u.devices(kindTOTP)) > 0 {
		m.Status.MfaWeakestDevice = deviceIsTOTP
	}
	return m
}

// rpcGetRole answers to those who may read roles; to others it does not say which there are.
func (c *Cluster) rpcGetRole(ctx context.Context, req *pb.GetRoleRequest) (*pb.Role, error) {
	roles, err := c.callerRoles(ctx)
	if err != nil {
		return nil, err
	}
	if !roles.may("read", "role") {
		return nil, denied("read", "role")
	}
	r, found, err := c.role(req.Name)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, status.Errorf(codes.NotFound, "role %s is not found", req.Name)
	}
	return r.message(), nil
}

// revision is a stable stand-in for the revision of a resource that is made
// from the configuration.
func revision(kind, name string) string {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(kind+"/"+name)).String()
}
