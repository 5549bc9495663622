package devcluster

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/ssh"
)

const (
	bucketSSHD = "openssh_nodes"
	// subKindSSHD marks nodes that are an OpenSSH server, without an agent of ours.
	subKindSSHD = "openssh"
	// sshdDialTimeout bounds the connection to an OpenSSH server.
	sshdDialTimeout = 10 * time.Second
)

// SSHDSpec is an OpenSSH server that is to be a node. The proxy connects to it
// at its address; it has to trust the user authority by itself.
type SSHDSpec struct {
	Hostname string            `json:"hostname"`
	Addr     string            `json:"addr"` // host:port
	Labels   map[string]string `json:"labels,omitempty"`
	// HostKey is the server's public host key, a line as in a .pub file.
	HostKey string `json:"host_key"`
}

// SSHDNode is a registered OpenSSH server.
type SSHDNode struct {
	ID       string            `json:"id"`
	Hostname string            `json:"hostname"`
	Addr     string            `json:"addr"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// SSHDFiles is what sshd needs: HostCertificate is for its option of that name,
// UserAuthority for TrustedUserCAKeys.
type SSHDFiles struct {
	Node            SSHDNode `json:"node"`
	HostCertificate string   `json:"host_certificate"`
	UserAuthority   string   `json:"user_authority"`
}

// check refuses what could not be routed to.
func (s *SSHDSpec) check() (ssh.PublicKey, error) {
	if s.Hostname == "" || len(s.Hostname) > maxName {
		return nil, fmt.Errorf("%q is no node name", s.Hostname)
	}
	host, port, err := net.SplitHostPort(s.Addr)
	if n, convErr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || convErr != nil || n == 0 {
		return nil, fmt.Errorf("address %q is not host:port", s.Addr)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s.HostKey))
	if err != nil {
		return nil, fmt.Errorf("host key of %s: %w", s.Hostname, err)
	}
	if _, certified := key.(*ssh.Certificate); certified {
		return nil, fmt.Errorf("host key of %s: it is a certificate; give the key itself", s.Hostname)
	}
	return key, nil
}

// addSSHD registers the server, under its former ID if it was there before.
func (r *registry) addSSHD(spec SSHDSpec) (files SSHDFiles, err error) {
	key, err := spec.check()
	if err != nil {
		return files, err
	}
	auths, err := loadAuthorities(r.state)
	if err != nil {
		return files, err
	}
	node := SSHDNode{ID: uuid.NewString(), Hostname: spec.Hostname, Addr: spec.Addr, Labels: spec.Labels}
	var before SSHDNode
	if found, err := r.state.get(bucketSSHD, spec.Hostname, &before); err != nil {
		return files, err
	} else if found {
		node.ID = before.ID
	}
	cert := &ssh.Certificate{
		Key: key, CertType: ssh.HostCert, KeyId: node.ID + "." + r.clusterName,
		ValidPrincipals: node.principals(r.clusterName), ValidBefore: ssh.CertTimeInfinity,
		Permissions: ssh.Permissions{Extensions: map[string]string{
			"x-teleport-role": "Node", "x-teleport-authority": r.clusterName,
		}},
	}
	if err := cert.SignCert(rand.Reader, auths.host.sshSigner); err != nil {
		return files, err
	}
	err = r.state.update(func(tx *stateTx) error { return tx.put(bucketSSHD, node.Hostname, node) })
	return SSHDFiles{
		Node:            node,
		HostCertificate: string(ssh.MarshalAuthorizedKey(cert)),
		UserAuthority:   string(ssh.MarshalAuthorizedKey(auths.user.sshSigner.PublicKey())),
	}, err
}

func (n *SSHDNode) principals(cluster string) []string {
	names := []string{n.ID, n.ID + "." + cluster, n.Hostname, n.Hostname + "." + cluster}
	if host, _, err := net.SplitHostPort(n.Addr); err == nil {
		names = append(names, host)
	}
	return names
}

func (r *registry) removeSSHD(hostname string) error {
	var n SSHDNode
	found, err := r.state.get(bucketSSHD, hostname, &n)
	if err == nil && !found {
		err = fmt.Errorf("no OpenSSH node is called %q", hostname)
	}
	if err != nil {
		return err
	}
	return r.state.update(func(tx *stateTx) error { return tx.delete(bucketSSHD, hostname) })
}

// sshdNodes lists the registered OpenSSH servers by name.
func (r *registry) sshdNodes() ([]SSHDNode, error) {
	list := []SSHDNode{}
	return list, r.state.each(bucketSSHD, func(_ string, value []byte) error {
		var n SSHDNode
		err := json.Unmarshal(value, &n)
		list = append(list, n)
		return err
	})
}

// allNodes are the cluster's own nodes and the OpenSSH servers that are registered now.
func (c *Cluster) allNodes() ([]*node, error) {
	registered, err := c.sshdNodes()
	if err != nil || len(registered) == 0 {
		return c.nodes, err
	}
	all := append([]*node(nil), c.nodes...)
	for _, n := range registered {
		labels := maps.Clone(n.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		all = append(all, &node{id: n.ID, hostname: n.Hostname, addr: n.Addr, labels: labels, sshd: true})
	}
	return all, nil
}

// dialSSHD connects to a node that is an OpenSSH server.
func (c *Cluster) dialSSHD(n *node) (net.Conn, error) {
	dialer := net.Dialer{Timeout: sshdDialTimeout}
	conn, err := dialer.DialContext(c.ctx, "tcp", n.addr)
	if err != nil {
		return nil, err
	}
	c.log.Info("openssh node", "node", n.hostname, "addr", n.addr)
	return conn, nil
}

// AddSSHD registers an OpenSSH server and certifies its host key.
func (a *Admin) AddSSHD(spec SSHDSpec) (files SSHDFiles, err error) {
	if a.local != nil {
		return a.local.addSSHD(spec)
	}
	return files, a.call(http.MethodPost, "/nodes", spec, &files)
}

// RemoveSSHD forgets an OpenSSH server.
func (a *Admin) RemoveSSHD(hostname string) error {
	if a.local != nil {
		return a.local.removeSSHD(hostname)
	}
	return a.call(http.MethodDelete, "/nodes/"+url.PathEscape(hostname), nil, nil)
}

// SSHDNodes lists the registered OpenSSH servers by name.
func (a *Admin) SSHDNodes() (list []SSHDNode, err error) {
	if a.local != nil {
		return a.local.sshdNodes()
	}
	return list, a.call(http.MethodGet, "/nodes", nil, &list)
}

// AddSSHD is Admin's.
func (c *Cluster) AddSSHD(spec SSHDSpec) (SSHDFiles, error) { return c.addSSHD(spec) }

// handleSSHD answers on the admin socket.
func (c *Cluster) handleSSHD(handle func(string, func(*http.Request) (any, error))) {
	handle("GET /nodes", func(*http.Request) (any, error) { return c.sshdNodes() })
	handle("POST /nodes", func(r *http.Request) (any, error) {
		var spec SSHDSpec
		if err := json.NewDecoder(r.Body).Decode(&spec); err != nil {
			return nil, err
		}
		return c.addSSHD(spec)
	})
	handle("DELETE /nodes/{name}", func(r *http.Request) (any, error) {
		return struct{}{}, c.removeSSHD(r.PathValue("name"))
	})
}
