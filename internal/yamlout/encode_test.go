package yamlout

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// library encodes a tree with the encoder that Encode stands in for.
func library(root *yaml.Node, layout Layout) (text []byte, err error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(step)
	if layout == Flush {
		e.CompactSeqIndent()
	}
	err = errors.Join(e.Encode(root), e.Close())
	return b.Bytes(), err
}

// checkSame compares the two in both layouts.
func checkSame(t *testing.T, root *yaml.Node) {
	t.Helper()
	for _, layout := range []Layout{Indented, Flush} {
		want, err := library(root, layout)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Encode(root, layout)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("flush %t: error %v, wrote\n%q\nthe library writes\n%q", layout, err, got, want)
		}
	}
}

// checkText compares them for every document of a file, and for what is in it.
func checkText(t *testing.T, text string) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var document yaml.Node
		if decoder.Decode(&document) != nil {
			return
		}
		checkSame(t, &document)
		for _, n := range document.Content {
			checkSame(t, n)
		}
	}
}

// files are what people write, one for each thing that trees can have.
func files() []string {
	return []string{
		"", "# only this\n", "plain\n", "--- |\n  lines\n", "[]\n", "{}\n",
		"# head\n\na: 1 # beside\n# foot\n\nb:\n- x # one\n# below\n- y\n\n# end\n",
		"a: # beside the key\n  b: 1\nc: # and here\n- 1\n",
		"a:\n    - b:\n        - c\n        - - d\n          - e\n",
		"list: [1, two, 'three', {four: 4}] # flow\nmap: {a: b, c: [d]}\nnone: []\n",
		"flow: [ # first\n  a, # one\n  b\n  # last\n]\nmore: {\n  # above\n  a: b, # two\n}\n",
		"a: &x {b: c}\nd: *x\ne:\n  <<: *x\n? [complex, key]\n: value\n? |\n  long\n: |+\n  kept\n\n",
		"folded: >-\n  one\n  two\n\n  three\n    more\n  four\nliteral: |2\n    indented\n",
		"s: \"\\u00e9\\t\\x01\\U0001F600\\N\"\nt: 'it''s\n\n  two'\nu: \"true\"\nv: !!str 1\nw: !local x\nx: !<tag:x.y,2000:é> y\n",
		"? " + strings.Repeat("k", 200) + "\n: v\n",
		"apiVersion: v1\nclusters:\n- cluster:\n    server: https://a:443\n  name: a\ncurrent-context: a\nkind: Config\nusers: null\n",
	}
}

func TestEncodesFilesAsTheLibrary(t *testing.T) {
	for _, text := range files() {
		checkText(t, text)
	}
}

func TestEncodesTreesAsTheLibrary(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 0))
		root := randomNode(r, 0)
		if r.IntN(3) == 0 {
			root = &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{root}, HeadComment: randomComment(r), FootComment: randomComment(r)}
		}
		checkSame(t, root)
	}
}

func randomNode(r *rand.Rand, depth int) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, HeadComment: randomComment(r), FootComment: randomComment(r)}
	n.LineComment, _, _ = strings.Cut(randomComment(r), "\n")
	n.Tag = one(r, "", "", "", "!!str", "!!int", "!!map", "!!seq", "!local", "tag:x.y,2000:é z", "!!binary", "tag:yaml.org,2002:str", "!")
	if r.IntN(2) == 0 {
		n.Style = yaml.Style(r.IntN(64))
	}
	if r.IntN(8) == 0 {
		n.Anchor = "anchor"
	}
	kind := r.IntN(8)
	switch {
	case depth > 3 || kind < 3:
		n.Value = randomText(r)
		return n
	case kind == 3:
		n.Kind, n.Anchor, n.Value = yaml.AliasNode, "", "anchor"
		return n
	}
	n.Kind = one(r, yaml.MappingNode, yaml.SequenceNode)
	for range 2 * r.IntN(3) {
		n.Content = append(n.Content, randomNode(r, depth+1))
	}
	return n
}

func randomComment(r *rand.Rand) string {
	return one(r, "", "", "", "", "# c", "# a\n# b", "plain", "# x\n\n# y", "#")
}

func randomText(r *rand.Rand) string {
	text := ""
	for range r.IntN(6) {
		text += one(r, "a", "b", " ", "  ", "\n", "\n\n", "\t", "#", ": ", ":", "- ", "'", `"`, `\`, "{", "}", "[", "]", ",", "?", "é",
			"\u0085", "\u2028", "😀", "\ufeff", "\r", "---", "...", "1", "true", "null", "0x1", "1.5", "<<", "~", "|", ">", "&", "*", "!",
			"%", "@", "`", "\x00", "\x7f", "\u00a0", strings.Repeat("k", 70))
	}
	return text
}

func one[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func TestRefusesWhatIsNoText(t *testing.T) {
	for _, n := range []*yaml.Node{
		{Kind: yaml.ScalarNode, Tag: "!!str", Value: "\xff"},
		{},
	} {
		if out, err := Encode(n, Indented); err == nil {
			t.Errorf("wrote %q", out)
		}
	}
}

func FuzzEncode(f *testing.F) {
	for _, text := range files() {
		f.Add(text)
	}
	f.Fuzz(checkText)
}
