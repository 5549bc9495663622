package devcluster

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/ssh"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// leafDir is where the state of the leaf cluster is, below that of its root.
const leafDir = "leaf"

// openLeaf makes the leaf cluster: authorities, roles and nodes of its own, and an
// auth server that is reached through the root's proxy. It trusts the users of
// the root, by the roles of leafRoles.
func (c *Cluster) openLeaf(cfg Config) error {
	if cfg.Leaf == "" {
		return nil
	}
	if cfg.Leaf == c.settings.Name {
		return fmt.Errorf("the leaf cluster needs another name than %s", cfg.Leaf)
	}
	s, err := openState(filepath.Join(cfg.Dir, leafDir), true)
	if err != nil {
		return err
	}
	hostnames := cfg.LeafHostnames
	if hostnames == nil {
		hostnames = []string{"leaf-node-1"}
	}
	leaf, err := assemble(s, Config{
		Dir: s.dir, Name: cfg.Leaf, Suite: cfg.Suite, SecondFactor: factorOff, PublicAddr: c.settings.PublicAddr,
		Hostnames: hostnames, NodeLabels: cfg.NodeLabels, Clock: cfg.Clock, Log: cfg.Log,
		Emulate: cfg.Emulate, MFARefusal: cfg.MFARefusal, NoMFAReuse: cfg.NoMFAReuse,
		PasswordCost: bcrypt.MinCost, NoRateLimit: true, NoResumption: !c.resumes(),
	}, c.listener)
	if err != nil {
		return errors.Join(err, s.close())
	}
	leaf.root, c.leaf, leaf.audit = c, leaf, c.audit
	if err := leaf.listenLeaf(); err != nil {
		return err
	}
	leaf.router.configs[routeSSH].ClientCAs.AddCert(c.auths.user.tlsCert)
	leaf.router.configs[routeAuth].ClientCAs.AddCert(c.auths.user.tlsCert)
	c.router.leaf = leaf.settings.Name
	c.router.configs[routeLeaf] = leaf.router.configs[routeAuth]
	c.queues[routeLeaf] = leaf.queues[routeAuth]
	return nil
}

// serveLeaf starts the auth server of the leaf and its proxy, which has no web server:
// who goes through the root's proxy needs none of it.
func (c *Cluster) serveLeaf() {
	l := c.leaf
	if l == nil {
		return
	}
	l.goFunc(func() { l.acceptLoop(l.listener, l.serveWebPort) })
	l.goFunc(func() { _ = l.grpcAuth.Serve(l.queues[routeAuth]) })
	l.goFunc(func() { _ = l.grpcSSH.Serve(l.queues[routeSSH]) })
}

// listenLeaf gives the proxy of the leaf an address of its own.
func (c *Cluster) listenLeaf() error {
	host, _, err := net.SplitHostPort(c.root.Addr())
	if err != nil {
		return err
	}
	c.listener, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	return err
}

// LeafAddr is where the proxy of the leaf cluster listens, empty if there is none.
func (c *Cluster) LeafAddr() string {
	if c.leaf == nil {
		return ""
	}
	return c.leaf.Addr()
}

// closeLeaf ends what runs on the leaf and lets go of its state.
func (c *Cluster) closeLeaf() error {
	l := c.leaf
	if l == nil {
		return nil
	}
	l.cancel()
	_ = l.listener.Close()
	l.conns.closeAll()
	for _, q := range l.queues {
		_ = q.Close()
	}
	l.grpcAuth.Stop()
	l.grpcSSH.Stop()
	l.wg.Wait()
	return l.state.close()
}

// Leaf is the name of the leaf cluster, empty if there is none.
func (c *Cluster) Leaf() string {
	if c.leaf == nil {
		return ""
	}
	return c.leaf.settings.Name
}

// member is the cluster of that name, this one or its leaf; nil if there is none.
func (c *Cluster) member(name string) *Cluster {
	switch {
	case name == c.settings.Name:
		return c
	case c.leaf != nil && name == c.leaf.settings.Name:
		return c.leaf
	}
	return nil
}

// route is the cluster that certificates are to lead to: this one unless another
// is wanted.
func (c *Cluster) route(wanted string) (string, error) {
	if wanted == "" {
		return c.settings.Name, nil
	}
	if c.member(wanted) == nil {
		return "", fmt.Errorf("remote cluster %q not found", wanted)
	}
	return wanted, nil
}

// leafRoles is the mapping that the leaf trusts its root with: roles there to
// roles here. Others count for nothing.
func leafRoles() map[string]string {
	return map[string]string{"access": "access", "auditor": "auditor", roleSessionMFA: roleSessionMFA, roleSessionMFAProd: roleSessionMFAProd}
}

// localRoles are the roles here of somebody whom the cluster issuer has certified.
func (c *Cluster) localRoles(issuer string, roles []string) []string {
	if issuer == c.settings.Name {
		return roles
	}
	var local []string
	for _, r := range roles {
		if mapped, ok := leafRoles()[r]; ok {
			local = append(local, mapped)
		}
	}
	return local
}

// remoteUser stands for a user of the root on its leaf.
func (c *Cluster) remoteUser(id identity) (*user, error) {
	roles := c.localRoles(id.cluster, id.roles)
	if len(roles) == 0 {
		return nil, refused("access denied: no role of %s is mapped to one of cluster %s", id.user, c.settings.Name)
	}
	traits, err := subjectTraits(id.cert)
	if err != nil {
		return nil, refused("access denied: %v", err)
	}
	return &user{Name: "remote-" + id.user + "-" + id.cluster, Roles: roles, Logins: traits["logins"], Traits: traits}, nil
}

// subjectTraits reads the traits in the subject of a user certificate.
func subjectTraits(cert *x509.Certificate) (map[string][]string, error) {
	var traits map[string][]string
	for _, text := range cert.Subject.PostalCode {
		if err := json.Unmarshal([]byte(text), &traits); err != nil {
			return nil, fmt.Errorf("traits: %w", err)
		}
	}
	return traits, nil
}

// subjectValues are the values of one attribute of a certificate's subject.
func subjectValues(cert *x509.Certificate, oid asn1.ObjectIdentifier) []string {
	var values []string
	for _, name := range cert.Subject.Names {
		if s, ok := name.Value.(string); ok && name.Type.Equal(oid) {
			values = append(values, s)
		}
	}
	return values
}

// userIssuer is the cluster whose user authority key is, if certificates of that
// cluster are taken here.
func (c *Cluster) userIssuer(key ssh.PublicKey) (cluster string, trusted bool) {
	for _, trusted := range []*Cluster{c, c.root} {
		if trusted != nil && string(trusted.auths.user.sshSigner.PublicKey().Marshal()) == string(key.Marshal()) {
			return trusted.settings.Name, true
		}
	}
	return "", false
}

// routedTarget is the node that a dial target means and the cluster it is in.
func (c *Cluster) routedTarget(t *pb.TargetHost) (*Cluster, *node, error) {
	cluster := c.member(t.Cluster)
	if cluster == nil {
		cluster = c // which says what is wrong with the target
	}
	n, err := cluster.findTarget(t)
	return cluster, n, err
}
