package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/seed-087d674e/tsh/internal/yamlout"
)

// writeYAML prints v with the names and in the order of its JSON form.
func writeYAML(w io.Writer, v any) error {
	var asJSON bytes.Buffer
	if err := json.NewEncoder(&asJSON).Encode(v); err != nil {
		return err
	}
	d := json.NewDecoder(&asJSON)
	d.UseNumber()
	node, err := yamlNode(d)
	if err != nil {
		return err
	}
	out, err := yamlout.Encode(node, yamlout.Indented)
	if err != nil {
		return err
	}
	_, err = w.Write(escapeUnshown(out))
	return err
}

// yamlNode turns the next JSON value into YAML. The tree is built by hand
// because the parser would refuse strings that the encoder can write.
func yamlNode(d *json.Decoder) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		node := &yaml.Node{Kind: yaml.MappingNode}
		if t == '[' {
			node.Kind = yaml.SequenceNode
		}
		for d.More() { // a mapping holds its keys and values in turn
			child, err := yamlNode(d)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, child)
		}
		if len(node.Content) == 0 {
			node.Style = yaml.FlowStyle // [] and {}
		}
		_, err := d.Token()
		return node, err
	case string:
		return yamlString(t), nil
	case json.Number:
		node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: t.String()}
		if strings.ContainsAny(t.String(), ".eE") {
			node.Tag = "!!float"
		}
		return node, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(t)}, nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
}

// yamlString is a string; one that holds what a terminal could act on is
// double-quoted, so that it can be escaped.
func yamlString(s string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	for _, r := range s {
		if !shown(r) {
			node.Style = yaml.DoubleQuotedStyle
		}
	}
	return node
}
