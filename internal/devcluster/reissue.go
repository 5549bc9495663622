package devcluster

import (
	"context"
	"crypto"
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// Uses of a certificate that is issued again.
const (
	usageAll         = 0
	usageSSH         = 1
	purposeSingleUse = 2
)

// rpcUserCerts issues certificates for keys that a caller, who has certificates,
// names: with another route, with access requests or without. They never last
// longer than those the caller has.
func (c *Cluster) rpcUserCerts(ctx context.Context, req *pb.UserCertsRequest) (*pb.Certs, error) {
	req = c.certs14(req)
	u, err := c.certsCaller(ctx, req)
	if err != nil {
		return nil, err
	}
	if req.Purpose == purposeSingleUse {
		return c.singleUse(ctx, u, req)
	}
	sshKey, tlsKey, err := c.certsKeys(req)
	if err != nil {
		return nil, err
	}
	route, err := c.route(req.RouteToCluster)
	if err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	order := certRequest{user: u, format: req.Format, loginIP: callerIP(ctx), route: route}
	expires := caller(ctx).expires
	if t := req.Expires.AsTime(); req.Expires != nil && t.Before(expires) {
		expires = t
	}
	if expires, err = c.assume(&order, req, caller(ctx), expires); err != nil {
		return nil, err
	}
	if order.roles, err = c.roleSet(order.roleNames(), u.traits()); err != nil {
		return nil, err
	}
	if order.ttl = min(expires.Sub(c.now()), order.roles.sessionTTL(365*24*time.Hour)); order.ttl <= 0 {
		return nil, invalid("the certificates would have expired already")
	}
	certs := new(pb.Certs)
	if sshKey != nil {
		if certs.Ssh, err = c.signSSH(sshKey, order); err != nil {
			return nil, err
		}
	}
	if tlsKey != nil {
		if certs.Tls, err = c.signTLS(tlsKey, order); err != nil {
			return nil, err
		}
	}
	certs.TlsCaCerts = [][]byte{c.auths.host.certPEM()}
	certs.SshCaCerts = [][]byte{c.auths.host.authorizedKey()}
	c.log.Info("certificates issued again", "user", u.Name, "route", route, "requests", order.requests)
	return certs, nil
}

// certsCaller judges who asks for what kind of certificates.
func (c *Cluster) certsCaller(ctx context.Context, req *pb.UserCertsRequest) (*user, error) {
	id := caller(ctx)
	if id.cluster != c.settings.Name {
		return nil, refused("access denied: certificates are issued by the root cluster")
	}
	if req.Username != id.user {
		return nil, refused("access denied: %s may not have certificates for %q", id.user, req.Username)
	}
	switch {
	case req.Usage == usageSSH && req.NodeName == "":
		return nil, invalid("missing NodeName parameter in a ssh-only user certs request")
	case req.Usage == usageAll && req.Purpose == purposeSingleUse:
		return nil, invalid("single-use certificates are for one kind of resource")
	case req.Usage == usageSSH && req.Purpose == purposeSingleUse:
	case req.Usage != usageAll:
		return nil, status.Error(codes.Unimplemented, "no resource here needs certificates of its own")
	case !slices.Contains([]string{"", "standard", formatOld}, req.Format):
		return nil, invalid("provided value %q is not a valid certificate format", req.Format)
	}
	return c.callerUser(ctx)
}

// certsKeys are the keys of a request; the one of clients of 14 is for both.
func (c *Cluster) certsKeys(req *pb.UserCertsRequest) (sshKey ssh.PublicKey, tlsKey crypto.PublicKey, err error) {
	if len(req.SshPublicKey) == 0 && len(req.TlsPublicKey) == 0 {
		if sshKey, err = parseSSHPublicKey(req.PublicKey); err != nil {
			if c.is14() {
				return nil, nil, status.Error(codes.Unknown, "ssh: no key found")
			}
			return nil, nil, invalid("no public key in the request")
		}
		wrapped, ok := sshKey.(ssh.CryptoPublicKey)
		if !ok {
			return nil, nil, invalid("unsupported public key")
		}
		return sshKey, wrapped.CryptoPublicKey(), nil
	}
	if len(req.SshPublicKey) > 0 {
		if sshKey, err = parseSSHPublicKey(req.SshPublicKey); err != nil {
			return nil, nil, invalid("%v", err)
		}
	}
	if len(req.TlsPublicKey) > 0 {
		if tlsKey, err = parseTLSPublicKey(req.TlsPublicKey); err != nil {
			return nil, nil, invalid("%v", err)
		}
	}
	return sshKey, tlsKey, nil
}

// assume adds the access requests to an order: those of the caller's certificate
// that are not dropped and those that are asked for. It returns when the
// certificates end because of them.
func (c *Cluster) assume(order *certRequest, req *pb.UserCertsRequest, id identity, expires time.Time) (time.Time, error) {
	var ids []string
	for _, active := range subjectValues(id.cert, oidActiveRequest()) {
		if !slices.Contains(req.DropAccessRequests, "*") && !slices.Contains(req.DropAccessRequests, active) {
			ids = append(ids, active)
		}
	}
	for _, wanted := range req.AccessRequests {
		if !slices.Contains(ids, wanted) {
			ids = append(ids, wanted)
		}
	}
	for _, wanted := range ids {
		r, err := c.accessRequest(wanted)
		if err != nil || r.User != id.user || r.State != "approved" {
			return expires, refused("access request %q is not approved or not yours", wanted)
		}
		for _, name := range r.Roles {
			if !slices.Contains(order.roleNames(), name) {
				order.assumed = append(order.assumed, name)
			}
		}
		if r.Expires.Before(expires) {
			expires = r.Expires
		}
	}
	order.requests = ids
	return expires, nil
}

// callerIP is where the call came from, without the port.
func callerIP(ctx context.Context) string {
	host, _, err := net.SplitHostPort(callerAddr(ctx).String())
	if err != nil {
		return ""
	}
	return host
}
