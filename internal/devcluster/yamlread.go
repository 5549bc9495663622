package devcluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// Limits of the files that resources are made from.
const (
	maxDocuments = 100
	maxYAMLDepth = 20   // of lists and fields in one another
	maxYAMLText  = 1024 // bytes of one value
	maxYAMLList  = 1000 // entries of one list
)

// yamlField reads the value of one field. The path names it in errors.
type yamlField func(n *yaml.Node, path string) error

// wrongAt is an error about a field, with its line.
func wrongAt(n *yaml.Node, path, format string, args ...any) error {
	return fmt.Errorf("line %d: %s: %s", n.Line, path, fmt.Sprintf(format, args...))
}

// readDocuments cuts a file into its documents; one that is a list stands for as many.
func readDocuments(raw []byte) ([]*yaml.Node, error) {
	if len(raw) > MaxRoleFile {
		return nil, fmt.Errorf("the file has more than %d KiB", MaxRoleFile>>10)
	}
	var docs []*yaml.Node
	for dec := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, syntaxError(err)
		}
		if err := checkPlain(&doc, 0); err != nil {
			return nil, err
		}
		for _, n := range doc.Content { // one, or none
			switch {
			case n.Kind == yaml.SequenceNode:
				docs = append(docs, n.Content...)
			case !isNull(n):
				docs = append(docs, n)
			}
		}
		if len(docs) > maxDocuments {
			return nil, fmt.Errorf("the file has more than %d documents", maxDocuments)
		}
	}
	if len(docs) == 0 {
		return nil, errors.New("the file is empty")
	}
	return docs, nil
}

// syntaxError adds what people stumble over.
func syntaxError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.Contains(text, "alphabetic or numeric") {
		text += "; * and & have to be in quotes"
	}
	return errors.New(text)
}

// checkPlain refuses what makes a file mean more than it says: anchors, which unfold
// into anything, merges, and tags of its own.
func checkPlain(n *yaml.Node, depth int) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fmt.Errorf("line %d: anchors and aliases are not accepted", n.Line)
	case n.Style&yaml.TaggedStyle != 0:
		return fmt.Errorf("line %d: tags are not accepted", n.Line)
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!merge":
		return fmt.Errorf("line %d: merges are not accepted", n.Line)
	case depth > maxYAMLDepth:
		return fmt.Errorf("line %d: more than %d levels", n.Line, maxYAMLDepth)
	}
	for _, child := range n.Content {
		if err := checkPlain(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// yamlKind is what a node is, in words.
func yamlKind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "fields"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!str":
		return "a text"
	case isNull(n):
		return "nothing"
	}
	return fmt.Sprintf("%.40q, which is no text: put it in quotes if it is meant as one", n.Value)
}

// yamlFields is a mapping: the fields that are read, and those that real clusters have and
// this one would not act on.
type yamlFields struct {
	known    map[string]yamlField
	notHere  []string
	required []string
	anyway   map[string]string // of notHere: the value, as JSON, that changes nothing
}

// changesNothing reports whether a field says what is so anyway.
func (f yamlFields) changesNothing(name string, n *yaml.Node) bool {
	want, ok := f.anyway[name]
	var value any
	if !ok || n.Decode(&value) != nil {
		return false
	}
	got, err := json.Marshal(value)
	return err == nil && string(got) == want
}

func (f yamlFields) read(n *yaml.Node, path string) error {
	if isNull(n) {
		n = &yaml.Node{Kind: yaml.MappingNode, Line: n.Line}
	}
	if n.Kind != yaml.MappingNode {
		return wrongAt(n, or(path, "the document"), "expected fields, got %s", yamlKind(n))
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name, err := textOf(key, or(path, "the document"))
		if err != nil {
			return err
		}
		at := yamlPath(path, name)
		read, ok := f.known[name]
		switch {
		case seen[name]:
			return wrongAt(key, at, "the field is there twice")
		case f.changesNothing(name, value):
			seen[name] = true
			continue
		case slices.Contains(f.notHere, name):
			return wrongAt(key, at, "the dev cluster does not enforce this field of real clusters: take it out")
		case !ok:
			return wrongAt(key, at, "unknown field, there are %s", strings.Join(slices.Sorted(maps.Keys(f.known)), ", "))
		}
		seen[name] = true
		if err := read(value, at); err != nil {
			return err
		}
	}
	for _, name := range f.required {
		if !seen[name] {
			return wrongAt(n, yamlPath(path, name), "the field is missing")
		}
	}
	return nil
}

// yamlPath is the path of a field; a name that is not plain is quoted.
func yamlPath(path, name string) string {
	if !isTraitName(name) || len(name) > 64 {
		name = fmt.Sprintf("%.64q", name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// textOf is a text that can be shown.
func textOf(n *yaml.Node, path string) (string, error) {
	switch {
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str":
		return "", wrongAt(n, path, "expected a text, got %s", yamlKind(n))
	case len(n.Value) > maxYAMLText:
		return "", wrongAt(n, path, "the text has more than %d bytes", maxYAMLText)
	case strings.ContainsFunc(n.Value, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }):
		return "", wrongAt(n, path, "%.40q has characters that cannot be shown", n.Value)
	}
	return n.Value, nil
}

// yamlText reads a text that check, if there is one, takes.
func yamlText(dst *string, check func(string) error) yamlField {
	return func(n *yaml.Node, path string) (err error) {
		if *dst, err = textOf(n, path); err == nil && check != nil {
			if err = check(*dst); err != nil {
				err = wrongAt(n, path, "%v", err)
			}
		}
		return err
	}
}

// yamlList reads the entries of a list, one by one.
func yamlList(each yamlField) yamlField {
	return func(n *yaml.Node, path string) error {
		if isNull(n) {
			return nil
		}
		if n.Kind != yaml.SequenceNode {
			return wrongAt(n, path, "expected a list, got %s", yamlKind(n))
		}
		if len(n.Content) > maxYAMLList {
			return wrongAt(n, path, "the list has more than %d entries", maxYAMLList)
		}
		for i, entry := range n.Content {
			if err := each(entry, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		return nil
	}
}

// yamlTexts reads a list of different texts that check takes.
func yamlTexts(dst *[]string, check func(string) error) yamlField {
	return yamlList(func(n *yaml.Node, path string) error {
		var s string
		if err := yamlText(&s, check)(n, path); err != nil {
			return err
		}
		if slices.Contains(*dst, s) {
			return wrongAt(n, path, "%q is there twice", s)
		}
		*dst = append(*dst, s)
		return nil
	})
}

func yamlBool(dst *bool) yamlField {
	return func(n *yaml.Node, path string) error {
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			return wrongAt(n, path, "expected true or false, got %s", strings.TrimSuffix(yamlKind(n), ": put it in quotes if it is meant as one"))
		}
		return n.Decode(dst)
	}
}

// yamlNot reads what is kept the other way round.
func yamlNot(dst *bool) yamlField {
	return func(n *yaml.Node, path string) error {
		var yes bool
		err := yamlBool(&yes)(n, path)
		*dst = !yes
		return err
	}
}

// yamlDuration reads a length of time within bounds.
func yamlDuration(dst *time.Duration, least, most time.Duration) yamlField {
	return func(n *yaml.Node, path string) error {
		d, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || err != nil {
			return wrongAt(n, path, "expected a length of time as 8h or 90m")
		}
		if d < least || d > most {
			return wrongAt(n, path, "%s is not between %s and %s", d, least, most)
		}
		*dst = d
		return nil
	}
}

// yamlInstant reads a point in time.
func yamlInstant(dst *time.Time) yamlField {
	return func(n *yaml.Node, path string) error {
		t, err := time.Parse(time.RFC3339, n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || t.Year() < 1970 || t.Year() > 9999 {
			return wrongAt(n, path, "expected a time as 2030-12-31T23:59:59Z")
		}
		*dst = t.UTC()
		return nil
	}
}
