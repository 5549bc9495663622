package profile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/internal/yamlout"
	"go.yaml.in/yaml/v3"
)

const (
	maxFile  = 64 << 10
	maxDepth = 32
	keyCount = 24 // an array stays on the stack
)

// field ties a key of the file to a field of a Profile.
type field struct {
	key    string
	always bool // written although empty
	value  any  // *string, *bool, *time.Duration or *[]string
}

// fields lists the keys in the order in which they are written.
func (p *Profile) fields() [keyCount]field {
	var dir string // ignored when read, written empty
	return [keyCount]field{
		{"web_proxy_addr", false, &p.WebProxyAddr},
		{"ssh_proxy_addr", false, &p.SSHProxyAddr},
		{"kube_proxy_addr", false, &p.KubeProxyAddr},
		{"postgres_proxy_addr", false, &p.PostgresProxyAddr},
		{"mysql_proxy_addr", false, &p.MySQLProxyAddr},
		{"mongo_proxy_addr", false, &p.MongoProxyAddr},
		{"relay_addr", false, &p.RelayAddr},
		{"default_relay_addr", false, &p.DefaultRelayAddr},
		{"user", false, &p.User},
		{"cluster", false, &p.Cluster},
		{"dynamic_forward_ports", false, &p.DynamicForwardPorts},
		{"dir", true, &dir},
		{"tls_routing_enabled", false, &p.TLSRouting},
		{"tls_routing_conn_upgrade_required", false, &p.ConnUpgrade},
		{"auth_connector", false, &p.AuthConnector},
		{"load_all_cas", false, &p.LoadAllCAs},
		{"mfa_mode", false, &p.MFAMode},
		{"private_key_policy", true, &p.PrivateKeyPolicy},
		{"piv_slot", true, &p.PIVSlot},
		{"piv_pin_cache_ttl", true, &p.PIVPINCacheTTL},
		{"missingclusterdetails", true, &p.MissingClusterDetails},
		{"saml_slo_enabled", false, &p.SAMLSLOEnabled},
		{"ssh_dial_timeout", false, &p.SSHDialTimeout},
		{"sso_host", false, &p.SSOHost},
	}
}

// decode reads a profile file. An empty one gives a Profile without addresses.
func decode(name string, data []byte) (*Profile, error) {
	p := &Profile{Name: name, raw: data}
	var err error
	if plain, ok := parsePlain(data); ok {
		err = p.fillPlain(plain)
	} else {
		var root *yaml.Node
		if root, err = parse(data); err == nil {
			err = p.fillTree(root)
		}
	}
	if err != nil {
		return nil, err
	}
	p.fillDefaults()
	return p, nil
}

// fillDefaults gives the keys that a file leaves out their meaning.
func (p *Profile) fillDefaults() {
	if p.Cluster == "" {
		p.Cluster = p.Name
	}
	if p.SSHDialTimeout == 0 {
		p.SSHDialTimeout = defaultSSHDialTimeout
	}
}

func (p *Profile) fillPlain(plain plainFile) error {
	var n yaml.Node
	return p.fill(func(key string) *yaml.Node { return plain.find(key, &n) })
}

func (p *Profile) fillTree(root *yaml.Node) error {
	return p.fill(func(key string) *yaml.Node {
		_, value := lookup(root, key)
		return value
	})
}

// fill asks find for the last value of every key, since a repeated key takes that.
func (p *Profile) fill(find func(key string) *yaml.Node) error {
	for _, f := range p.fields() {
		if f.key == "dir" {
			continue
		}
		if value := find(f.key); value != nil {
			if err := decodeValue(value, f.value); err != nil {
				return fmt.Errorf("line %d: %s: %w", value.Line, f.key, err)
			}
		}
	}
	return nil
}

// parse returns the mapping of a file. Aliases are refused, so that a few bytes
// cannot stand for many.
func parse(data []byte) (*yaml.Node, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("more than %d bytes", maxFile)
	}
	if !utf8.Valid(data) || bytes.ContainsFunc(data, isBinary) {
		return nil, errors.New("is not a text file")
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}, nil
	} else if err != nil {
		return nil, errors.New(text.Line(err.Error()))
	}
	if err := dec.Decode(&next); !errors.Is(err, io.EOF) {
		return nil, errors.New("has more than one document")
	}
	if len(doc.Content) != 1 {
		return nil, errors.New("is not a mapping")
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, errors.New("is not a mapping")
	}
	return root, checkTree(root, 0)
}

func isBinary(r rune) bool {
	return r == 0xfeff || r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f
}

func checkTree(n *yaml.Node, depth int) error {
	if n.Kind == yaml.AliasNode {
		return fmt.Errorf("line %d: aliases are not allowed", n.Line)
	}
	if depth > maxDepth {
		return fmt.Errorf("line %d: nested too deeply", n.Line)
	}
	for _, c := range n.Content {
		if err := checkTree(c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// lookup finds the last occurrence of a key and its value in a mapping.
func lookup(m *yaml.Node, key string) (int, *yaml.Node) {
	for i := len(m.Content) - 2; i >= 0; i -= 2 {
		if k := m.Content[i]; k.Kind == yaml.ScalarNode && k.Value == key {
			return i, m.Content[i+1]
		}
	}
	return -1, nil
}

func decodeValue(n *yaml.Node, into any) error {
	null := n.Kind == yaml.ScalarNode && n.Tag == "!!null"
	switch v := into.(type) {
	case *string:
		s, err := scalar(n)
		*v = s
		return err
	case *bool:
		if null {
			return nil
		}
		b, err := parseBool(n)
		*v = b
		return err
	case *time.Duration:
		if null {
			return nil
		}
		d, err := parseDuration(n)
		*v = d
		return err
	case *[]string:
		if null {
			return nil
		}
		if n.Kind != yaml.SequenceNode {
			return errors.New("is not a list")
		}
		for _, c := range n.Content {
			s, err := scalar(c)
			if err != nil {
				return err
			}
			*v = append(*v, s)
		}
	}
	return nil
}

// scalar takes every scalar as text: a user may be called 007.
func scalar(n *yaml.Node) (string, error) {
	switch {
	case n.Kind != yaml.ScalarNode:
		return "", errors.New("is not a single value")
	case n.Tag == "!!null":
		return "", nil
	case n.Tag == "!!binary":
		return "", errors.New("is not text")
	}
	return n.Value, nil
}

// parseBool knows the spellings of YAML 1.1.
func parseBool(n *yaml.Node) (bool, error) {
	s, err := scalar(n)
	if err != nil {
		return false, err
	}
	if value, ok := boolWord(s); ok {
		return value, nil
	}
	return false, errors.New("is neither true nor false")
}

func boolWord(s string) (value, ok bool) {
	lower := strings.ToLower(s)
	if s != lower && s != strings.ToUpper(s) && s != strings.ToUpper(lower[:1])+lower[1:] {
		return false, false // yEs is no boolean
	}
	switch lower {
	case "y", "yes", "true", "on":
		return true, true
	case "n", "no", "false", "off":
		return false, true
	}
	return false, false
}

// parseDuration reads the text of a Go duration or, without quotes, nanoseconds.
func parseDuration(n *yaml.Node) (time.Duration, error) {
	s, err := scalar(n)
	if err != nil {
		return 0, err
	}
	if n.Tag == "!!int" {
		ns, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 0, 64)
		if err != nil || ns < 0 {
			return 0, errors.New("is not a number of nanoseconds")
		}
		return time.Duration(ns), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("is not a duration")
	}
	return d, nil
}

// encode returns the file for p. Base is the file that p replaces or was loaded
// from, nil for none: only keys whose value differs are touched in it, unknown
// keys and comments stay. A base that cannot be read counts as none.
func (p *Profile) encode(base []byte) ([]byte, error) {
	root, err := parse(base)
	var old *Profile
	if err == nil {
		old, err = decode(p.Name, base)
	}
	if err != nil || len(root.Content) == 0 {
		base, old = nil, &Profile{}
		root = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	q := newQuoting()
	oldFields := old.fields()
	changed := base == nil
	after := 0 // where a key that is missing belongs
	for i, f := range p.fields() {
		at, _ := lookup(root, f.key)
		same := f.equal(oldFields[i])
		if base == nil && f.always || !same {
			at = q.set(root, at, after, f)
			changed = true
		}
		if at >= 0 {
			after = at + 2
		}
	}
	if !changed {
		return base, nil
	}
	return yamlout.Encode(root, yamlout.Flush)
}

// set writes one key, at its place or at after, or takes it out when it is empty
// and need not be there. It returns where the key is now, -1 for nowhere.
func (q quoting) set(root *yaml.Node, at, after int, f field) int {
	if !f.always && isZero(f.value) {
		for at >= 0 {
			root.Content = append(root.Content[:at:at], root.Content[at+2:]...)
			at, _ = lookup(root, f.key)
		}
		return -1
	}
	after = min(after, len(root.Content)) // something before may have gone
	value := q.node(f.value)
	if at < 0 {
		pair := []*yaml.Node{{Kind: yaml.ScalarNode, Value: f.key}, value}
		root.Content = append(root.Content[:after:after], append(pair, root.Content[after:]...)...)
		return after
	}
	old := root.Content[at+1]
	value.HeadComment, value.LineComment, value.FootComment = old.HeadComment, old.LineComment, old.FootComment
	root.Content[at+1] = value
	return at
}

func isZero(pointer any) bool { return reflect.ValueOf(pointer).Elem().IsZero() }
