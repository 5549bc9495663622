package tshconfig

import (
	"net"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
)

// headerRule adds headers to the requests of proxies.
type headerRule struct {
	proxy   string      // glob over host:port, or over the host alone
	headers [][2]string // names and values
}

// Headers are the names and values to add to requests to the web address of a proxy,
// host:port. Of those with one name the first one counts. Values may be secrets.
func (c *Config) Headers(addr string) (headers [][2]string) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	seen := map[string]bool{}
	for _, rule := range c.headers {
		full, _ := path.Match(rule.proxy, addr)
		bare, _ := path.Match(rule.proxy, host)
		if !full && !bare {
			continue
		}
		for _, h := range rule.headers {
			if name := strings.ToLower(h[0]); !seen[name] {
				seen[name] = true
				headers = append(headers, h)
			}
		}
	}
	return headers
}

func (f *reader) header(n *yaml.Node) {
	var rule headerRule
	f.mapping(n, func(key string, value *yaml.Node) {
		switch key {
		case "proxy":
			rule.proxy = f.text(value)
			if _, err := path.Match(rule.proxy, ""); err != nil {
				f.fail(value, "proxy: %q is no pattern for host:port", rule.proxy)
			}
		case "headers":
			f.mapping(value, func(name string, value *yaml.Node) {
				rule.headers = append(rule.headers, [2]string{name, f.text(value)})
				f.checkHeader(value, name, f.text(value))
			})
		}
	})
	if rule.proxy == "" {
		f.fail(n, "add_headers needs a proxy, a pattern for host:port")
	}
	f.headers = append(f.headers, rule)
}

// ownHeaders are those that say how a request is to be read, or that are ours: name or
// prefix of it, in small letters.
const ownHeaders = `host content- transfer-encoding te trailer connection upgrade keep-alive proxy- sec- x-teleport- accept-encoding expect`

// checkHeader refuses what would not be one header, and whose value is ours. The value
// is not shown: it may be a secret.
func (f *reader) checkHeader(n *yaml.Node, name, value string) {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) }) {
		f.fail(n, "headers: %q is no name of a header", name)
	}
	for _, own := range strings.Fields(ownHeaders) {
		if head, ok := strings.CutPrefix(strings.ToLower(name), own); ok && (head == "" || strings.HasSuffix(own, "-")) {
			f.fail(n, "headers: %s is not for a file to set", name)
		}
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		f.fail(n, "headers: the value of %s has control characters", name)
	}
}
