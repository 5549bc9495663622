package tshconfig

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/seed-087d674e/tsh/internal/text"
)

// maxExpanded bounds what a template makes of one target, in bytes.
const maxExpanded = 1 << 10

// Template is one of proxy_templates: what a target that fits Pattern stands for. Of
// Host, Query and Search the first one counts.
type Template struct {
	Pattern                             string // regular expression for host:port
	Proxy, Cluster, Host, Query, Search string // with $1 and ${name}
	Where                               string // file and line
}

// Expanded is what a target stands for. What the template does not say is empty.
type Expanded struct {
	Proxy   string // jump host, unless one was given
	Cluster string
	Host    string // the target itself
	Port    int    // of Host; the one that was asked for if the template names none
	Query   string // finds the target, as a predicate
	Search  string // finds the target, by words
}

// Expand applies the first template that fits the target, "host:port" with port 0 for
// any. matched is false where none fits; the target then stands for itself. An error
// is a template that cannot be used, up to the one that fits, or one that makes a
// name of the target that nothing can have; it says where the template is.
func Expand(templates []Template, host string, port int) (e Expanded, matched bool, err error) {
	subject := net.JoinHostPort(host, strconv.Itoa(port))
	for i := range templates {
		t := &templates[i]
		if e, matched, err = t.expand(subject, port); err != nil {
			return Expanded{}, false, fmt.Errorf("%s: %w", t.Where, err)
		}
		if matched {
			return e, true, nil
		}
	}
	return Expanded{}, false, nil
}

func (t *Template) expand(subject string, port int) (e Expanded, matched bool, err error) {
	if t.Pattern == "" {
		return e, false, errors.New("a proxy template needs a template, a regular expression for host:port")
	}
	if t.Proxy+t.Cluster+t.Host+t.Query+t.Search == "" {
		return e, false, errors.New("a proxy template needs one of proxy, cluster, host, query and search")
	}
	pattern, err := regexp.Compile(t.Pattern)
	if err != nil {
		return e, false, fmt.Errorf("template: %w", err)
	}
	found := pattern.FindStringSubmatch(subject)
	if found == nil {
		return e, false, nil
	}
	fill := func(field, value string, into *string) {
		if err != nil || value == "" {
			return
		}
		if *into, err = substitute(value, pattern, found); err == nil {
			err = checkExpanded(*into)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", field, err)
		}
	}
	fill("proxy", t.Proxy, &e.Proxy)
	fill("cluster", t.Cluster, &e.Cluster)
	switch {
	case t.Host != "":
		fill("host", t.Host, &e.Host)
		if err == nil {
			e.Host, e.Port, err = splitTarget(e.Host, port)
		}
	case t.Query != "":
		fill("query", t.Query, &e.Query)
	default:
		fill("search", t.Search, &e.Search)
	}
	if err == nil {
		err = errors.Join(checkName("proxy", e.Proxy), checkName("cluster", e.Cluster), checkName("host", e.Host))
	}
	return e, err == nil, err
}

// substitute puts what the pattern found in the place of $1, ${1} and ${name}. $$ is a
// dollar, and so is one that names nothing. A group that the pattern does not have is
// an error: $1x is the group 1x, and leaving it out would lead elsewhere.
func substitute(value string, pattern *regexp.Regexp, found []string) (string, error) {
	var b strings.Builder
	for {
		before, rest, more := strings.Cut(value, "$")
		b.WriteString(before)
		if !more {
			return b.String(), nil
		}
		name, after := reference(rest)
		value = after
		if name == "" {
			b.WriteByte('$')
			continue
		}
		i, err := strconv.Atoi(name)
		if err != nil {
			i = pattern.SubexpIndex(name)
		}
		if i < 0 || i >= len(found) {
			return "", fmt.Errorf("$%s: the template has no such group (write ${1}x for what group 1 found, with an x)", text.Line(name))
		}
		b.WriteString(found[i])
		if b.Len() > maxExpanded {
			return "", errTooLong
		}
	}
}

// reference reads a name after a dollar; it is empty where there is none.
func reference(s string) (name, after string) {
	if rest, ok := strings.CutPrefix(s, "$"); ok {
		return "", rest
	}
	if rest, ok := strings.CutPrefix(s, "{"); ok {
		if name, after, ok = strings.Cut(rest, "}"); ok && name != "" && strings.TrimLeftFunc(name, inName) == "" {
			return name, after
		}
		return "", s
	}
	after = strings.TrimLeftFunc(s, inName)
	return s[:len(s)-len(after)], after
}

func inName(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

var (
	errTooLong   = fmt.Errorf("it becomes longer than %d bytes", maxExpanded)
	errUnprinted = errors.New("it becomes text with control characters")
)

// checkExpanded refuses what no name and no query has.
func checkExpanded(s string) error {
	if len(s) > maxExpanded {
		return errTooLong
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return errUnprinted
	}
	return nil
}

// checkName refuses a name that another program could take for an option or for several
// words. What is typed is held to stricter rules still where it is used, and so is this.
func checkName(field, s string) error {
	if strings.HasPrefix(s, "-") || strings.ContainsFunc(s, unicode.IsSpace) {
		return fmt.Errorf("%s: it becomes %q, which is no name", field, s)
	}
	return nil
}

// splitTarget takes the port off a target; without one it is the port that was asked for.
func splitTarget(s string, port int) (string, int, error) {
	host, digits, err := net.SplitHostPort(s)
	if err != nil { // no port, or an IPv6 address without brackets
		host, digits = strings.Trim(s, "[]"), strconv.Itoa(port)
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || host == "" {
		return "", 0, fmt.Errorf("host: it becomes %q, which is no host:port", s)
	}
	return host, int(n), nil
}
