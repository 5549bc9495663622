package yamlout

import (
	"errors"

	"go.yaml.in/yaml/v3"
)

// Layout is how lists stand below their key.
type Layout bool

// The layouts: "- " further to the right than the key, or in its column.
const (
	Indented Layout = false
	Flush    Layout = true
)

// step is the indentation, in columns.
const step = 2

// Encode returns the text of a tree or a whole document. Its strings have to be UTF-8.
func Encode(root *yaml.Node, layout Layout) ([]byte, error) {
	w := &writer{flush: layout == Flush, indent: -1, footIndent: -1, spaced: true, fresh: true}
	document := &yaml.Node{Content: []*yaml.Node{root}}
	if root.Kind == yaml.DocumentNode {
		document = root
	}
	w.note(document.HeadComment, "", "", "")
	if w.head != "" {
		w.headComments()
		w.breakLine()
	}
	for _, n := range document.Content {
		w.begin(n, "")
		w.headComments()
		w.node(n, place{})
	}
	w.note("", "", document.FootComment, "")
	w.footIndent = 0
	w.footComment()
	w.footIndent = -1
	w.startLine()
	return w.out, w.err
}

// place is what a node stands in, as far as its looks depend on it.
type place struct {
	inMapping bool
	simpleKey bool // "key:" on one line, not "? key" and ": value"
	// trailing has a comma follow in a flow: it has to stand before the comments to come.
	trailing bool
}

// begin takes note of the comments that come with a node. tail is the one that belongs
// below what was before it.
func (w *writer) begin(n *yaml.Node, tail string) {
	switch n.Kind {
	case yaml.ScalarNode:
		w.note(n.HeadComment, n.LineComment, n.FootComment, tail)
	case yaml.MappingNode:
		w.note(n.HeadComment, "", "", tail)
	case yaml.SequenceNode:
		w.note(n.HeadComment, "", "", "")
	case yaml.AliasNode:
		w.note(n.HeadComment, n.LineComment, n.FootComment, "")
	default:
		w.err = errors.New("a tree for YAML has a node of no kind")
	}
}

// node writes a node and the comments beside and below it. Those of a list or a mapping
// that are not known yet come with its end.
func (w *writer) node(n *yaml.Node, p place) {
	w.opening(n, p)
	if p.trailing {
		w.attached(",")
	}
	w.lineComment()
	w.footComment()
	w.content(n, p)
}

// opening writes a scalar or an alias, or what stands before a list or a mapping.
func (w *writer) opening(n *yaml.Node, p place) {
	if n.Kind == yaml.AliasNode {
		w.apart("*" + n.Value)
		return
	}
	if n.Anchor != "" {
		w.apart("&" + n.Anchor)
	}
	tag, quote := tagOf(n)
	w.tag(tag)
	if n.Kind == yaml.ScalarNode {
		before := w.deeper(step)
		w.scalar(n, p, quote)
		w.indent = before
	}
}

func (w *writer) content(n *yaml.Node, p place) {
	if n.Kind != yaml.MappingNode && n.Kind != yaml.SequenceNode {
		return
	}
	flow := w.flow > 0 || n.Style&yaml.FlowStyle != 0 || isEmpty(n)
	switch {
	case n.Kind == yaml.MappingNode && flow:
		w.flowMapping(n)
	case n.Kind == yaml.MappingNode:
		w.blockMapping(n)
	case flow:
		w.flowList(n)
	default:
		w.blockList(n, p)
	}
}

func isEmpty(n *yaml.Node) bool {
	return len(n.Content) == 0 || n.Kind == yaml.MappingNode && len(n.Content) == 1
}

// deeper indents what follows by one step; outside of everything it starts at first. It
// returns where it was before.
func (w *writer) deeper(first int) (before int) {
	before = w.indent
	w.indent += step
	if before < 0 {
		w.indent = first
	}
	return before
}

func (w *writer) blockList(n *yaml.Node, p place) {
	before := w.deeper(0)
	if w.flush && p.inMapping && (w.column == 0 || !w.fresh) {
		w.indent = before
	}
	for _, item := range n.Content {
		w.begin(item, "")
		w.headComments()
		w.startLine()
		w.blockMark("-")
		w.node(item, place{})
	}
	w.note("", n.LineComment, n.FootComment, "")
	w.indent = before
}

func (w *writer) blockMapping(n *yaml.Node) {
	before := w.deeper(0)
	tail := ""
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, foot := w.beginKey(n.Content[i], tail)
		value := n.Content[i+1]
		w.headComments()
		w.startLine()
		if w.line != "" {
			w.keyLine, w.line = w.line, ""
		}
		simple := isSimple(key)
		if !simple {
			w.blockMark("?")
		}
		w.key(key, simple)
		w.begin(value, "")
		if simple {
			w.attached(":")
		} else {
			w.startLine()
			w.blockMark(":")
		}
		w.placeKeyComment(value)
		w.node(value, place{inMapping: true})
		tail = foot
	}
	w.note("", n.LineComment, n.FootComment, tail)
	w.headComments()
	w.indent = before
}

// beginKey begins a key without the comment below it, which comes after the value.
func (w *writer) beginKey(n *yaml.Node, tail string) (key *yaml.Node, foot string) {
	without := *n
	without.FootComment = ""
	w.begin(&without, tail)
	return &without, n.FootComment
}

func (w *writer) key(key *yaml.Node, simple bool) {
	p := place{inMapping: true, simpleKey: simple}
	w.opening(key, p)
	w.content(key, p)
}

// placeKeyComment has the comment beside a key stand beside its value, or before the
// lines of one.
func (w *writer) placeKeyComment(value *yaml.Node) {
	switch {
	case w.keyLine == "":
	case value.Kind == yaml.ScalarNode:
		if w.line == "" {
			w.line, w.keyLine = w.keyLine, ""
		}
	case value.Kind != yaml.AliasNode && value.Style&yaml.FlowStyle == 0:
		w.line, w.keyLine = w.keyLine, w.line
		w.lineComment()
		w.line, w.keyLine = w.keyLine, w.line
	}
}

func (w *writer) openFlow(bracket string) (before int) {
	w.apart(bracket)
	w.spaced = true
	w.flow++
	return w.deeper(step)
}

func (w *writer) closeFlow(bracket string) {
	w.attached(bracket)
	w.lineComment()
	w.footComment()
}

func (w *writer) flowList(n *yaml.Node) {
	trailing := true // no comma before the first
	var before int
	for i, item := range n.Content {
		w.begin(item, "")
		if i == 0 {
			before = w.openFlow("[")
		}
		w.separate(trailing)
		trailing = w.hasMore()
		w.node(item, place{trailing: trailing})
	}
	w.note("", n.LineComment, n.FootComment, "")
	if len(n.Content) == 0 {
		before = w.openFlow("[")
	}
	w.flow--
	w.indent = before
	if w.column == 0 {
		w.startLine()
	}
	w.closeFlow("]")
}

// separate begins the next in a flow.
func (w *writer) separate(trailing bool) {
	if !trailing {
		w.attached(",")
	}
	w.headComments()
	if w.column == 0 {
		w.startLine()
	}
}

// hasMore tells whether comments are to come beside or below.
func (w *writer) hasMore() bool { return w.line+w.foot+w.tail != "" }

func (w *writer) flowMapping(n *yaml.Node) {
	trailing, tail := true, ""
	var before int
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, foot := w.beginKey(n.Content[i], tail)
		value := n.Content[i+1]
		if i == 0 {
			before = w.openFlow("{")
		}
		w.separate(trailing)
		simple := isSimple(key)
		if !simple {
			w.apart("?")
		}
		w.key(key, simple)
		w.begin(value, "")
		if !simple {
			w.space()
		}
		w.attached(":")
		trailing = w.hasMore()
		w.node(value, place{inMapping: true, trailing: trailing})
		tail = foot
	}
	w.note("", n.LineComment, n.FootComment, tail)
	if isEmpty(n) {
		before = w.openFlow("{")
	}
	if w.head+w.foot+w.tail != "" && !trailing {
		w.attached(",")
	}
	w.headComments()
	w.flow--
	w.indent = before
	w.closeFlow("}")
}
