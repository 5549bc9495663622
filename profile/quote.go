package profile

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// quoting knows which texts YAML 1.1, the dialect of other clients, would read as
// something else than text.
type quoting struct{ number, base60, date *regexp.Regexp }

// newQuoting compiles its patterns here and not at start-up: they are needed only
// when a profile is written.
func newQuoting() quoting {
	return quoting{
		number: regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$`),
		base60: regexp.MustCompile(`^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$`),
		date:   regexp.MustCompile(`^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?$`),
	}
}

func (q quoting) needed(s string) bool {
	switch s {
	case "", "~", "null", "Null", "NULL", "<<", "=":
		return true
	}
	if _, ok := boolWord(s); ok {
		return true
	}
	plain := strings.ReplaceAll(s, "_", "")
	if _, err := strconv.ParseInt(plain, 0, 64); err == nil {
		return true
	}
	return q.number.MatchString(plain) || q.base60.MatchString(s) || q.date.MatchString(s)
}

// node makes the YAML of a field's value.
func (q quoting) node(pointer any) *yaml.Node {
	switch v := pointer.(type) {
	case *bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(*v)}
	case *time.Duration:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v.String()}
	case *[]string:
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, s := range *v {
			list.Content = append(list.Content, q.text(s))
		}
		return list
	case *string:
		return q.text(*v)
	}
	return nil
}

func (q quoting) text(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if q.needed(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}
