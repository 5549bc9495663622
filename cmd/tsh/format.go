package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/seed-087d674e/tsh/internal/text"
)

// Output formats of commands that print data.
const (
	formatText  = "text"
	formatJSON  = "json"
	formatYAML  = "yaml"
	formatNames = "names"
)

// formatFlag is the --format of a command that prints data.
type formatFlag struct {
	value   string
	allowed []string
}

func (f *formatFlag) addFlag(fs *pflag.FlagSet, allowed ...string) {
	f.allowed = allowed
	fs.StringVarP(&f.value, "format", "f", formatText, "print as "+strings.Join(allowed, ", "))
}

// pick is the format to print in: --json is --format=json whose errors are
// JSON too.
func (f *formatFlag) pick(g *globals) (string, error) {
	if g.json {
		return formatJSON, nil
	}
	if !slices.Contains(f.allowed, f.value) {
		return "", usagef("--format=%s: choose one of %s", f.value, strings.Join(f.allowed, ", "))
	}
	return f.value, nil
}

// writeJSON prints v with two spaces of indentation and a newline at the end.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeYAML prints v with the names and the order of its JSON form.
func writeYAML(w io.Writer, v any) error {
	var asJSON bytes.Buffer
	if err := writeJSON(&asJSON, v); err != nil {
		return err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(asJSON.Bytes(), &node); err != nil {
		return err
	}
	blockStyle(&node)
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(&node); err != nil {
		return err
	}
	return e.Close()
}

// blockStyle drops the braces and quotes that YAML can do without; the encoder
// quotes again what would read as something else.
func blockStyle(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		blockStyle(child)
	}
}

// writeData prints v in a machine format.
func writeData(w io.Writer, format string, v any) error {
	if format == formatYAML {
		return writeYAML(w, v)
	}
	return writeJSON(w, v)
}

// table prints rows under titles: columns left-aligned and one space apart, a
// dashed line under each title, a blank line at the end.
type table struct {
	titles []string
	rows   [][]string
	// shrink is the column that is cut so that rows fit into width; none if
	// width is zero.
	shrink int
	width  int
}

const minColumn = 5

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = text.Line(cells[i])
	}
	t.rows = append(t.rows, cells)
}

func (t *table) write(w io.Writer) error {
	widths := t.columnWidths()
	var b strings.Builder
	writeRow(&b, t.titles, widths)
	dashes := make([]string, len(widths))
	for i, n := range widths {
		dashes[i] = strings.Repeat("-", n)
	}
	writeRow(&b, dashes, widths)
	for _, row := range t.rows {
		writeRow(&b, row, widths)
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}

func (t *table) columnWidths() []int {
	widths := make([]int, len(t.titles))
	for i, title := range t.titles {
		widths[i] = max(minColumn, text.Width(title))
	}
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], text.Width(cell))
		}
	}
	if t.width == 0 {
		return widths
	}
	total := len(widths)
	for _, n := range widths {
		total += n
	}
	if over := total - t.width; over > 0 {
		smallest := max(minColumn, text.Width(t.titles[t.shrink]))
		widths[t.shrink] = max(smallest, widths[t.shrink]-over)
	}
	return widths
}

func writeRow(b *strings.Builder, cells []string, widths []int) {
	for i, cell := range cells {
		cell = text.Cut(cell, widths[i])
		b.WriteString(cell)
		if i == len(cells)-1 {
			break
		}
		b.WriteString(strings.Repeat(" ", widths[i]-text.Width(cell)+1))
	}
	b.WriteByte('\n')
}
