package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"go.yaml.in/yaml/v3"

	"github.com/seed-087d674e/tsh/internal/yamlout"
	"github.com/seed-087d674e/tsh/keystore"
)

// maxKubeconfig bounds a kubeconfig that is read, in bytes: certificates of many clusters
// are in it.
const maxKubeconfig = 4 << 20

// kubeEntry is what one login adds to a kubeconfig; cluster, context and user have one
// name.
type kubeEntry struct {
	name          string
	server        string // URL
	tlsServerName string // "" where the server's own name is the one to check
	authority     []byte // PEM
	cert, key     []byte // PEM
}

// checkKubeconfig returns the error that merging into the file would return.
func checkKubeconfig(path string) error {
	data, err := readForMerge(path, maxKubeconfig)
	if err != nil {
		return err
	}
	_, _, err = parseKubeconfig(path, data)
	return err
}

// kubeconfig is the content of the file, with what is in it already unless it is to be
// replaced.
func (o *outOptions) kubeconfig(s *session) ([]byte, error) {
	entry, err := newKubeEntry(s)
	if err != nil {
		return nil, err
	}
	defer clear(entry.key)
	var old []byte
	if !o.overwrite {
		if old, err = readForMerge(o.path, maxKubeconfig); err != nil {
			return nil, err
		}
	}
	return mergeKubeconfig(o.path, old, entry)
}

func newKubeEntry(s *session) (*kubeEntry, error) {
	p := s.profile
	if p.KubeProxyAddr == "" {
		return nil, fmt.Errorf("the proxy %s has no access to Kubernetes", p.Name)
	}
	trusted := *s.id
	if !p.LoadAllCAs {
		trusted.Authorities = nil
		for _, ca := range s.id.Authorities {
			if ca.Cluster == s.id.RootCluster() {
				trusted.Authorities = append(trusted.Authorities, ca)
			}
		}
	}
	key, cert, authority, err := trusted.TLSFiles()
	entry := &kubeEntry{name: s.id.Cluster, server: "https://" + p.KubeProxyAddr, authority: authority, cert: cert, key: key}
	if p.TLSRouting {
		entry.tlsServerName = kubeServerName(p.KubeProxyAddr)
	}
	return entry, err
}

// kubeServerName is the name by which a proxy with one port for everything tells that
// Kubernetes is meant. Hosts that names cannot be made below have a common one.
func kubeServerName(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	_, notIP := netip.ParseAddr(host)
	if err != nil || notIP == nil || host == "" || host == "localhost" {
		host = keystore.ServerName
	}
	return "kube-teleport-proxy-alpn." + host
}

// parseKubeconfig reads a kubeconfig as a tree, in which comments and what we do not know
// stay as they are. root is its mapping.
func parseKubeconfig(path string, data []byte) (document, root *yaml.Node, err error) {
	document = new(yaml.Node)
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	switch err := decoder.Decode(document); {
	case errors.Is(err, io.EOF):
		root = &yaml.Node{Kind: yaml.MappingNode}
		return &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{root}}, root, nil
	case err != nil:
		return nil, nil, withHint(fmt.Errorf("%s is no YAML: %w", path, err), "--overwrite replaces it")
	}
	if root = document.Content[0]; root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		*root = yaml.Node{Kind: yaml.MappingNode} // a file of comments
	}
	if decoder.Decode(new(yaml.Node)) == nil || root.Kind != yaml.MappingNode {
		return nil, nil, withHint(fmt.Errorf("%s is no kubeconfig", path), "--overwrite replaces it")
	}
	for _, list := range []string{"clusters", "users", "contexts"} {
		if v := yamlMember(root, list); v != nil && v.Kind != yaml.SequenceNode && v.Tag != "!!null" {
			return nil, nil, withHint(fmt.Errorf("%s is no kubeconfig: %s is no list", path, list), "--overwrite replaces it")
		}
	}
	return document, root, nil
}

// mergeKubeconfig puts the entry into a kubeconfig and selects it.
func mergeKubeconfig(path string, old []byte, e *kubeEntry) ([]byte, error) {
	document, root, err := parseKubeconfig(path, old)
	if err != nil {
		return nil, err
	}
	for _, pair := range [][2]string{{"apiVersion", "v1"}, {"kind", "Config"}} {
		if yamlMember(root, pair[0]) == nil {
			setYAML(root, pair[0], yamlString(pair[1]))
		}
	}
	cluster := yamlMap("certificate-authority-data", inBase64(e.authority), "server", e.server)
	if e.tlsServerName != "" {
		setYAML(cluster, "tls-server-name", yamlString(e.tlsServerName))
	}
	user := yamlMap("client-certificate-data", inBase64(e.cert), "client-key-data", inBase64(e.key))
	putNamed(root, "cluster", e.name, cluster)
	putNamed(root, "user", e.name, user)
	putNamed(root, "context", e.name, yamlMap("cluster", e.name, "user", e.name))
	setYAML(root, "current-context", yamlString(e.name))
	merged, err := yamlout.Encode(document, yamlout.Indented)
	if err == nil { // an alias elsewhere may have been to what is gone now
		_, _, err = parseKubeconfig(path+" with the new entry", merged)
	}
	if err != nil {
		clear(merged)
		return nil, err
	}
	return merged, nil
}

func inBase64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// yamlMap is a mapping of strings.
func yamlMap(pairs ...string) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(pairs); i += 2 {
		setYAML(m, pairs[i], yamlString(pairs[i+1]))
	}
	return m
}

// yamlMember is a value in a mapping, nil if there is none.
func yamlMember(m *yaml.Node, key string) *yaml.Node {
	for i := 0; m.Kind == yaml.MappingNode && i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	return nil
}

func setYAML(m *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content[i+1] = value
			return
		}
	}
	m.Content = append(m.Content, yamlString(key), value)
}

// putNamed replaces or adds the entry of a name in the list of clusters, users or
// contexts of a kubeconfig.
func putNamed(root *yaml.Node, kind, name string, value *yaml.Node) {
	list := kind + "s"
	entries := yamlMember(root, list)
	if entries == nil || entries.Kind != yaml.SequenceNode {
		entries = &yaml.Node{Kind: yaml.SequenceNode}
		setYAML(root, list, entries)
	}
	if len(entries.Content) == 0 {
		entries.Style = 0 // [] would go on like that
	}
	for _, e := range entries.Content {
		if n := yamlMember(e, "name"); n != nil && n.Value == name {
			setYAML(e, kind, value)
			return
		}
	}
	entry := &yaml.Node{Kind: yaml.MappingNode}
	setYAML(entry, kind, value)
	setYAML(entry, "name", yamlString(name))
	entries.Content = append(entries.Content, entry)
}
