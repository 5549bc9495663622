package devcluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/crypto/ssh"
)

const (
	// nodeVersionLine: clients take the prefix for a feature flag.
	nodeVersionLine = "SSH-2.0-Teleport"
	nodePort        = "3022"
	// maxNodes is as many as have an address of their own.
	maxNodes = 10_000
	// sshHandshakeTimeout bounds key exchange and authentication.
	sshHandshakeTimeout = 30 * time.Second
	// keepAlive is how often a node asks whether the client is there, and
	// how many answers may be missing.
	keepAliveInterval = 5 * time.Minute
	keepAliveMax      = 3
)

// node is one SSH node. It is reached through the proxy alone: its address is
// what it is registered and routed with, nothing listens there.
type node struct {
	id       string
	hostname string
	addr     string
	labels   map[string]string
	sshd     bool // it is an OpenSSH server at addr

	signerOnce sync.Once
	signer     ssh.Signer
	signerErr  error
}

// makeNodes registers the nodes; their IDs are kept in the state.
func (c *Cluster) makeNodes(cfg Config) ([]*node, error) {
	names := cfg.Hostnames
	if names == nil {
		for i := range max(cfg.Nodes, 1) {
			names = append(names, fmt.Sprintf("node-%d", i+1))
		}
	}
	if len(names) > maxNodes {
		return nil, fmt.Errorf("more than %d nodes", maxNodes)
	}
	ids, err := nodeIDs(c.state, names)
	if err != nil {
		return nil, err
	}
	nodes := make([]*node, len(names))
	for i, name := range names {
		nodes[i] = &node{
			id: ids[i], hostname: name, labels: nodeLabels(cfg, i),
			addr: net.JoinHostPort(fmt.Sprintf("127.0.%d.%d", i/254, i%254+1), nodePort),
		}
	}
	return nodes, nil
}

// nodeIDs looks the UUIDs up by name, the n-th of one name by its number.
func nodeIDs(s *state, names []string) ([]string, error) {
	ids := make([]string, len(names))
	seen := make(map[string]int)
	missing := make(map[string]string)
	for i, name := range names {
		// Anything goes that the wire can carry: clients are to be shown what
		// a hostile cluster might call its nodes.
		if name == "" || len(name) > maxName || !utf8.ValidString(name) {
			return nil, fmt.Errorf("%q is no node name", name)
		}
		key := name
		if n := seen[name]; n > 0 {
			key = fmt.Sprintf("%s#%d", name, n)
		}
		seen[name]++
		found, err := s.get(bucketNodes, key, &ids[i])
		if err != nil {
			return nil, err
		}
		if !found {
			ids[i] = uuid.NewString()
			missing[key] = ids[i]
		}
	}
	if len(missing) == 0 {
		return ids, nil
	}
	return ids, s.update(func(tx *stateTx) error {
		for key, id := range missing {
			if err := tx.put(bucketNodes, key, id); err != nil {
				return err
			}
		}
		return nil
	})
}

func nodeLabels(cfg Config, i int) map[string]string {
	switch {
	case cfg.NodeLabels != nil:
		return maps.Clone(cfg.NodeLabels)
	case i%2 == 1:
		return map[string]string{"env": "prod", "tier": "db"}
	}
	return map[string]string{"env": "dev", "tier": "web"}
}

func (n *node) tcpAddr() net.Addr {
	addr, err := net.ResolveTCPAddr("tcp", n.addr)
	if err != nil {
		return &net.TCPAddr{}
	}
	return addr
}

// hostSigner is the certified host key, made when the first client comes.
func (c *Cluster) hostSigner(n *node) (ssh.Signer, error) {
	n.signerOnce.Do(func() {
		cluster := c.settings.Name
		principals := []string{
			n.id, n.id + "." + cluster, n.hostname, n.hostname + "." + cluster, "localhost", "127.0.0.1", "::1",
		}
		if host, _, err := net.SplitHostPort(n.addr); err == nil && !slices.Contains(principals, host) {
			principals = append(principals, host)
		}
		n.signer, n.signerErr = c.auths.host.hostKey(c.settings.Suite, cluster, n.id+"."+cluster, principals)
	})
	return n.signer, n.signerErr
}

// serveNode serves one connection until it ends. A connection that can be resumed goes
// on without it.
func (c *Cluster) serveNode(n *node, conn net.Conn) {
	defer conn.Close()
	if !c.conns.add(conn) {
		return
	}
	defer c.conns.remove(conn)
	if c.resumes() {
		c.offerResumption(n, conn)
		return
	}
	c.serveSSH(n, conn, nodeVersionLine)
}

// serveSSH is the SSH server of a node, which presents itself with a line.
func (c *Cluster) serveSSH(n *node, conn net.Conn, line string) {
	defer conn.Close()
	signer, err := c.hostSigner(n)
	if err != nil {
		c.log.Error("no host certificate", "node", n.hostname, "reason", err)
		return
	}
	var refusal nodeRefusal
	config := &ssh.ServerConfig{
		ServerVersion: line,
		PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			permissions, err := c.authorize(n, meta, key)
			if err != nil {
				refusal.refused(c, meta.User(), key, err)
			}
			return permissions, err
		},
	}
	config.AddHostKey(signer)
	_ = conn.SetDeadline(time.Now().Add(sshHandshakeTimeout))
	sc, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		c.noteRefusal(n, conn.RemoteAddr().String(), refusal)
		c.log.Info("ssh refused", "node", n.hostname, "from", conn.RemoteAddr(), "reason", err)
		return
	}
	_ = conn.SetDeadline(time.Time{})
	name, _ := sc.Permissions.ExtraData[permUser].(string)
	c.log.Info("ssh connected", "node", n.hostname, "user", name, "login", sc.User())
	forwarding, _ := sc.Permissions.ExtraData[permForwarding].(bool)
	nc := &nodeConn{cluster: c, node: n, conn: sc, teleportUser: name, forwards: newNodeForwards(sc, forwarding)}
	nc.refusal, _ = sc.Permissions.ExtraData[permRefusal].(string)
	nc.noCopying, _ = sc.Permissions.ExtraData[permNoCopy].(bool)
	if nc.refusal != "" {
		nc.noteDenied(nc.refusal)
	}
	nc.serve(channels, requests)
	_ = sc.Close()
}

// permUser is where the name of the verified user is in the permissions,
// the others what the roles allow to forward.
type permKey string

const (
	permUser       permKey = "user"
	permForwarding permKey = "port-forwarding"
	permAgent      permKey = "agent-forwarding"
	permX11        permKey = "X11-forwarding"
	permNoCopy     permKey = "no-copy" // whether files stay where they are
)

// authorize accepts a user certificate, of this cluster or of its root, whose principals and
// roles allow the login on this node, now.
func (c *Cluster) authorize(n *node, meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("plain keys are not accepted")
	}
	if cert.CertType != ssh.UserCert || len(cert.ValidPrincipals) == 0 {
		return nil, errors.New("not a user certificate with principals")
	}
	checker := &ssh.CertChecker{
		Clock: c.now,
		IsUserAuthority: func(auth ssh.PublicKey) bool {
			_, trusted := c.userIssuer(auth)
			return trusted
		},
	}
	if _, err := checker.Authenticate(meta, key); err != nil {
		return nil, err
	}
	roles, err := c.certRoles(cert)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(roles.loginsFor(n.labels), meta.User()) {
		return nil, fmt.Errorf("user %s may not log in as %s", cert.KeyId, meta.User())
	}
	refusal, err := c.sessionMFA.judge(cert, roles.needMFA(n.labels))
	if err != nil {
		return nil, err
	}
	// The library checks source-address, among the options it is handed.
	return &ssh.Permissions{CriticalOptions: cert.CriticalOptions, ExtraData: map[any]any{
		permUser:       cert.KeyId,
		permRefusal:    refusal,
		permForwarding: roles.any(func(r role) bool { return r.PortForwarding }),
		permAgent:      roles.any(func(r role) bool { return r.ForwardAgent }),
		permX11:        roles.any(func(r role) bool { return r.PermitX11 }),
		permNoCopy:     roles.any(func(r role) bool { return r.NoFileCopy }),
	}}, nil
}

// certRoles reads roles and logins from the extensions of a certificate.
func (c *Cluster) certRoles(cert *ssh.Certificate) (roleSet, error) {
	var names struct {
		Roles []string `json:"roles"`
	}
	if err := json.Unmarshal([]byte(cert.Extensions["teleport-roles"]), &names); err != nil {
		return roleSet{}, fmt.Errorf("teleport-roles: %w", err)
	}
	var traits map[string][]string
	if err := json.Unmarshal([]byte(cert.Extensions["teleport-traits"]), &traits); err != nil {
		return roleSet{}, fmt.Errorf("teleport-traits: %w", err)
	}
	issuer, _ := c.userIssuer(cert.SignatureKey)
	return c.roleSet(c.localRoles(issuer, names.Roles), traits)
}

// nodeConn is one authenticated connection to a node.
type nodeConn struct {
	cluster      *Cluster
	node         *node
	conn         *ssh.ServerConn
	teleportUser string
	forwards     *nodeForwards
	refusal      string // what every session is refused with, if anything
	noCopying    bool
}

// serve answers requests and runs sessions until the client is gone, then
// waits until the sessions have ended.
func (nc *nodeConn) serve(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	var wg sync.WaitGroup
	gone := make(chan struct{})
	wg.Go(func() { nc.globalRequests(requests) })
	wg.Go(func() { nc.keepAlive(gone) })
	for ch := range channels {
		if nc.refuses(ch) || nc.forwards.open(ch) {
			continue
		}
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "unknown channel type: "+ch.ChannelType())
			continue
		}
		channel, reqs, err := ch.Accept()
		if err != nil {
			continue
		}
		wg.Go(func() { nc.serveSession(channel, reqs) })
	}
	close(gone)
	nc.forwards.close()
	wg.Wait()
}

// globalRequests answers what 18.x nodes answer and refuses the rest.
func (nc *nodeConn) globalRequests(requests <-chan *ssh.Request) {
	for req := range requests {
		if nc.refusesGlobal(req) || nc.forwards.request(req) {
			continue
		}
		ok := req.Type == "keepalive@openssh.com" || req.Type == "session-id-query@goteleport.com"
		if req.WantReply {
			_ = req.Reply(ok, nil)
		}
	}
}

// keepAlive asks from time to time; a client that stays silent is dropped.
func (nc *nodeConn) keepAlive(gone <-chan struct{}) {
	ticker := time.NewTicker(keepAliveInterval)
	defer ticker.Stop()
	answers := make(chan struct{}, 1)
	pending := false
	for missed := 0; missed < keepAliveMax; {
		select {
		case <-gone:
			return
		case <-answers:
			missed, pending = 0, false
		case <-ticker.C:
			missed++
			if pending {
				continue
			}
			pending = true
			nc.cluster.goFunc(func() {
				if _, _, err := nc.conn.SendRequest("keepalive@openssh.com", true, nil); err == nil {
					answers <- struct{}{}
				}
			})
		}
	}
	_ = nc.conn.Close()
}
