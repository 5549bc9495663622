package devcluster

import (
	"fmt"
	"strconv"
	"strings"
	"text/scanner"
)

// maxPredicate bounds the length of an expression; the depth of its nesting
// cannot exceed it.
const maxPredicate = 4096

// predicate decides on a node; an error is a fault of the expression that
// shows only when it is evaluated.
type predicate func(n *node) (bool, error)

// operand is a string that depends on the node.
type operand func(n *node) string

// parsePredicate reads the filter language: labels["k"], labels.k, name and
// resource.… compared by == and != with each other or with "strings",
// hasPrefix, equals, search, exists and contains(split(…)), joined by &&, || and !. An
// empty expression holds for every node.
func parsePredicate(expr string) (predicate, error) {
	if strings.TrimSpace(expr) == "" {
		return func(*node) (bool, error) { return true, nil }, nil
	}
	if len(expr) > maxPredicate {
		return nil, fmt.Errorf("expression is longer than %d bytes", maxPredicate)
	}
	p := new(predicateParser)
	p.s.Init(strings.NewReader(expr))
	p.s.Mode = scanner.ScanIdents | scanner.ScanStrings | scanner.ScanRawStrings
	p.s.Error = func(_ *scanner.Scanner, msg string) { p.fail(msg) }
	p.next()
	pred := p.or()
	if p.tok != scanner.EOF {
		p.fail("unexpected " + strconv.Quote(p.s.TokenText()))
	}
	if p.err != nil {
		return nil, p.err
	}
	return pred, nil
}

type predicateParser struct {
	s   scanner.Scanner
	tok rune
	err error
}

func (p *predicateParser) next() { p.tok = p.s.Scan() }

func (p *predicateParser) fail(msg string) {
	if p.err == nil {
		p.err = fmt.Errorf("%s at column %d", msg, p.s.Pos().Column)
	}
	p.tok = scanner.EOF
}

// accept takes an operator made of the given characters without space.
func (p *predicateParser) accept(op string) bool {
	if p.err != nil || p.tok != rune(op[0]) {
		return false
	}
	if len(op) == 2 {
		if p.s.Peek() != rune(op[1]) {
			return false
		}
		p.s.Next()
	}
	p.next()
	return true
}

func (p *predicateParser) expect(op string) {
	if !p.accept(op) {
		p.fail("expected " + op)
	}
}

func (p *predicateParser) or() predicate {
	left := p.and()
	for p.accept("||") {
		a, b := left, p.and()
		left = func(n *node) (bool, error) {
			if ok, err := a(n); ok || err != nil {
				return ok, err
			}
			return b(n)
		}
	}
	return left
}

func (p *predicateParser) and() predicate {
	left := p.not()
	for p.accept("&&") {
		a, b := left, p.not()
		left = func(n *node) (bool, error) {
			if ok, err := a(n); !ok || err != nil {
				return false, err
			}
			return b(n)
		}
	}
	return left
}

func (p *predicateParser) not() predicate {
	if p.tok == '!' && p.s.Peek() != '=' && p.accept("!") {
		inner := p.not()
		return func(n *node) (bool, error) {
			ok, err := inner(n)
			return !ok, err
		}
	}
	if p.accept("(") {
		inner := p.or()
		p.expect(")")
		return inner
	}
	return p.term()
}

// term is a function or a comparison.
func (p *predicateParser) term() predicate {
	if p.tok == scanner.Ident {
		switch name := p.s.TokenText(); name {
		case "hasPrefix", "equals", "search", "exists", "contains":
			p.next()
			return p.function(name)
		}
	}
	left := p.operand()
	negate := false
	if !p.accept("==") {
		if negate = p.accept("!="); !negate {
			p.fail("expected == or !=")
		}
	}
	right := p.operand()
	return func(n *node) (bool, error) { return (left(n) == right(n)) != negate, nil }
}

func (p *predicateParser) function(name string) predicate {
	p.expect("(")
	if name == "contains" {
		return p.contains()
	}
	var args []operand
	for p.err == nil && !p.accept(")") {
		if len(args) > 0 {
			p.expect(",")
		}
		args = append(args, p.operand())
	}
	want := map[string]int{"hasPrefix": 2, "equals": 2, "exists": 1}[name]
	if want > 0 && len(args) != want || len(args) == 0 {
		p.fail(name + ": wrong number of arguments")
	}
	if p.err != nil {
		return nil
	}
	switch name {
	case "hasPrefix":
		return func(n *node) (bool, error) { return strings.HasPrefix(args[0](n), args[1](n)), nil }
	case "equals":
		return func(n *node) (bool, error) { return args[0](n) == args[1](n), nil }
	case "exists":
		return func(n *node) (bool, error) { return args[0](n) != "", nil }
	}
	return func(n *node) (bool, error) {
		words := make([]string, len(args))
		for i, a := range args {
			words[i] = a(n)
		}
		return n.hasKeywords(words), nil
	}
}

// contains(split(x, "sep"), y), of which the first parenthesis is read.
func (p *predicateParser) contains() predicate {
	if p.tok != scanner.Ident || p.s.TokenText() != "split" {
		p.fail("contains: expected split(…)")
		return nil
	}
	p.next()
	p.expect("(")
	list := p.operand()
	p.expect(",")
	sep := p.operand()
	p.expect(")")
	p.expect(",")
	item := p.operand()
	p.expect(")")
	return func(n *node) (bool, error) {
		for _, part := range strings.Split(list(n), sep(n)) {
			if part == item(n) {
				return true, nil
			}
		}
		return false, nil
	}
}

// operand is a string or a name with its path.
func (p *predicateParser) operand() operand {
	switch p.tok {
	case scanner.String, scanner.RawString:
		text, err := strconv.Unquote(p.s.TokenText())
		if err != nil {
			p.fail("bad string")
		}
		p.next()
		return func(*node) string { return text }
	case scanner.Ident:
		return p.path()
	}
	p.fail("expected a name or a string")
	return func(*node) string { return "" }
}

// path reads a.b["c"] and finds the field it means.
func (p *predicateParser) path() operand {
	path := []string{p.s.TokenText()}
	p.next()
	for p.err == nil {
		if p.accept("[") {
			if p.tok != scanner.String {
				p.fail("expected a string in brackets")
				break
			}
			key, err := strconv.Unquote(p.s.TokenText())
			if err != nil {
				p.fail("bad string")
				break
			}
			path = append(path, key)
			p.next()
			p.expect("]")
			continue
		}
		if !p.accept(".") {
			break
		}
		if p.tok != scanner.Ident {
			p.fail("expected a name after the dot")
			break
		}
		path = append(path, p.s.TokenText())
		p.next()
	}
	op := field(path)
	if op == nil {
		p.fail("unknown name " + strings.Join(path, "."))
		return func(*node) string { return "" }
	}
	return op
}

// field is the value that a path names, nil if there is none.
func field(path []string) operand {
	switch strings.Join(path, ".") {
	case "name", "resource.spec.hostname":
		return func(n *node) string { return n.hostname }
	case "resource.metadata.name":
		return func(n *node) string { return n.id }
	case "resource.kind":
		return func(*node) string { return kindNode }
	case "resource.spec.addr":
		return func(n *node) string { return n.addr }
	case "resource.spec.version":
		return func(*node) string { return serverVersion }
	case "health.status":
		return func(*node) string { return "" }
	}
	var key string
	switch {
	case len(path) == 2 && path[0] == "labels":
		key = path[1]
	case len(path) == 4 && path[0] == "resource" && path[1] == "metadata" && path[2] == "labels":
		key = path[3]
	default:
		return nil
	}
	return func(n *node) string { return n.labels[key] }
}
