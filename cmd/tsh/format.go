package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/pflag"

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
	fs.StringVarP(&f.value, "format", "f", formatText, "print in `FORMAT` "+strings.Join(allowed, ", "))
}

// pick is the format to print in: --json is --format=json whose errors are
// JSON too.
func (f *formatFlag) pick(g *globals) (string, error) {
	switch {
	case !slices.Contains(f.allowed, f.value):
		return "", usagef("--format=%s: choose one of %s", f.value, strings.Join(f.allowed, ", "))
	case !g.json:
		return f.value, nil
	case f.value != formatText && f.value != formatJSON:
		return "", usagef("--json and --format=%s exclude each other", f.value)
	}
	return formatJSON, nil
}

// writeJSON prints v with two spaces of indentation and a newline at the end.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escapeUnshown(b.Bytes()))
	return err
}

// escapeUnshown writes characters that a terminal could act on as \uXXXX, which
// means the same in JSON and in double-quoted YAML: data is exact there, and
// harmless all the same to those who look at it on a terminal.
func escapeUnshown(data []byte) []byte {
	var out []byte
	done := 0
	for i, r := range string(data) {
		if shown(r) {
			continue
		}
		out = append(out, data[done:i]...)
		for _, unit := range utf16.Encode([]rune{r}) {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
		done = i + utf8.RuneLen(r)
	}
	if out == nil {
		return data
	}
	return append(out, data[done:]...)
}

// shown reports whether r is layout of a document, or prints as itself.
func shown(r rune) bool {
	return r == '\n' || r >= ' ' && r < 0x7f || r >= ' ' && text.Line(string(r)) == string(r)
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

const (
	minColumn = 5
	// maxColumn bounds every column but the last, so that one endless name does
	// not stretch all rows.
	maxColumn = 256
)

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = text.Line(cells[i])
	}
	t.rows = append(t.rows, cells)
}

func (t *table) write(w io.Writer) error {
	b := bufio.NewWriter(w)
	t.begin(b)
	_ = b.WriteByte('\n')
	return b.Flush()
}

// writeBare prints the rows alone, without the last column.
func (t *table) writeBare(w io.Writer) error {
	b := bufio.NewWriter(w)
	last := len(t.titles) - 1
	for i := range t.rows {
		t.rows[i] = t.rows[i][:last]
	}
	t.titles = make([]string, last)
	widths := t.columnWidths()
	for _, row := range t.rows {
		writeRow(b, row, widths)
	}
	return b.Flush()
}

// begin prints the titles and the rows there are, and returns how wide the columns are.
func (t *table) begin(b *bufio.Writer) []int {
	widths := t.columnWidths()
	writeRow(b, t.titles, widths)
	dashes := make([]string, len(widths))
	for i, n := range widths {
		dashes[i] = strings.Repeat("-", n)
	}
	writeRow(b, dashes, widths)
	for _, row := range t.rows {
		writeRow(b, row, widths)
	}
	return widths
}

// leaveOut takes columns away, one after the other, until the rows fit into width, and
// reports whether it took any.
func (t *table) leaveOut(titles ...string) (some bool) {
	for _, title := range titles {
		if _, over := t.wholeWidths(); t.width == 0 || over <= 0 {
			break
		}
		i := slices.Index(t.titles, title)
		t.titles = slices.Delete(t.titles, i, i+1)
		for n, row := range t.rows {
			t.rows[n] = slices.Delete(row, i, i+1)
		}
		some = true
	}
	return some
}

func (t *table) columnWidths() []int {
	widths, over := t.wholeWidths()
	if over > 0 && t.width > 0 {
		smallest := max(minColumn, text.Width(t.titles[t.shrink]))
		widths[t.shrink] = max(smallest, widths[t.shrink]-over)
	}
	return widths
}

// wholeWidths is how wide the columns are that nothing is cut of, and how much that is
// over the width of the terminal.
func (t *table) wholeWidths() (widths []int, over int) {
	widths = make([]int, len(t.titles))
	for i, title := range t.titles {
		widths[i] = max(minColumn, text.Width(title))
	}
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], text.Width(cell))
		}
	}
	for i := range widths[:len(widths)-1] {
		widths[i] = min(widths[i], maxColumn)
	}
	over = len(widths) - 1 - t.width // the spaces between
	for _, n := range widths {
		over += n
	}
	return widths, over
}

func writeRow(b *bufio.Writer, cells []string, widths []int) {
	for i, cell := range cells {
		cell = text.Cut(cell, widths[i])
		_, _ = b.WriteString(cell)
		if i == len(cells)-1 {
			break
		}
		_, _ = b.WriteString(strings.Repeat(" ", widths[i]-text.Width(cell)+1))
	}
	_ = b.WriteByte('\n')
}

// someNames lists names, not too many of them.
func someNames(names []string) string {
	const most = 20
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
