// Package yamlout writes YAML trees, byte for byte as the encoder of go.yaml.in/yaml/v3
// writes them with an indentation of two, comments included. That encoder knows all of
// Go's types, too, which makes a program 92 kB bigger that only writes trees; this one is
// a sixth of it. Its tests compare the two.
package yamlout
