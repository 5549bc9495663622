package devcluster

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// rpcCertAuthorities publishes the public part of authorities: the host
// authorities of this cluster and its leaf, the user authorities of this cluster
// and of the root that it trusts.
func (c *Cluster) rpcCertAuthorities(_ context.Context, req *pb.GetCertAuthoritiesRequest) (*pb.GetCertAuthoritiesResponse, error) {
	if req.IncludeKey {
		return nil, denied("read", "cert_authority")
	}
	resp := new(pb.GetCertAuthoritiesResponse)
	clusters, err := c.authoritiesOf(req.Type)
	for _, cluster := range clusters {
		ca, err := cluster.caMessage(req.Type)
		if err != nil {
			return nil, err
		}
		resp.CertAuthorities = append(resp.CertAuthorities, ca)
	}
	return resp, err
}

// rpcCertAuthority is rpcCertAuthorities for one cluster.
func (c *Cluster) rpcCertAuthority(_ context.Context, req *pb.GetCertAuthorityRequest) (*pb.CertAuthority, error) {
	if req.IncludeKey {
		return nil, denied("read", "cert_authority")
	}
	clusters, err := c.authoritiesOf(req.Type)
	if err != nil {
		return nil, err
	}
	for _, cluster := range clusters {
		if cluster.settings.Name == req.Domain {
			return cluster.caMessage(req.Type)
		}
	}
	return nil, status.Errorf(codes.NotFound, "cert authority %s/%s is not found", req.Type, req.Domain)
}

// authoritiesOf are the clusters whose authority of that type is known here.
func (c *Cluster) authoritiesOf(kind string) ([]*Cluster, error) {
	others := map[string]*Cluster{"host": c.leaf, "user": c.root}
	switch kind {
	case "host", "user":
		if others[kind] != nil {
			return []*Cluster{c, others[kind]}, nil
		}
		return []*Cluster{c}, nil
	case "db", "openssh", "jwt", "saml_idp", "oidc_idp", "spiffe", "okta":
		return nil, nil
	}
	return nil, status.Errorf(codes.InvalidArgument, "%q authority type is not supported", kind)
}

func (c *Cluster) caMessage(kind string) (*pb.CertAuthority, error) {
	a := c.auths.host
	if kind == "user" {
		a = c.auths.user
	}
	crl, err := a.crl()
	if err != nil {
		return nil, err
	}
	return &pb.CertAuthority{
		Kind: "cert_authority", SubKind: kind, Version: "v2",
		Metadata: &pb.Metadata{
			Name: c.settings.Name, Namespace: "default",
			Revision: revision("cert_authority", kind+"/"+a.tlsCert.SerialNumber.String()),
		},
		Spec: &pb.CertAuthoritySpec{
			Type: kind, ClusterName: c.settings.Name,
			ActiveKeys: &pb.CAKeySet{
				Ssh: []*pb.SSHKeyPair{{PublicKey: a.authorizedKey()}},
				Tls: []*pb.TLSKeyPair{{Cert: a.certPEM(), Crl: crl}},
			},
			AdditionalTrustedKeys: &pb.CAKeySet{},
		},
	}, nil
}

// rpcRemoteClusters lists the leaf, if there is one.
func (c *Cluster) rpcRemoteClusters(ctx context.Context, _ *pb.Empty) (*pb.RemoteClustersPage, error) {
	page := new(pb.RemoteClustersPage)
	if c.leaf == nil {
		return page, nil
	}
	roles, err := c.callerRoles(ctx)
	if err != nil {
		return nil, err
	}
	if !roles.any(func(r role) bool { return slices.Contains(slices.Collect(maps.Keys(leafRoles())), r.Name) }) {
		return page, nil
	}
	name := c.leaf.settings.Name
	page.RemoteClusters = append(page.RemoteClusters, &pb.RemoteCluster{
		Kind: "remote_cluster", Version: "v3",
		Metadata: &pb.Metadata{
			Name: name, Namespace: "default", Labels: map[string]string{"env": "dev"}, Revision: revision("remote_cluster", name),
		},
		Status: &pb.RemoteClusterStatus{Connection: "online", LastHeartbeat: timestamppb.New(c.now())},
	})
	return page, nil
}
