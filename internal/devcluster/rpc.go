package devcluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	// oldestMajor is the oldest client that is served: one major behind.
	oldestMajor = 17
	// maxStreams per connection, and how often clients may send pings.
	maxStreams       = 1000
	authPingInterval = time.Minute
	sshPingInterval  = 5 * time.Minute
	// grpcHandshake is how long a client may take to begin with HTTP/2.
	grpcHandshake = 15 * time.Second
)

// identity is who calls, as the client's certificate says.
type identity struct {
	user    string
	roles   []string
	expires time.Time
	cluster string // that has certified it
	cert    *x509.Certificate
}

// authInfo carries the identity of a connection to the handlers.
type authInfo struct {
	credentials.CommonAuthInfo
	identity identity
}

func (authInfo) AuthType() string { return "tls" }

// handshaken are gRPC credentials for connections whose TLS handshake the
// router has done.
type handshaken struct{}

func (handshaken) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	tc, ok := conn.(*tls.Conn)
	if !ok || len(tc.ConnectionState().PeerCertificates) == 0 {
		return nil, nil, errors.New("connection has no client certificate")
	}
	cert := tc.ConnectionState().PeerCertificates[0]
	id := identity{user: cert.Subject.CommonName, roles: cert.Subject.Organization, expires: cert.NotAfter, cluster: cert.Issuer.CommonName, cert: cert}
	if id.user == "" || len(id.roles) == 0 {
		return nil, nil, errors.New("client certificate names no user with roles")
	}
	info := authInfo{identity: id}
	info.SecurityLevel = credentials.PrivacyAndIntegrity
	return conn, info, nil
}

func (handshaken) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("server credentials only")
}

func (handshaken) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (h handshaken) Clone() credentials.TransportCredentials { return h }

func (handshaken) OverrideServerName(string) error { return nil }

// newGRPCServers makes the auth server and the proxy's transport server. They
// are two, because a client that calls one on the connection of the other
// would fail against a real cluster.
func (c *Cluster) newGRPCServers() error {
	options := func(ping time.Duration, withoutStream bool) []grpc.ServerOption {
		return []grpc.ServerOption{
			grpc.Creds(handshaken{}),
			grpc.UnaryInterceptor(c.interceptUnary),
			grpc.StreamInterceptor(c.interceptStream),
			grpc.MaxConcurrentStreams(maxStreams),
			grpc.ConnectionTimeout(grpcHandshake),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: ping, PermitWithoutStream: withoutStream}),
			grpc.WaitForHandlers(true),
		}
	}
	// Pings that come a little early are the jitter of the network.
	c.grpcAuth = grpc.NewServer(options(authPingInterval-5*time.Second, true)...)
	c.grpcSSH = grpc.NewServer(options(sshPingInterval-5*time.Second, false)...)
	for _, desc := range c.servicesOf(c.authServices()) {
		c.grpcAuth.RegisterService(desc, c)
	}
	c.grpcSSH.RegisterService(c.transportService(), c)
	return nil
}

func (c *Cluster) interceptUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	if err := grpc.SetHeader(ctx, metadata.Pairs("version", c.version())); err != nil {
		return nil, err
	}
	var resp any
	err := c.admit(ctx)
	if err == nil {
		err = c.forbidden(ctx, info.FullMethod)
	}
	if err == nil {
		resp, err = h(ctx, req)
	}
	c.noteCall(ctx, info.FullMethod, req, resp, err)
	if err != nil {
		c.log.Info("call refused", "method", info.FullMethod, "user", caller(ctx).user, "reason", err)
	}
	return resp, err
}

func (c *Cluster) interceptStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
	if err := stream.SetHeader(metadata.Pairs("version", c.version())); err != nil {
		return err
	}
	err := c.admit(stream.Context())
	if err == nil {
		err = c.forbidden(stream.Context(), info.FullMethod)
	}
	if err == nil {
		err = h(srv, stream)
	}
	c.noteCall(stream.Context(), info.FullMethod, nil, nil, err)
	if err != nil && status.Code(err) != codes.Canceled { // clients end streams by leaving
		c.log.Info("stream ended", "method", info.FullMethod, "user", caller(stream.Context()).user, "reason", err)
	}
	return err
}

// admit refuses expired callers and clients that are too old.
func (c *Cluster) admit(ctx context.Context) error {
	if c.now().After(caller(ctx).expires) {
		return status.Error(codes.PermissionDenied, "access denied: client credentials have expired, please relogin.")
	}
	if text := c.refusal.Load(); text != nil && *text != "" {
		return status.Error(codes.PermissionDenied, *text)
	}
	md, _ := metadata.FromIncomingContext(ctx)
	for _, v := range md.Get("version") {
		major, _, _ := strings.Cut(strings.TrimPrefix(v, "v"), ".")
		if n, err := strconv.Atoi(major); err == nil && n < oldestMajor {
			return status.Error(codes.PermissionDenied, "client version is unsupported")
		}
	}
	return nil
}

// caller is the identity of the connection a call came on.
func caller(ctx context.Context) identity {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return identity{}
	}
	info, _ := p.AuthInfo.(authInfo)
	return info.identity
}

// callerAddr is where a call came from.
func callerAddr(ctx context.Context) net.Addr {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return &net.TCPAddr{}
	}
	return p.Addr
}

// message is a pointer to a generated message.
type message[T any] interface {
	*T
	proto.Message
}

// unary describes a call of one request and one answer. The names of methods
// are written out, because those of generated services would register names
// that are not ours.
func unary[Req any, PReq message[Req], Resp proto.Message](
	service, name string, f func(context.Context, PReq) (Resp, error),
) grpc.MethodDesc {
	call := func(ctx context.Context, req any) (any, error) {
		typed, ok := req.(PReq)
		if !ok {
			return nil, fmt.Errorf("%s: request of type %T", name, req)
		}
		return f(ctx, typed)
	}
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(srv any, ctx context.Context, decode func(any) error, icpt grpc.UnaryServerInterceptor) (any, error) {
			req := PReq(new(Req))
			if err := decode(req); err != nil {
				return nil, err
			}
			if icpt == nil {
				return call(ctx, req)
			}
			return icpt(ctx, req, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/" + service + "/" + name}, call)
		},
	}
}

// invalid is the answer to a call that makes no sense.
func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// refused is the answer to a call that its caller may not make.
func refused(format string, args ...any) error {
	return status.Errorf(codes.PermissionDenied, format, args...)
}
