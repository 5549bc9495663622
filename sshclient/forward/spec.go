package forward

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind is the direction of a forward, named by OpenSSH's flag for it.
type Kind byte

// The kinds there are.
const (
	Local   Kind = 'L' // listens here, connects from the node
	Remote  Kind = 'R' // listens on the node, connects from here
	Dynamic Kind = 'D' // listens here; SOCKS clients say what the node is to connect to
)

// Endpoint is one side of a forward: a TCP port, or a Unix socket if it has a
// Path.
type Endpoint struct {
	Host string // without brackets. To listen: "" is loopback, "*" all addresses
	Port int    // 0, on the node only, lets the node choose
	Path string // of a socket; begins with a slash
}

// Spec is a forward. One without a Connect side serves SOCKS.
type Spec struct {
	Kind    Kind
	Listen  Endpoint
	Connect Endpoint
}

// SOCKS reports whether its clients say where to connect to.
func (s Spec) SOCKS() bool { return s.Connect == Endpoint{} }

const (
	// maxSpec bounds a specification: two names and two ports, or two paths.
	maxSpec = 1024
	// maxFields is [bind:]port:host:hostport.
	maxFields = 4
)

// Parse reads a specification as OpenSSH's flags -L, -R and -D have it:
// [bind:]port:host:hostport, where either side may be the path of a Unix socket
// instead, and [bind:]port for -D, and for -R to serve SOCKS on the node. An
// IPv6 address, or a path with a colon, stands in brackets; an empty bind or *
// is all addresses, none is loopback. Ports are numbers. The error quotes the
// specification and says what is wrong with it.
func Parse(kind Kind, s string) (Spec, error) {
	spec, err := parse(kind, s)
	if err != nil {
		shown := s
		if len(shown) > 100 {
			shown = shown[:100] + "..."
		}
		return Spec{}, fmt.Errorf("-%c %q: %w", kind, shown, err)
	}
	return spec, nil
}

func parse(kind Kind, s string) (Spec, error) {
	if len(s) > maxSpec {
		return Spec{}, fmt.Errorf("longer than %d bytes", maxSpec)
	}
	fields, err := split(s)
	if err != nil {
		return Spec{}, err
	}
	spec := Spec{Kind: kind}
	listens := len(fields) // how many fields the listening side has
	switch {
	case kind == Dynamic, kind == Remote && isSOCKS(fields):
		// There is no other side.
	case strings.HasPrefix(fields[len(fields)-1], "/"):
		listens = len(fields) - 1
	default:
		listens = len(fields) - 2
	}
	if listens < 1 {
		return Spec{}, errors.New("it does not say where to connect to; [BIND:]PORT:HOST:HOSTPORT is needed")
	}
	if spec.Listen, err = listening(kind, fields[:listens]); err == nil && listens < len(fields) {
		spec.Connect, err = connecting(fields[listens:])
	}
	return spec, err
}

// isSOCKS reports whether the fields are a listening side alone.
func isSOCKS(fields []string) bool {
	return len(fields) == 1 || len(fields) == 2 && !strings.HasPrefix(fields[0], "/") && !strings.HasPrefix(fields[1], "/")
}

// split cuts at the colons that are not in brackets, and takes the brackets off.
func split(s string) (fields []string, err error) {
	for rest, more := s, true; more; {
		var field string
		if inner, ok := strings.CutPrefix(rest, "["); ok {
			if field, rest, ok = strings.Cut(inner, "]"); !ok {
				return nil, errors.New("a bracket is not closed")
			}
			if field == "" {
				return nil, errors.New("there is nothing in the brackets")
			}
			if rest, more = strings.CutPrefix(rest, ":"); !more && rest != "" {
				return nil, errors.New("something follows a closing bracket")
			}
		} else {
			field, rest, more = strings.Cut(rest, ":")
		}
		if err := check(field); err != nil {
			return nil, err
		}
		if fields = append(fields, field); len(fields) > maxFields {
			return nil, errors.New("there are too many colons; an IPv6 address stands in brackets")
		}
	}
	return fields, nil
}

// check refuses what no name or path needs and what a line of text cannot show.
func check(field string) error {
	path := strings.HasPrefix(field, "/")
	for _, r := range field {
		if strings.ContainsRune(`[]\`, r) || !unicode.IsPrint(r) || r == ' ' && !path {
			return fmt.Errorf("it contains %q", r)
		}
	}
	if !utf8.ValidString(field) {
		return errors.New("it is not valid UTF-8")
	}
	return nil
}

func listening(kind Kind, fields []string) (e Endpoint, err error) {
	if len(fields) > 2 || len(fields) == 2 && (strings.HasPrefix(fields[0], "/") || strings.HasPrefix(fields[1], "/")) {
		return e, errors.New("it is none of the forms there are, as [BIND:]PORT:HOST:HOSTPORT")
	}
	if strings.HasPrefix(fields[0], "/") {
		return Endpoint{Path: fields[0]}, nil
	}
	if len(fields) == 2 {
		if e.Host = fields[0]; e.Host == "" {
			e.Host = "*"
		}
	}
	if e.Port, err = port(fields[len(fields)-1]); err == nil && e.Port == 0 && kind != Remote {
		err = errors.New("port 0 is for -R")
	}
	return e, err
}

func connecting(fields []string) (e Endpoint, err error) {
	if len(fields) == 1 {
		return Endpoint{Path: fields[0]}, nil
	}
	if e.Host = fields[0]; e.Host == "" || strings.HasPrefix(e.Host, "/") {
		return e, errors.New("there is no host to connect to")
	}
	if e.Port, err = port(fields[1]); err == nil && e.Port == 0 {
		err = errors.New("nothing can be connected to port 0")
	}
	return e, err
}

func port(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a port, a number up to 65535", s)
	}
	return int(n), nil
}

// String is the specification as Parse reads it.
func (s Spec) String() string {
	listen := s.Listen.String()
	if s.SOCKS() {
		return listen
	}
	return listen + ":" + s.Connect.String()
}

// String is the endpoint as it stands in a specification.
func (e Endpoint) String() string {
	switch {
	case e.Path != "":
		return bracket(e.Path)
	case e.Host == "":
		return strconv.Itoa(e.Port)
	}
	return bracket(e.Host) + ":" + strconv.Itoa(e.Port)
}

func bracket(s string) string {
	if strings.Contains(s, ":") {
		return "[" + s + "]"
	}
	return s
}
