package main

import (
	"bufio"
	"bytes"
	"encoding/json"
)

// dataStream prints an array element by element, as writeData would print the whole.
type dataStream struct {
	_      [0]func() // never compared
	b      *bufio.Writer
	format string
	n      int
}

func (d *dataStream) add(v any) error {
	d.n++
	if d.format == formatYAML {
		return writeYAML(d.b, []any{v})
	}
	var element bytes.Buffer
	e := json.NewEncoder(&element)
	e.SetEscapeHTML(false)
	e.SetIndent("  ", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	before := ",\n  "
	if d.n == 1 {
		before = "[\n  "
	}
	_, _ = d.b.WriteString(before)
	_, err := d.b.Write(escapeUnshown(bytes.TrimSuffix(element.Bytes(), []byte("\n"))))
	return err
}

func (d *dataStream) end() {
	after := "\n]\n"
	switch {
	case d.n == 0:
		after = "[]\n"
	case d.format == formatYAML:
		after = ""
	}
	_, _ = d.b.WriteString(after)
}
